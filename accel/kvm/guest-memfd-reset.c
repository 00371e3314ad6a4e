/*
 * Whole RAMBlocks: what is private or shared from the beginning, and in resets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/falloc.h>
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/rcu.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "hw/qdev-core.h"
#include "system/confidential-guest-support.h"
#include "system/kvm-guest-memfd.h"
#include "system/memory.h"
#include "system/ram-conversion.h"
#include "system/ram-private.h"

enum { MAX_TRIES = 9, FIRST_DELAY_US = 100 };

/* Tries as long as a guest's request does. */
static int be_patient(int (*action)(RAMBlock *rb), RAMBlock *rb)
{
    int ret = action(rb);

    for (int tries = 1; ret == -EAGAIN && tries <= MAX_TRIES; tries++) {
        g_usleep(FIRST_DELAY_US << tries);
        ret = action(rb);
    }
    return ret;
}

static int convert_block(RAMBlock *rb, void *opaque)
{
    bool to_private = *(bool *)opaque;
    int ret;

    if (!ram_converts_in_place(rb)) {
        return 0;
    }
    ret = ram_conversion_convert_block(rb, to_private);
    if (ret) {
        error_report("memory '%s' cannot become %s: %s", rb->idstr,
                     to_private ? "private" : "shared", strerror(-ret));
    }
    return ret;
}

int kvm_convert_all_in_place(bool to_private)
{
    return qemu_ram_foreach_block(convert_block, &to_private);
}

/* ram_block_discard_guest_memfd_range() would report each try */
static int punch(RAMBlock *rb)
{
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

    return fallocate(rb->guest_memfd, mode, 0, rb->max_length) ? -errno : 0;
}

static int free_block(RAMBlock *rb, void *opaque)
{
    int ret = rb->attributes ? be_patient(punch, rb) : 0;

    if (ret) {
        error_report("memory '%s' cannot be freed: %s", rb->idstr,
                     strerror(-ret));
    }
    return ret;
}

int kvm_free_guest_memfds(void)
{
    return qemu_ram_foreach_block(free_block, NULL);
}

int kvm_forget_memory(RAMBlock *rb)
{
    bool to_private = false;

    return free_block(rb, NULL) ?:
           ram_converts_in_place(rb) ? convert_block(rb, &to_private)
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
    ret = ram_conversion_populate(&all);
    if (ret) {
        rb->attributes->failures++;
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
    int ret = kvm_guest_memfd_convert(rb->guest_memfd, rb->page_size, 0,
                                      rb->max_length, true, &done);

    /* Huge pages are converted one by one. */
    if (ret && done) {
        kvm_guest_memfd_convert(rb->guest_memfd, rb->page_size, 0, done, false,
                                &done);
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
