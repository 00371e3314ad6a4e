/*
 * Memory backends whose memory can be private
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_HOSTMEM_PRIVATE_H
#define SYSTEM_HOSTMEM_PRIVATE_H

#include "system/hostmem.h"

/* hostmem-guest-memfd.c */
#define TYPE_MEMORY_BACKEND_GUEST_MEMFD "memory-backend-guest-memfd"

/**
 * host_memory_backend_become_private: make a backend RAM of the guest
 * @backend: memory backend that nothing uses
 * @errp: set if the guest's RAM can be private, but not that of @backend
 *
 * Memory that no one calls this for, as that of devices which host and guest
 * share, stays shared for good.  What someone keeps, as the content of a file
 * with a name, is refused: conversion would empty it.
 *
 * Context: BQL; before the memory is mapped.
 *
 * Return: false with @errp set, or true.
 */
bool host_memory_backend_become_private(HostMemoryBackend *backend,
                                        Error **errp);

/**
 * host_memory_backend_end_private: end being RAM of the guest
 * @backend: memory backend that is not mapped any more
 *
 * The memory is shared and empty then, for whoever uses it next.
 *
 * Context: BQL.
 *
 * Return: whether it can be used again; if not, the reason is reported.
 */
bool host_memory_backend_end_private(HostMemoryBackend *backend);

/**
 * host_memory_is_kept: whether guests must not have memory discarded
 * @mr: region of RAM
 *
 * What they write to a file that is mapped privately doesn't get there, but a
 * hole would.
 */
bool host_memory_is_kept(MemoryRegion *mr);

/**
 * host_memory_reload: replace bad memory without a hole in its file
 * @mr: region of RAM
 * @host: address of what is bad in QEMU, aligned to its pages
 * @size: its size in bytes
 *
 * The kernel takes bad memory out of a file, and may read it from a disk
 * again.  If not, zeros take its place in QEMU where it doesn't write to the
 * file anyway; what is mapped read-only stays bad.
 *
 * Return: false if the memory is to be discarded instead
 */
bool host_memory_reload(MemoryRegion *mr, void *host, size_t size);

#endif
