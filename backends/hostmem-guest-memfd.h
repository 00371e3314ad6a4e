/*
 * Host memory backend: a KVM guest_memfd, for its own source files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BACKENDS_HOSTMEM_GUEST_MEMFD_H
#define BACKENDS_HOSTMEM_GUEST_MEMFD_H

#include "system/hostmem-private.h"

OBJECT_DECLARE_SIMPLE_TYPE(HostMemoryBackendGuestMemfd,
                           MEMORY_BACKEND_GUEST_MEMFD)

typedef struct GuestMemfdMove GuestMemfdMove;

struct HostMemoryBackendGuestMemfd {
    HostMemoryBackend parent_obj;

    bool hugetlb;
    uint64_t hugetlbsize;
    uint64_t dma_extent_max;
    /* the last one, which may be over */
    GuestMemfdMove *move;
};

#define REFUSES "property '%s' of " TYPE_MEMORY_BACKEND_GUEST_MEMFD \
                " doesn't take value '%s': "

/**
 * guest_memfd_backend_has_two_backings: whether private memory is elsewhere
 * @backend: the backend
 *
 * What is private has a guest_memfd of its own then, which nothing maps.
 */
bool guest_memfd_backend_has_two_backings(HostMemoryBackend *backend);

/**
 * guest_memfd_backend_check: check what the user asks for
 * @backend: the backend
 * @page_size: set to the size of the pages that are asked for, on success only
 * @errp: set if something of it cannot be had
 *
 * Return: false with @errp set, or true.
 */
bool guest_memfd_backend_check(HostMemoryBackend *backend, uint64_t *page_size,
                               Error **errp);

/**
 * guest_memfd_backend_check_available: check that all memory can be allocated
 * @backend: the backend, whose memory exists
 * @errp: set if the host has not enough
 *
 * The kernel can neither swap nor drop pages of a guest_memfd, so asking for
 * more than it can free ends with the OOM killer, not with an error.  If it has
 * no more huge pages the error doesn't say so.
 *
 * Return: false with @errp set, or true.
 */
bool guest_memfd_backend_check_available(HostMemoryBackend *backend,
                                         Error **errp);

/**
 * guest_memfd_backend_check_nodes: check that nodes of the host have memory
 * @nodes: bitmap of MAX_NODES
 * @errp: set if one has none
 *
 * Return: false with @errp set, or true.
 */
bool guest_memfd_backend_check_nodes(const unsigned long *nodes, Error **errp);

/**
 * guest_memfd_backend_hint_at_pool: say what to do about too few huge pages
 * @backend: the backend
 * @page_size: their size
 * @errp: the error, which gets a hint
 */
void guest_memfd_backend_hint_at_pool(HostMemoryBackend *backend,
                                      uint64_t page_size, Error **errp);

/**
 * guest_memfd_backend_prealloc: allocate all memory
 * @backend: the backend, whose memory exists
 * @async: ignored; what the next backend may have depends on what this one has
 *     taken
 * @errp: set if not all can be allocated
 *
 * Return: false with @errp set, or true.
 */
bool guest_memfd_backend_prealloc(HostMemoryBackend *backend, bool async,
                                  Error **errp);

/**
 * guest_memfd_backend_bind: move memory to other nodes
 * @backend: the backend, whose memory exists
 * @nodes: bitmap of MAX_NODES
 * @policy: how memory is spread over @nodes; has no effect without nodes
 * @errp: set if nothing moves: a node has no memory, or KVM cannot move this
 *     memory
 *
 * New pages are allocated there from now on.  A thread moves those that are
 * there, and sends GUEST_MEMORY_MOVED when it is done.  One that is at work for
 * @backend already is stopped, after a piece of bounded size.
 *
 * Context: BQL.
 *
 * Return: false with @errp set, or true.
 */
bool guest_memfd_backend_bind(HostMemoryBackend *backend,
                              const unsigned long *nodes, HostMemPolicy policy,
                              Error **errp);

/**
 * guest_memfd_backend_stop_move: have no thread move memory any more
 * @b: the backend
 *
 * Context: BQL.
 */
void guest_memfd_backend_stop_move(HostMemoryBackendGuestMemfd *b);

#endif
