/*
 * A naive model of who knows states of guest memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "exec/ramlist.h"
#include "system/kvm-guest-memfd.h"
#include "system/ram-conversion.h"
#include "system/ram-private.h"
#include "ram-conversion-model.h"
#include "ram-conversion-stubs.h"

ModelBlock model_blocks[MODEL_BLOCKS];
bool model_hides;
int model_keeps;
int model_most_calls;
uint64_t model_most_bytes;

static QemuMutex lock;
/* What devices were told since it was taken */
static int calls;
static uint64_t bytes;

static void __attribute__((__constructor__)) lock_init(void)
{
    qemu_mutex_init(&lock);
}

/* After so many calls the kernel or the device refuses so many. */
static struct {
    int after;
    int times;
    int err;
    int refused;
} fault;

/* After so many steps the guest no longer sees the block. */
static struct {
    int after;
    bool is_unplugged;
    ModelBlock *block;
} loss;

static uint64_t page_size(void)
{
    return qemu_real_host_page_size();
}

static ModelBlock *block_of(RAMBlock *rb)
{
    return container_of(rb, ModelBlock, rb);
}

static int refuse(void)
{
    if (fault.after > 0) {
        fault.after--;
        return 0;
    }
    if (!fault.times) {
        return 0;
    }
    fault.times--;
    fault.refused++;
    return fault.err;
}

MemoryRegionSection memory_region_find(MemoryRegion *mr, hwaddr addr,
                                       uint64_t size)
{
    MemoryRegionSection found = {};
    hwaddr first = addr / page_size(), end = (addr + size) / page_size();

    for (int i = 0; i < MODEL_BLOCKS && !found.mr; i++) {
        hwaddr begin = MAX(first, model_blocks[i].page);
        hwaddr stop = MIN(end, model_blocks[i].page + MODEL_PAGES);

        if (model_blocks[i].is_mapped && begin < stop) {
            found.mr = &model_blocks[i].mr;
            found.offset_within_address_space = begin * page_size();
            found.offset_within_region =
                (begin - model_blocks[i].page) * page_size();
            found.size = int128_make64((stop - begin) * page_size());
        }
    }
    return found;
}

static void lose_block(ModelBlock *block)
{
    block->is_mapped = false;
    block->is_unplugged = loss.is_unplugged;
    if (block->is_unplugged) {
        block->rb.attributes = NULL;
    }
}

void ram_block_attributes_lock(void)
{
    qemu_mutex_lock(&lock);
    calls = 0;
    bytes = 0;
    if (loss.block && !loss.after--) {
        lose_block(loss.block);
        loss.block = NULL;
    }
}

void ram_block_attributes_unlock(void)
{
    qemu_mutex_unlock(&lock);
}

void ram_block_attributes_set(RamBlockAttributes *attr, uint64_t offset,
                              uint64_t size, bool shared)
{
    if (shared) {
        bitmap_set(attr->bitmap, offset / page_size(), size / page_size());
    } else {
        bitmap_clear(attr->bitmap, offset / page_size(), size / page_size());
    }
}

static void give(ModelBlock *block, uint64_t offset, uint64_t size, bool give)
{
    bytes += size;
    model_most_calls = MAX(model_most_calls, ++calls);
    model_most_bytes = MAX(model_most_bytes, bytes);
    for (uint64_t at = offset; at < offset + size; at += page_size()) {
        /* A device is given what is shared, and never loses it then. */
        g_assert_true(block->kvm[at / page_size()]);
        g_assert_true(test_bit(at / page_size(), block->attr.bitmap));
        block->device[at / page_size()] = give;
    }
}

void ram_block_attributes_notify_discard(RamBlockAttributes *attr,
                                         uint64_t offset, uint64_t size)
{
    give(block_of(attr->ram_block), offset, size, false);
}

int ram_block_attributes_notify_try_discard(RamBlockAttributes *attr,
                                            uint64_t offset, uint64_t size)
{
    if (model_keeps && !--model_keeps) {
        return -ENOSPC;
    }
    give(block_of(attr->ram_block), offset, size, false);
    return 0;
}

int ram_block_attributes_notify_populate(RamBlockAttributes *attr,
                                         uint64_t offset, uint64_t size)
{
    ModelBlock *block = block_of(attr->ram_block);
    int ret = refuse();

    for (uint64_t at = offset; at < offset + size; at += page_size()) {
        g_assert_false(block->device[at / page_size()]);
    }
    if (!ret) {
        give(block, offset, size, true);
    }
    return ret;
}

/* The device may have some of it. */
int ram_block_attributes_notify_restore(RamBlockAttributes *attr,
                                        uint64_t offset, uint64_t size)
{
    int ret = refuse();

    if (!ret) {
        give(block_of(attr->ram_block), offset, size, true);
    }
    return ret;
}

int kvm_set_memory_state(RAMBlock *rb, uint64_t offset, uint64_t size,
                         bool private, uint64_t *done)
{
    ModelBlock *block = block_of(rb);
    int ret = refuse();

    for (uint64_t at = offset; private && at < offset + size;
         at += page_size()) {
        g_assert_false(block->device[at / page_size()]);
    }
    *done = size;
    if (ret) {
        /* A guest may see memory in parts, of which one fails. */
        *done = stub_in_place || ret == -EAGAIN
            ? 0 : QEMU_ALIGN_DOWN(size / 2, page_size());
    }
    for (uint64_t at = offset; at < offset + *done; at += page_size()) {
        block->kvm[at / page_size()] = !private;
        block->hidden[at / page_size()] |= private && stub_in_place;
    }
    return ret;
}

int ram_private_end(RAMBlock *rb, uint64_t offset, uint64_t size)
{
    int ret = model_hides ? -ENOMEM : refuse();

    if (!ret) {
        memset(&block_of(rb)->hidden[offset / page_size()], false,
               size / page_size());
    }
    return ret;
}

/* Nothing of the side that is in use is given back. */
static void check_other_side(RAMBlock *rb, uint64_t offset, uint64_t size,
                             bool private)
{
    /* Others may do something in between, if they do not wait. */
    g_thread_yield();
    for (uint64_t at = offset; at < offset + size; at += page_size()) {
        g_assert_true(test_bit(at / page_size(), rb->attributes->bitmap) !=
                      private);
    }
}

int ram_block_discard_range(RAMBlock *rb, uint64_t offset, size_t size)
{
    check_other_side(rb, offset, size, true);
    return 0;
}

int ram_block_discard_guest_memfd_range(RAMBlock *rb, uint64_t offset,
                                        size_t size)
{
    check_other_side(rb, offset, size, false);
    return 0;
}

void model_set_up(bool in_place)
{
    static RamDiscardListener listener;

    stub_in_place = in_place;
    QLIST_INIT(&ram_list.blocks);
    for (int i = 0; i < MODEL_BLOCKS; i++) {
        ModelBlock *block = &model_blocks[i];

        memset(block, 0, sizeof(*block));
        /* The hole is before the last one. */
        block->page = (i + (i == MODEL_BLOCKS - 1)) * MODEL_PAGES;
        block->is_mapped = true;
        block->mr.ram_block = &block->rb;
        block->rb.mr = &block->mr;
        block->rb.attributes = &block->attr;
        block->rb.page_size = i ? page_size() : MODEL_HUGE * page_size();
        block->rb.max_length = MODEL_PAGES * page_size();
        block->attr.ram_block = &block->rb;
        block->attr.generation = i + 1;
        block->attr.bitmap_size = MODEL_PAGES;
        block->attr.bitmap = bitmap_new(MODEL_PAGES);
        memset(block->hidden, stub_in_place, sizeof(block->hidden));
        QLIST_INIT(&block->attr.rdl_list);
        if (i != 1) {
            block->attr.rdl_list.lh_first = &listener;
            block->attr.dma_extent_max = RAM_CONVERSION_STEP_MAPPED;
        }
        QLIST_INSERT_HEAD_RCU(&ram_list.blocks, &block->rb, next);
    }
}

void model_tear_down(void)
{
    for (int i = 0; i < MODEL_BLOCKS; i++) {
        g_free(model_blocks[i].attr.bitmap);
    }
}

bool model_is_shared(const ModelBlock *block, int page)
{
    return test_bit(page, block->attr.bitmap);
}

void model_check_equal(bool device_has_all)
{
    for (int i = 0; i < MODEL_BLOCKS; i++) {
        ModelBlock *block = &model_blocks[i];
        bool has_device = !QLIST_EMPTY(&block->attr.rdl_list);

        for (int at = 0; at < MODEL_PAGES; at++) {
            bool shared = model_is_shared(block, at);

            g_assert_true(shared == block->kvm[at]);
            g_assert_true(shared || !block->device[at]);
            /* Otherwise more was refused than can be borne. */
            g_assert_false(device_has_all && shared && block->hidden[at]);
            if (device_has_all && has_device) {
                g_assert_true(shared == block->device[at]);
            }
        }
    }
}

static bool is_in(const ModelBlock *block, int at, hwaddr first, hwaddr count)
{
    return block->page + at >= first && block->page + at < first + count;
}

void model_copy(ModelStates states)
{
    for (int i = 0; i < MODEL_BLOCKS; i++) {
        for (int at = 0; at < MODEL_PAGES; at++) {
            states[i][at] = model_is_shared(&model_blocks[i], at);
        }
    }
}

void model_check_converted(ModelStates before, hwaddr first,
                            hwaddr count, bool shared)
{
    for (int i = 0; i < MODEL_BLOCKS; i++) {
        for (int at = 0; at < MODEL_PAGES; at++) {
            bool wanted = is_in(&model_blocks[i], at, first, count) ? shared
                                                              : before[i][at];

            g_assert_true(model_is_shared(&model_blocks[i], at) == wanted);
        }
    }
}

void model_check_unchanged(ModelStates before)
{
    model_check_converted(before, 0, 0, false);
}

void model_refuse_after(int after, int times, int err)
{
    fault.after = after;
    fault.times = times;
    fault.err = err;
    fault.refused = 0;
}

int model_refused(void)
{
    return fault.refused;
}

void model_find(ModelBlock *block)
{
    block->is_mapped = true;
    if (!block->is_unplugged) {
        return;
    }
    block->is_unplugged = false;
    block->rb.attributes = &block->attr;
    block->attr.generation += MODEL_BLOCKS;
    bitmap_zero(block->attr.bitmap, MODEL_PAGES);
    memset(block->kvm, 0, sizeof(block->kvm));
    memset(block->hidden, stub_in_place, sizeof(block->hidden));
    memset(block->device, 0, sizeof(block->device));
}

void model_lose_device(ModelBlock *block)
{
    QLIST_INIT(&block->attr.rdl_list);
    memset(block->device, 0, sizeof(block->device));
}

void model_lose_after(int after, ModelBlock *block, bool is_unplugged)
{
    loss.after = after;
    loss.block = block;
    loss.is_unplugged = is_unplugged;
}
