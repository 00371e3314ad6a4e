/*
 * States of the pages of a RAMBlock: private or shared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "qemu/lockable.h"
#include "system/memory.h"
#include "system/ramblock.h"
#include "trace.h"

/*
 * Protects the states and listeners of all RAMBlocks.  Taken after the BQL by
 * those who hold both; listeners are called with it.
 *
 * Who asks first gets it first.  A mutex would mostly go to a vCPU that has let
 * go of it just now, between two steps of a large conversion.
 */
static unsigned int next_turn, turn;

static QemuMutex turn_mutex;
static QemuCond turn_cond;

static void __attribute__((__constructor__)) turn_init(void)
{
    qemu_mutex_init(&turn_mutex);
    qemu_cond_init(&turn_cond);
}

void ram_block_attributes_lock(void)
{
    unsigned int own = qatomic_fetch_inc(&next_turn);

    if (qatomic_load_acquire(&turn) == own) {
        return;
    }
    QEMU_LOCK_GUARD(&turn_mutex);
    while (qatomic_load_acquire(&turn) != own) {
        qemu_cond_wait(&turn_cond, &turn_mutex);
    }
}

void ram_block_attributes_unlock(void)
{
    unsigned int next = turn + 1;

    qatomic_store_release(&turn, next);
    /* Either this sees who waits, or they see that it is their turn. */
    smp_mb();
    if (qatomic_read(&next_turn) != next) {
        QEMU_LOCK_GUARD(&turn_mutex);
        qemu_cond_broadcast(&turn_cond);
    }
}

void ram_block_attributes_renew(RamBlockAttributes *attr)
{
    static uint64_t generations;

    attr->generation = qatomic_fetch_inc(&generations);
}

/*
 * Counts the huge pages of which nothing is shared, before bits change; returns
 * how many of the pages were shared.
 */
static unsigned long count_whole(RamBlockAttributes *attr, unsigned long first,
                                 unsigned long count, bool shared)
{
    unsigned long each = attr->ram_block->page_size /
                         qemu_real_host_page_size();
    unsigned long whole = attr->nr_whole, end = first + count, next;
    unsigned long before = 0;

    for (; first < end; first = next) {
        uint32_t *nr_shared = &attr->nr_shared_in[first / each];
        unsigned long was_shared;

        next = MIN(end, QEMU_ALIGN_DOWN(first, each) + each);
        was_shared = bitmap_count_one_with_offset(attr->bitmap, first,
                                                  next - first);
        before += was_shared;
        whole -= !*nr_shared;
        *nr_shared += (shared ? next - first : 0) - was_shared;
        whole += !*nr_shared;
    }
    qatomic_set(&attr->nr_whole, whole);
    return before;
}

void ram_block_attributes_set(RamBlockAttributes *attr, uint64_t offset,
                              uint64_t size, bool shared)
{
    const size_t page = qemu_real_host_page_size();
    unsigned long first = offset / page, count = size / page;
    unsigned long before = attr->nr_shared_in ?
        count_whole(attr, first, count, shared) :
        bitmap_count_one_with_offset(attr->bitmap, first, count);

    trace_ram_block_attributes_set(attr->ram_block->idstr, offset, size,
                                   shared ? "shared" : "private");
    if (shared) {
        bitmap_set(attr->bitmap, first, count);
    } else {
        bitmap_clear(attr->bitmap, first, count);
    }
    qatomic_set(&attr->nr_shared,
                attr->nr_shared - before + (shared ? count : 0));
}

/*
 * Returns the first listener behind @rdl, or of all if that is NULL, which has
 * some of a range, and what it has of it.
 */
static RamDiscardListener *next_listener(RamBlockAttributes *attr,
                                         RamDiscardListener *rdl,
                                         uint64_t offset, uint64_t size,
                                         MemoryRegionSection *part)
{
    rdl = rdl ? QLIST_NEXT(rdl, next) : QLIST_FIRST(&attr->rdl_list);
    for (; rdl; rdl = QLIST_NEXT(rdl, next)) {
        *part = *rdl->section;
        if (memory_region_section_intersect_range(part, offset, size)) {
            return rdl;
        }
    }
    return NULL;
}

/* Tells listeners up to @end, or all, to give up what they have of a part. */
static void discard_until(RamBlockAttributes *attr, uint64_t offset,
                          uint64_t size, const RamDiscardListener *end)
{
    RamDiscardListener *rdl = NULL;
    MemoryRegionSection part;

    while ((rdl = next_listener(attr, rdl, offset, size, &part)) != end) {
        rdl->notify_discard(rdl, &part);
    }
}

void ram_block_attributes_notify_discard(RamBlockAttributes *attr,
                                         uint64_t offset, uint64_t size)
{
    if (!attr->loading) {
        discard_until(attr, offset, size, NULL);
    }
}

static int try_discard_one(RamDiscardListener *rdl, MemoryRegionSection *part)
{
    if (rdl->notify_try_discard) {
        return rdl->notify_try_discard(rdl, part);
    }
    rdl->notify_discard(rdl, part);
    return 0;
}

int ram_block_attributes_notify_try_discard(RamBlockAttributes *attr,
                                            uint64_t offset, uint64_t size)
{
    RamDiscardListener *rdl = NULL;
    MemoryRegionSection part;
    int ret = 0;

    if (attr->loading) {
        return 0;
    }
    while (!ret && (rdl = next_listener(attr, rdl, offset, size, &part))) {
        ret = try_discard_one(rdl, &part);
    }
    return ret;
}

int ram_block_attributes_notify_restore(RamBlockAttributes *attr,
                                        uint64_t offset, uint64_t size)
{
    RamDiscardListener *rdl = NULL;
    MemoryRegionSection part;
    int first = 0;

    if (attr->loading) {
        return 0;
    }
    while ((rdl = next_listener(attr, rdl, offset, size, &part))) {
        int ret = rdl->notify_populate(rdl, &part);

        first = first ?: ret;
    }
    return first;
}

int ram_block_attributes_notify_populate(RamBlockAttributes *attr,
                                         uint64_t offset, uint64_t size)
{
    RamDiscardListener *rdl = NULL;
    MemoryRegionSection part;

    if (attr->loading) {
        return 0;
    }
    while ((rdl = next_listener(attr, rdl, offset, size, &part))) {
        int ret = rdl->notify_populate(rdl, &part);

        if (ret) {
            discard_until(attr, offset, size, rdl);
            return ret;
        }
    }
    return 0;
}
