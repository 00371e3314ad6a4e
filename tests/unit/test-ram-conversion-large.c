/*
 * Unit tests: conversions of 16 TiB, in steps that are no larger than others
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/units.h"
#include "exec/ramlist.h"
#include "system/kvm-guest-memfd.h"
#include "system/memory.h"
#include "system/ram-conversion.h"
#include "system/ram-private.h"
#include "ram-conversion-stubs.h"

#define SIZE (16 * TiB)
/* Everything but the page at the end can be converted then. */
#define BUSY (SIZE - 4 * KiB)

static RAMBlock block;
static MemoryRegion region;

static struct {
    uint64_t calls;
    uint64_t largest;               /* in bytes */
    uint64_t freed;                 /* likewise */
    bool is_busy;
} seen;

MemoryRegionSection memory_region_find(MemoryRegion *mr, hwaddr addr,
                                       uint64_t size)
{
    return (MemoryRegionSection) {
        .mr = &region, .offset_within_region = addr,
        .offset_within_address_space = addr, .size = int128_make64(size),
    };
}

int kvm_set_memory_state(RAMBlock *rb, uint64_t offset, uint64_t size,
                         bool private, uint64_t *done)
{
    seen.calls++;
    seen.largest = MAX(seen.largest, size);
    if (seen.is_busy && offset + size > BUSY) {
        *done = 0;
        return -EAGAIN;
    }
    *done = size;
    return 0;
}

int ram_private_end(RAMBlock *rb, uint64_t offset, uint64_t size)
{
    return 0;
}

static int give_back(uint64_t size)
{
    seen.largest = MAX(seen.largest, size);
    seen.freed += size;
    return 0;
}

int ram_block_discard_range(RAMBlock *rb, uint64_t offset, size_t size)
{
    return give_back(size);
}

int ram_block_discard_guest_memfd_range(RAMBlock *rb, uint64_t offset,
                                        size_t size)
{
    return give_back(size);
}

static uint64_t shared_size(void)
{
    return block.attributes->nr_shared * qemu_real_host_page_size();
}

/* All of it is private. */
static void set_up(bool in_place, uint64_t page_size)
{
    RamBlockAttributes *attr = g_new0(RamBlockAttributes, 1);

    stub_in_place = in_place;
    memset(&seen, 0, sizeof(seen));
    attr->ram_block = &block;
    attr->bitmap_size = SIZE / qemu_real_host_page_size();
    attr->bitmap = bitmap_new(attr->bitmap_size);
    if (page_size > qemu_real_host_page_size()) {
        attr->nr_whole = SIZE / page_size;
        attr->nr_shared_in = g_new0(uint32_t, attr->nr_whole);
    }
    region.ram_block = &block;
    block = (RAMBlock) {
        .mr = &region, .attributes = attr, .page_size = page_size,
        .max_length = SIZE,
    };
    QLIST_INIT(&ram_list.blocks);
    QLIST_INSERT_HEAD_RCU(&ram_list.blocks, &block, next);
}

static void tear_down(void)
{
    g_free(block.attributes->nr_shared_in);
    g_free(block.attributes->bitmap);
    g_free(block.attributes);
}

static int convert_all(bool to_private)
{
    RamConversion *request = ram_conversion_begin(0, SIZE, to_private);

    seen.calls = 0;
    return ram_conversion_run(request, false);
}

/* What a private page leaves is given back, by steps as well. */
static void test_separate(void)
{
    set_up(false, qemu_real_host_page_size());
    g_assert_cmpint(convert_all(false), ==, 0);
    g_assert_cmpuint(seen.calls, ==, SIZE / RAM_CONVERSION_STEP);
    g_assert_cmpuint(seen.largest, ==, RAM_CONVERSION_STEP);
    g_assert_cmpuint(seen.freed, ==, SIZE);
    g_assert_cmpuint(shared_size(), ==, SIZE);
    tear_down();
}

static void test_in_place(void)
{
    set_up(true, GiB);
    g_assert_cmpint(convert_all(false), ==, 0);
    g_assert_cmpuint(seen.calls, ==, SIZE / RAM_CONVERSION_STEP);
    g_assert_cmpuint(seen.largest, ==, RAM_CONVERSION_STEP);
    g_assert_cmpuint(shared_size(), ==, SIZE);
    g_assert_cmpuint(block.attributes->nr_whole, ==, 0);

    g_assert_cmpint(convert_all(true), ==, 0);
    g_assert_cmpuint(shared_size(), ==, 0);
    g_assert_cmpuint(block.attributes->nr_whole, ==, SIZE / GiB);
    tear_down();
}

/* What was done before the busy page is undone, and nothing else. */
static void test_busy(void)
{
    const uint64_t steps = SIZE / RAM_CONVERSION_STEP;

    set_up(true, GiB);
    seen.is_busy = true;
    g_assert_cmpint(convert_all(false), ==, -EAGAIN);
    g_assert_cmpuint(seen.calls, ==,
                     (steps - 1) * 2 + RAM_CONVERSION_TRIES + 1);
    g_assert_cmpuint(seen.largest, ==, RAM_CONVERSION_STEP);
    g_assert_cmpuint(shared_size(), ==, 0);
    g_assert_cmpuint(block.attributes->nr_whole, ==, SIZE / GiB);
    g_assert_cmpuint(block.attributes->failures, ==, 1);
    tear_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ram-conversion-large/separate", test_separate);
    g_test_add_func("/ram-conversion-large/in-place", test_in_place);
    g_test_add_func("/ram-conversion-large/busy", test_busy);
    return g_test_run();
}
