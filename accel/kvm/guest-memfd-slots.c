/*
 * Memslots that KVM refuses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "hw/qdev-core.h"
#include "system/kvm-guest-memfd.h"
#include "system/memory.h"
#include "system/ram-by-fd.h"
#include "system/ramblock.h"
#include "trace.h"

void kvm_memslot_failed(const char *what, int err)
{
    error_report("error %s slot: %s", what, strerror(-err));
    if (!phase_check(PHASE_MACHINE_RESET)) {
        /* There is no guest yet whose state anybody could want to see. */
        exit(1);
    }
    abort();
}

/* Guests can make it fail, or whoever plugs it. */
static bool guest_can_do_without(MemoryRegion *mr)
{
    return memory_region_has_guest_memfd(mr) ||
           qemu_ram_fd_is_guest_memfd(mr->ram_block);
}

void kvm_memslot_refused(MemoryRegion *mr, hwaddr start, hwaddr size, int err)
{
    if (!guest_can_do_without(mr)) {
        kvm_memslot_failed("registering", err);
    }
    trace_kvm_guest_memfd_unmapped(start, size, -err);
    mr->ram_block->memslot_err = err;
    if (err == -EEXIST) {
        /* A guest may ask for the same memory in two places. */
        return;
    }
    error_report_once("memory '%s' at 0x%" HWADDR_PRIx " is not there for the "
                      "guest: %s", mr->name, start, strerror(-err));
    if (!phase_check(PHASE_MACHINE_RESET)) {
        exit(1);
    }
}
