/*
 * Memory backends whose memory can be private
 *
 * Only what is RAM of the guest can be private, and only as long as it is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "hw/boards.h"
#include "system/hostmem-private.h"
#include "system/kvm-guest-memfd.h"
#include "system/ram-guest-memfd.h"
#include "system/ram-private.h"
#include "system/ramblock.h"
#include "system/system.h"

/* With two backings, what becomes private is discarded on the shared side. */
static bool check_content(HostMemoryBackend *backend, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *path = NULL;

    if (!backend->is_kept || machine_converts_in_place(current_machine)) {
        return true;
    }
    path = object_property_get_str(OBJECT(backend), "mem-path", &error_abort);
    error_setg(errp, "memory '%s' cannot become private: file '%s' would lose "
               "what is in it", memory_region_name(&backend->mr), path);
    error_append_hint(errp, "Use memory-backend-guest-memfd or "
                      "memory-backend-memfd for the guest's RAM, or "
                      "share=on,discard-data=on if nobody needs it.  A file can "
                      "be the memory of an nvdimm or a virtio-pmem-pci.\n");
    return false;
}

/* Not when it is unplugged, as it may be deleted next. */
static void preallocate_again(HostMemoryBackend *backend)
{
    Error *err = NULL;

    if (backend->prealloc && backend->is_emptied &&
        !MEMORY_BACKEND_GET_CLASS(backend)->prealloc(backend, false, &err)) {
        warn_report_err(err);
    }
    backend->is_emptied = false;
}

bool host_memory_backend_become_private(HostMemoryBackend *backend,
                                        Error **errp)
{
    if (!backend->guest_memfd) {
        return true;
    }
    if (!check_content(backend, errp) ||
        !ram_block_add_guest_memfd(backend->mr.ram_block, errp)) {
        return false;
    }
    preallocate_again(backend);
    return true;
}

bool host_memory_is_kept(MemoryRegion *mr)
{
    HostMemoryBackend *backend = backend_of_ram(mr);

    return backend && backend->is_kept && !backend->share;
}

static bool map_again(void *host, size_t size)
{
    const int drop = should_mlock(mlock_state) ? QEMU_MADV_DONTNEED_LOCKED
                                               : QEMU_MADV_DONTNEED;

    return !qemu_madvise(host, size, drop) &&
           !qemu_madvise(host, size, QEMU_MADV_POPULATE_WRITE);
}

bool host_memory_reload(MemoryRegion *mr, void *host, size_t size)
{
    HostMemoryBackend *backend = backend_of_ram(mr);

    if (!backend || !backend->is_kept) {
        return false;
    }
    if (map_again(host, size) || mr->readonly) {
        return true;
    }
    if (backend->share) {
        return false;
    }
    if (mmap(host, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
             MAP_FIXED | MAP_NORESERVE, -1, 0) != host) {
        warn_report("memory '%s' at %p, size 0x%zx, stays bad: %s",
                    memory_region_name(mr), host, size, strerror(errno));
    }
    return true;
}

bool host_memory_backend_end_private(HostMemoryBackend *backend)
{
    if (!memory_region_has_guest_memfd(&backend->mr)) {
        return true;
    }
    if (kvm_forget_memory(backend->mr.ram_block)) {
        error_printf("It can be neither used again nor deleted.\n");
        return false;
    }
    ram_block_remove_guest_memfd(backend->mr.ram_block);
    backend->is_emptied = true;
    return true;
}
