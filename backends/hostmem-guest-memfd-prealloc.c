/*
 * Host memory backend: a KVM guest_memfd, preallocation
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/falloc.h>
#include "qapi/error.h"
#include "qemu/thread.h"
#include "qemu/thread-context.h"
#include "hw/boards.h"
#include "system/ramblock.h"
#include "hostmem-guest-memfd.h"
#include "trace.h"

/* What one thread allocates, in bytes. */
typedef struct Allocation {
    QemuThread thread;
    int fd;
    uint64_t offset;
    uint64_t size;
    int err;
} Allocation;

static void *allocate_range(void *opaque)
{
    Allocation *a = opaque;

    if (RETRY_ON_EINTR(fallocate(a->fd, FALLOC_FL_KEEP_SIZE, a->offset,
                                 a->size))) {
        a->err = errno;
    }
    trace_hostmem_guest_memfd_allocate(a->fd, a->offset, a->size, -a->err);
    return NULL;
}

static void start_allocation(HostMemoryBackend *backend, Allocation *a)
{
    static const char name[] = "allocate_pages";

    if (backend->prealloc_context) {
        thread_context_create_thread(backend->prealloc_context, &a->thread,
                                     name, allocate_range, a,
                                     QEMU_THREAD_JOINABLE);
    } else {
        qemu_thread_create(&a->thread, name, allocate_range, a,
                           QEMU_THREAD_JOINABLE);
    }
}

/* Pages that are private cannot be touched, but allocated. */
static bool allocate_file(HostMemoryBackend *backend, Error **errp)
{
    uint64_t page_size = qemu_ram_pagesize(backend->mr.ram_block);
    uint64_t pages = backend->size / page_size, first = 0;
    int threads = MIN(pages, MIN(backend->prealloc_threads,
                                 g_get_num_processors()));
    g_autofree Allocation *allocations = g_new0(Allocation, threads);
    int err = 0;

    for (int i = 0; i < threads; i++) {
        uint64_t end = pages * (i + 1) / threads;

        allocations[i].fd = memory_region_get_fd(&backend->mr);
        allocations[i].offset = first * page_size;
        allocations[i].size = (end - first) * page_size;
        first = end;
        start_allocation(backend, &allocations[i]);
    }
    for (int i = 0; i < threads; i++) {
        qemu_thread_join(&allocations[i].thread);
        err = err ?: allocations[i].err;
    }
    if (err) {
        error_setg_errno(errp, err, REFUSES "the memory cannot be allocated",
                         "prealloc", "on");
    }
    return !err;
}

bool guest_memfd_backend_prealloc(HostMemoryBackend *backend, bool async,
                                  Error **errp)
{
    ERRP_GUARD();
    HostMemoryBackendClass *parent =
        MEMORY_BACKEND_CLASS(object_class_by_name(TYPE_MEMORY_BACKEND));

    if (!guest_memfd_backend_check_available(backend, errp)) {
        trace_hostmem_guest_memfd_refuse(memory_region_name(&backend->mr),
                                         error_get_pretty(*errp));
        return false;
    }
    if (backend->guest_memfd && machine_converts_in_place(current_machine)) {
        return allocate_file(backend, errp);
    }
    /* At once, also at start-up. */
    return parent->prealloc(backend, false, errp);
}
