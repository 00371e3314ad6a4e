/*
 * Host memory backend: a KVM guest_memfd, moved to other NUMA nodes
 *
 * A policy is for pages that are allocated later.  Those that are there are
 * moved by a thread, as that takes long, and guests run on meanwhile.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-events-guest-memfd.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "system/kvm-guest-memfd.h"
#include "hostmem-guest-memfd.h"
#include "trace.h"

#ifdef CONFIG_NUMA

#include <numa.h>
#include <numaif.h>

/* A move that is given up is so after this much, for which the BQL is held. */
#define MOVE_STEP (16 * MiB)

struct GuestMemfdMove {
    QemuThread thread;
    char *id;
    int fd;
    uint64_t size;
    bool given_up;
};

static void *move_file(void *opaque)
{
    GuestMemfdMove *m = opaque;
    uint64_t step, offset, moved = 0, failed = 0;
    int ret = 0;

    for (offset = 0; offset < m->size && !ret; offset += step) {
        if (qatomic_read(&m->given_up)) {
            return NULL;
        }
        step = MIN(MOVE_STEP, m->size - offset);
        ret = kvm_guest_memfd_move(m->fd, offset, step, &moved, &failed);
    }
    trace_hostmem_guest_memfd_move(m->id, moved, failed, ret);
    qapi_event_send_guest_memory_moved(m->id, moved, failed,
                                       ret ? strerror(-ret) : NULL);
    return NULL;
}

/* The thread has a file of its own, as the backend's may be closed. */
static GuestMemfdMove *new_move(HostMemoryBackend *backend, Error **errp)
{
    int fd = qemu_dup(memory_region_get_fd(&backend->mr));
    GuestMemfdMove *m;

    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot duplicate the file of memory "
                         "'%s'", memory_region_name(&backend->mr));
        return NULL;
    }
    m = g_new(GuestMemfdMove, 1);
    *m = (GuestMemfdMove) {
        .id = g_strdup(object_get_canonical_path_component(OBJECT(backend))),
        .fd = fd,
        .size = backend->size,
    };
    return m;
}

static void free_move(GuestMemfdMove *m)
{
    close(m->fd);
    g_free(m->id);
    g_free(m);
}

void guest_memfd_backend_stop_move(HostMemoryBackendGuestMemfd *b)
{
    if (!b->move) {
        return;
    }
    qatomic_set(&b->move->given_up, true);
    qemu_thread_join(&b->move->thread);
    g_clear_pointer(&b->move, free_move);
}

static bool check_nodes(const unsigned long *nodes, HostMemPolicy policy,
                        Error **errp)
{
    ERRP_GUARD();

    if (policy == HOST_MEM_POLICY_DEFAULT &&
        !bitmap_empty(nodes, MAX_NODES)) {
        error_setg(errp, "host-nodes must be empty for policy default");
        error_append_hint(errp, "Set 'policy' to bind, preferred or interleave "
                          "before 'host-nodes', and 'host-nodes' to no nodes "
                          "before 'policy' to default.\n");
        return false;
    }
    return guest_memfd_backend_check_nodes(nodes, errp);
}

static bool check_movable(HostMemoryBackend *backend, Error **errp)
{
    ERRP_GUARD();
    int ret;

    if (guest_memfd_backend_has_two_backings(backend)) {
        error_setg(errp, "cannot move memory '%s': what is private has a "
                   "guest_memfd of its own",
                   memory_region_name(&backend->mr));
        error_append_hint(errp, "Place it when it is created, or convert it in "
                          "place.\n");
        return false;
    }
    ret = kvm_can_move_guest_memfd(memory_region_get_fd(&backend->mr));
    if (ret) {
        error_setg_errno(errp, -ret, "cannot move memory '%s': KVM on this "
                         "host doesn't move guest_memfds of this kind",
                         memory_region_name(&backend->mr));
        error_append_hint(errp, "Delete the object and create another.\n");
        return false;
    }
    return true;
}

/* As host_memory_backend_memory_complete() does it, but nothing moves. */
static bool set_policy(HostMemoryBackend *backend, const unsigned long *nodes,
                       HostMemPolicy policy, Error **errp)
{
    unsigned long last = find_last_bit(nodes, MAX_NODES);
    unsigned long count = last == MAX_NODES ? 0 : last + 2;
    int mode = count ? policy : MPOL_DEFAULT;

#ifdef HAVE_NUMA_HAS_PREFERRED_MANY
    if (mode == MPOL_PREFERRED && numa_has_preferred_many() > 0) {
        mode = MPOL_PREFERRED_MANY;
    }
#endif
    if (mbind(memory_region_get_ram_ptr(&backend->mr), backend->size, mode,
              count ? nodes : NULL, count, 0)) {
        error_setg_errno(errp, errno, "cannot bind memory to host NUMA nodes");
        return false;
    }
    return true;
}

static void start_move(HostMemoryBackendGuestMemfd *b, GuestMemfdMove *move)
{
    guest_memfd_backend_stop_move(b);
    b->move = move;
    qemu_thread_create(&move->thread, "move_pages", move_file, move,
                       QEMU_THREAD_JOINABLE);
}

bool guest_memfd_backend_bind(HostMemoryBackend *backend,
                              const unsigned long *nodes, HostMemPolicy policy,
                              Error **errp)
{
    GuestMemfdMove *move;

    if (!check_nodes(nodes, policy, errp) || !check_movable(backend, errp)) {
        return false;
    }
    move = new_move(backend, errp);
    if (!move) {
        return false;
    }
    if (!set_policy(backend, nodes, policy, errp)) {
        free_move(move);
        return false;
    }
    start_move(MEMORY_BACKEND_GUEST_MEMFD(backend), move);
    return true;
}

#endif
