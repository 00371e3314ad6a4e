/*
 * KVM guest_memfd files: creation, and conversion of memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_KVM_GUEST_MEMFD_H
#define SYSTEM_KVM_GUEST_MEMFD_H

#include "exec/hwaddr.h"
#include "system/memory.h"

/**
 * kvm_create_shared_guest_memfd: create a guest_memfd that is all shared
 * @size: size in bytes, a multiple of @page_size
 * @page_size: size in bytes of the pages that the file is to be made of: the
 *     host's base page size, or a huge page size of the host
 * @errp: set on failure, to what it is that KVM does not have: guest_memfd at
 *     all, mapping it, sharing it with this type of VM, or pages of that size
 *
 * The file belongs to the VM of the running KVM accelerator, starts empty, and
 * can be mapped with MAP_SHARED only.  What KVM can do is found out by doing
 * it, on the VM itself: asked on /dev/kvm, KVM_CAP_GUEST_MEMFD_FLAGS does not
 * know the type of the VM, and for page sizes there is no capability.
 *
 * The flags are those of Linux's include/uapi/linux/kvm.h.
 *
 * Context: kvm_enabled(); any thread.
 *
 * Return: a file descriptor with close-on-exec set, which the caller closes,
 *     or -1 with @errp set.
 */
int kvm_create_shared_guest_memfd(uint64_t size, uint64_t page_size,
                                  Error **errp);

/**
 * kvm_handle_memory_fault: deal with KVM_EXIT_MEMORY_FAULT
 * @start: guest-physical address
 * @size: in bytes
 * @flags: of the exit, see Linux's Documentation/virt/kvm/api.rst
 *
 * Converts the memory to what the access wants it to be, unless accesses of
 * this type of guest don't say so.
 *
 * Context: a vCPU's thread, without the BQL.
 *
 * Return: 0 if the vCPU is to run again, or a negative errno, reported.
 */
int kvm_handle_memory_fault(hwaddr start, hwaddr size, uint64_t flags);

/**
 * kvm_restore_memory_attributes: tell KVM the states of a new memslot's pages
 * @mr: region with private memory
 * @start: guest-physical address of the memslot
 * @offset: of the memslot's memory within @mr, in bytes
 * @size: of the memslot, in bytes
 *
 * All are multiples of the host's page size.  A failure is reported; those
 * pages are shared then.
 */
void kvm_restore_memory_attributes(MemoryRegion *mr, hwaddr start,
                                   uint64_t offset, uint64_t size);

/**
 * kvm_clear_memory_attributes: make shared what a memslot is gone from
 * @start: guest-physical address, a multiple of the host's page size
 * @size: in bytes, likewise
 *
 * The bitmap of the RAMBlock keeps the states of its pages.
 */
void kvm_clear_memory_attributes(hwaddr start, uint64_t size);

#endif
