/*
 * Conversion of guest memory: pages of one RAMBlock at once
 *
 * QEMU's bitmap of a RAMBlock (RamBlockAttributes), the attributes that KVM has
 * and what listeners have of the memory are equal after each step, also after
 * one that failed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "system/kvm.h"
#include "system/kvm-guest-memfd.h"
#include "system/ram-conversion.h"
#include "system/ram-private.h"

/* Pages one after the other; starts as all zeros. */
typedef struct Run {
    uint64_t offset;                /* within the step */
    uint64_t size;
} Run;

static unsigned long count_pages(const RamConversionStep *step)
{
    return step->size / qemu_real_host_page_size();
}

/* Goes on to the next run of pages in a bitmap. */
static bool next_run(const RamConversionStep *step, const unsigned long *pages,
                     Run *run)
{
    const size_t page = qemu_real_host_page_size();
    unsigned long count = count_pages(step);
    unsigned long begin, end = (run->offset + run->size) / page;

    begin = pages ? find_next_bit(pages, count, end) : end;
    if (begin >= count) {
        return false;
    }
    end = pages ? find_next_zero_bit(pages, count, begin) : count;
    run->offset = begin * page;
    run->size = (end - begin) * page;
    return true;
}

/* Makes @pages those of a step that are so. */
static void find_pages(const RamConversionStep *step, bool private,
                       unsigned long *pages)
{
    unsigned long first = step->offset / qemu_real_host_page_size();
    unsigned long count = count_pages(step);

    bitmap_copy_with_src_offset(pages, step->rb->attributes->bitmap, first,
                                count);
    if (private) {
        bitmap_complement(pages, pages, count);
    }
}

/* Of these pages, or all, those that are so now. */
static unsigned long *pages_still(const RamConversionStep *step,
                                  const unsigned long *pages, bool private)
{
    unsigned long *now = bitmap_new(count_pages(step));

    find_pages(step, private, now);
    if (pages) {
        bitmap_and(now, now, pages, count_pages(step));
    }
    return now;
}

static bool has_listeners(const RamConversionStep *step)
{
    return !QLIST_EMPTY(&step->rb->attributes->rdl_list);
}

/* Listeners give up what they have of the pages before @end. */
static void notify_discard(const RamConversionStep *step,
                           const unsigned long *pages, uint64_t end)
{
    Run run = {};

    while (has_listeners(step) && next_run(step, pages, &run) &&
           run.offset < end) {
        ram_block_attributes_notify_discard(step->rb->attributes,
                                            step->offset + run.offset,
                                            run.size);
    }
}

/* They do, or one refuses, and others may have given up some. */
static int notify_try_discard(const RamConversionStep *step,
                              const unsigned long *pages)
{
    Run run = {};
    int ret = 0;

    while (!ret && has_listeners(step) && next_run(step, pages, &run)) {
        ret = ram_block_attributes_notify_try_discard(step->rb->attributes,
                                                      step->offset + run.offset,
                                                      run.size);
    }
    return ret;
}

/* Listeners get all of the pages, or none. */
static int notify_populate(const RamConversionStep *step,
                           const unsigned long *pages)
{
    Run run = {};
    int ret;

    while (has_listeners(step) && next_run(step, pages, &run)) {
        ret = ram_block_attributes_notify_populate(step->rb->attributes,
                                                   step->offset + run.offset,
                                                   run.size);
        if (ret) {
            notify_discard(step, pages, run.offset);
            return ret;
        }
    }
    return 0;
}

/* Each listener gets what it can. */
static int notify_restore(const RamConversionStep *step,
                          const unsigned long *pages)
{
    Run run = {};
    int first = 0;

    while (has_listeners(step) && next_run(step, pages, &run)) {
        int ret = ram_block_attributes_notify_restore(step->rb->attributes,
                                                      step->offset + run.offset,
                                                      run.size);

        first = first ?: ret;
    }
    return first;
}

/* What was not done must be undone, and listeners may fail to get it again. */
static void give_access(const RamConversionStep *step,
                        const unsigned long *pages)
{
    g_autofree unsigned long *shared = pages_still(step, pages, false);
    int ret = notify_restore(step, shared);

    if (ret) {
        qatomic_inc(&step->rb->attributes->failures);
        warn_report_once("devices lose access to shared memory of '%s', of "
                         "which a conversion failed: %s",
                         memory_region_name(step->rb->mr), strerror(-ret));
    }
}

/* Tells KVM, then the bitmap what KVM has done, even if it is but a part. */
static int tell_kvm(RAMBlock *rb, uint64_t offset, uint64_t size, bool private,
                    uint64_t *done)
{
    int ret = kvm_set_memory_state(rb, offset, size, private, done);

    ram_block_attributes_set(rb->attributes, offset, *done, !private);
    return ret;
}

static int set_state(const RamConversionStep *step, const Run *run,
                     bool private, uint64_t *done)
{
    uint64_t offset = step->offset + run->offset;
    RAMBlock *rb = step->rb;
    int ret = tell_kvm(rb, offset, run->size, private, done), end = 0;

    if (!private && ram_converts_in_place(rb)) {
        /* What QEMU cannot see must not be taken for shared. */
        end = ram_private_end(rb, offset, *done);
    }
    return ret ?: end;
}

/* They stay what KVM has them for, or QEMU, if it cannot see them. */
static void keep_run(const RamConversionStep *step, const Run *run,
                     bool private, uint64_t done, int ret)
{
    uint64_t offset = step->offset + run->offset;
    RAMBlock *rb = step->rb;

    qatomic_inc(&rb->attributes->failures);
    warn_report_once("memory '%s' at 0x%" PRIx64 ", size 0x%" PRIx64
                     ", cannot be made %s again: %s",
                     memory_region_name(rb->mr), offset, run->size,
                     ram_state_name(private), strerror(-ret));
    ram_block_attributes_set(rb->attributes, offset + done, run->size - done,
                             private);
    if (!private && done) {
        tell_kvm(rb, offset, done, true, &done);
    }
}

static void put_back(const RamConversionStep *step, const unsigned long *pages,
                     bool private)
{
    uint64_t done;
    Run run = {};
    int ret;

    while (next_run(step, pages, &run)) {
        ret = set_state(step, &run, private, &done);
        if (ret) {
            keep_run(step, &run, private, done, ret);
        }
    }
}

/* How often devices have a page, at most, as a power of two */
static unsigned int times_mapped(const RamBlockAttributes *attr)
{
    return pow2ceil(MAX(attr->dma_windows, 1));
}

uint64_t ram_conversion_step_size(RAMBlock *rb)
{
    RamBlockAttributes *attr = rb->attributes;
    uint64_t most;

    if (QLIST_EMPTY(&attr->rdl_list) || !attr->dma_extent_max) {
        return RAM_CONVERSION_STEP;
    }
    most = MIN(RAM_CONVERSION_STEP_MAPPED,
               RAM_CONVERSION_RUNS * attr->dma_extent_max);
    return MAX(most / times_mapped(attr), qemu_real_host_page_size());
}

/* Devices take a call for each run, so a step has no more than some. */
static void limit_runs(RamConversionStep *step)
{
    const int most = MAX(RAM_CONVERSION_RUNS /
                         times_mapped(step->rb->attributes), 1);
    Run run = {};

    for (int runs = 0; next_run(step, step->pages, &run); runs++) {
        if (runs == most) {
            step->size = run.offset;
            return;
        }
    }
}

int ram_conversion_step_do(RamConversionStep *step, bool to_private)
{
    Run all = {};
    uint64_t done;
    int ret = 0;

    find_pages(step, !to_private, step->pages);
    if (has_listeners(step)) {
        limit_runs(step);
    }
    all.size = step->size;
    if (to_private) {
        ret = notify_try_discard(step, step->pages);
    }
    if (!ret) {
        /* Also what is so already: KVM may have failed to put it back. */
        ret = set_state(step, &all, to_private, &done);
    }
    if (!ret && !to_private) {
        ret = notify_populate(step, step->pages);
    }
    if (ret) {
        g_autofree unsigned long *changed = pages_still(step, step->pages,
                                                        to_private);

        put_back(step, changed, !to_private);
        give_access(step, to_private ? step->pages : changed);
    }
    return ret;
}

void ram_conversion_step_undo(RamConversionStep *step, bool was_to_private)
{
    g_autofree unsigned long *changed = pages_still(step, step->pages,
                                                    was_to_private);

    if (!was_to_private) {
        notify_discard(step, changed, step->size);
    }
    put_back(step, changed, !was_to_private);
    /* also to pages that stay shared, as KVM doesn't make them private again */
    give_access(step, changed);
}

void ram_conversion_step_restore(const RamConversionStep *step)
{
    g_autofree unsigned long *private = pages_still(step, NULL, true);

    put_back(step, private, true);
    give_access(step, private);
}

int ram_conversion_step_populate(const RamConversionStep *step)
{
    g_autofree unsigned long *shared = pages_still(step, NULL, false);

    return notify_populate(step, shared);
}

void ram_conversion_step_free(const RamConversionStep *step, bool to_private)
{
    RAMBlock *rb = step->rb;
    Run run = {};

    if (ram_converts_in_place(rb)) {
        return;
    }
    /* Huge pages of the shared side are set aside for it anyway. */
    if (to_private && rb->page_size != qemu_real_host_page_size()) {
        return;
    }
    while (next_run(step, step->pages, &run)) {
        uint64_t offset = step->offset + run.offset;

        if (to_private) {
            ram_block_discard_range(rb, offset, run.size);
        } else {
            ram_block_discard_guest_memfd_range(rb, offset, run.size);
        }
    }
}
