/*
 * Memslots that KVM refuses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "hw/qdev-core.h"
#include "system/memory.h"
#include "system/ram-by-fd.h"
#include "system/ramblock.h"
#include "guest-memfd-slots.h"
#include "trace.h"

void kvm_memslot_failed(const char *what, const MemoryRegion *mr, int err)
{
    error_report("KVM cannot %s memory '%s': %s", what, mr->name,
                 strerror(-err));
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

static void note_missing(KVMMemoryListener *kml,
                         const MemoryRegionSection *section)
{
    KVMMemoryUpdate *update = g_new0(KVMMemoryUpdate, 1);

    update->section = *section;
    QSIMPLEQ_INSERT_TAIL(&kml->missing, update, next);
}

void kvm_memslot_refused(KVMMemoryListener *kml,
                         const MemoryRegionSection *section, hwaddr start,
                         hwaddr size, int err)
{
    MemoryRegion *mr = section->mr;

    if (!guest_can_do_without(mr)) {
        kvm_memslot_failed("map", mr, err);
    }
    trace_kvm_guest_memfd_unmapped(start, size, -err);
    note_missing(kml, section);
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

void kvm_memslots_try_again(KVMMemoryListener *kml,
                            void (*add)(KVMMemoryListener *,
                                        MemoryRegionSection *, bool))
{
    KVMMissingMemory updates = QSIMPLEQ_HEAD_INITIALIZER(updates);
    KVMMemoryUpdate *update, *next;

    QSIMPLEQ_CONCAT(&updates, &kml->missing);
    QSIMPLEQ_FOREACH_SAFE(update, &updates, next, next) {
        add(kml, &update->section, true);
        g_free(update);
    }
}

static bool is_same_section(const MemoryRegionSection *section,
                            const MemoryRegionSection *other)
{
    return section->mr == other->mr &&
           section->offset_within_address_space ==
           other->offset_within_address_space;
}

void kvm_memslots_forget(KVMMemoryListener *kml,
                         const MemoryRegionSection *section)
{
    KVMMemoryUpdate *update, *next;

    QSIMPLEQ_FOREACH_SAFE(update, &kml->missing, next, next) {
        if (is_same_section(&update->section, section)) {
            QSIMPLEQ_REMOVE(&kml->missing, update, KVMMemoryUpdate, next);
            g_free(update);
        }
    }
}
