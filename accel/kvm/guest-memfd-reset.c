/*
 * Whole RAMBlocks: what is private or shared from the beginning, and in resets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/falloc.h>
#include "qapi/error.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/rcu.h"
#include "exec/ramlist.h"
#include "hw/boards.h"
#include "hw/qdev-core.h"
#include "system/confidential-guest-support.h"
#include "system/kvm-guest-memfd.h"
#include "system/memory.h"
#include "system/ram-conversion.h"
#include "system/ram-private.h"

/* Tries as long as a guest's request does. */
static int be_patient(int (*action)(RAMBlock *rb), RAMBlock *rb)
{
    int ret = action(rb);

    for (int tries = 0; ret == -EAGAIN && tries < RAM_CONVERSION_TRIES;
         tries++) {
        ram_conversion_wait(tries);
        ret = action(rb);
    }
    return ret;
}

static int convert_block(RAMBlock *rb, bool to_private)
{
    int ret;

    if (!ram_converts_in_place(rb)) {
        return 0;
    }
    ret = ram_conversion_convert_block(rb, to_private);
    if (ret) {
        error_report("memory '%s' cannot become %s: %s",
                     memory_region_name(rb->mr), ram_state_name(to_private),
                     strerror(-ret));
    }
    return ret;
}

/*
 * This, and to free memory, takes too long for the RCU read lock that
 * qemu_ram_foreach_block() has; no RAMBlock goes without the BQL.
 */
int kvm_convert_all_in_place(bool to_private)
{
    RAMBlock *rb;
    int ret;

    RAMBLOCK_FOREACH(rb) {
        ret = convert_block(rb, to_private);
        if (ret) {
            return ret;
        }
    }
    return 0;
}

/* ram_block_discard_guest_memfd_range() would report each try */
static int punch_block(RAMBlock *rb)
{
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

    return fallocate(rb->guest_memfd, mode, 0, rb->max_length) ? -errno : 0;
}

static int free_block(RAMBlock *rb)
{
    int ret = rb->attributes ? be_patient(punch_block, rb) : 0;

    if (ret) {
        error_report("memory '%s' cannot be freed: %s",
                     memory_region_name(rb->mr), strerror(-ret));
    }
    return ret;
}

int kvm_free_guest_memfds(void)
{
    RAMBlock *rb;
    int ret;

    RAMBLOCK_FOREACH(rb) {
        ret = free_block(rb);
        if (ret) {
            return ret;
        }
    }
    return 0;
}

/*
 * A guest's IOMMU may show devices what is unplugged.  They lose it, and their
 * listeners have no section, as if they were unregistered.
 */
static void drop_listeners(RamBlockAttributes *attr)
{
    RamDiscardListener *rdl;

    while ((rdl = QLIST_FIRST(&attr->rdl_list))) {
        rdl->notify_discard(rdl, rdl->section);
        QLIST_REMOVE(rdl, next);
        memory_region_section_free_copy(rdl->section);
        rdl->section = NULL;
    }
}

int kvm_forget_memory(RAMBlock *rb)
{
    ram_block_attributes_lock();
    drop_listeners(rb->attributes);
    /* What requests have done of it, they no longer undo. */
    ram_block_attributes_renew(rb->attributes);
    ram_block_attributes_unlock();
    return free_block(rb) ?:
           ram_converts_in_place(rb) ? convert_block(rb, false)
                                     : ram_block_discard_range(rb, 0,
                                                               rb->max_length);
}

/* Of all memory at once: nobody minds to give up what it doesn't have. */
static int begin_loading(RAMBlock *rb, void *opaque)
{
    if (rb->attributes) {
        ram_block_attributes_notify_discard(rb->attributes, 0, rb->max_length);
        rb->attributes->loading = true;
    }
    return 0;
}

void kvm_begin_loading(void)
{
    /* They are of the machine before the reset. */
    ram_conversion_abandon_all();
    ram_block_attributes_lock();
    qemu_ram_foreach_block(begin_loading, NULL);
    ram_block_attributes_unlock();
}

static int end_loading(RAMBlock *rb, void *opaque)
{
    const RamConversionStep all = { .rb = rb, .size = rb->max_length };
    int ret;

    if (!rb->attributes || !rb->attributes->loading) {
        return 0;
    }
    rb->attributes->loading = false;
    ret = ram_conversion_step_populate(&all);
    if (ret) {
        qatomic_inc(&rb->attributes->failures);
        warn_report_once("devices cannot be given shared memory of '%s': %s",
                         rb->idstr, strerror(-ret));
    }
    return 0;
}

void kvm_end_loading(void)
{
    ram_block_attributes_lock();
    qemu_ram_foreach_block(end_loading, NULL);
    ram_block_attributes_unlock();
}

/* Of memory that no guest sees yet, and QEMU has as private. */
static int begin_private(RAMBlock *rb)
{
    uint64_t done;
    int ret = kvm_guest_memfd_convert(rb->guest_memfd, 0, rb->max_length, true,
                                      &done);

    if (ret && done) {
        kvm_guest_memfd_convert(rb->guest_memfd, 0, done, false, &done);
    }
    return ret;
}

bool kvm_init_memory_state(RAMBlock *rb, Error **errp)
{
    int ret;

    if (!current_machine->cgs->starts_shared) {
        return true;
    }
    if (!phase_check(PHASE_MACHINE_READY)) {
        ram_block_attributes_set(rb->attributes, 0, rb->max_length, true);
        rb->attributes->loading = true;
        return true;
    }
    if (!ram_converts_in_place(rb)) {
        return true;
    }
    ret = be_patient(begin_private, rb);
    if (ret) {
        error_setg_errno(errp, -ret, "cannot make memory '%s' private",
                         memory_region_name(rb->mr));
    }
    return !ret;
}
