/*
 * Unit tests: states of memory in KVM, by address, against a naive model
 *
 * Memory moves where the guest sees it, or to where it doesn't, while it is
 * converted.  The model knows for each page where it is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/units.h"
#include "system/kvm.h"
#include "system/kvm-guest-memfd.h"
#include "system/ram-conversion.h"
#include "system/ramblock.h"

enum {
    BLOCKS = 3,
    PAGES = 2500,                   /* of a RAMBlock: some steps */
    ALL = 5 * PAGES,                /* what a guest can see */
    NOWHERE = ALL,
    ROUNDS = 2000,
};

typedef struct Block {
    RAMBlock rb;
    RamBlockAttributes attr;
    int place[PAGES];               /* where a guest sees pages, or NOWHERE */
} Block;

typedef struct Part {
    Block *block;
    int page, count;
    int place;
} Part;

static Block blocks[BLOCKS];
static bool kvm_private[ALL];
static bool in_place;
static bool is_locked;
/* pages of which KVM was told in this round, and whether it refuses */
static int told;
static bool refuses;

static uint64_t page_size(void)
{
    return qemu_real_host_page_size();
}

/* What QEMU has in these places. */

bool qemu_ram_fd_is_guest_memfd(RAMBlock *rb)
{
    return in_place;
}

void ram_block_attributes_lock(void)
{
    g_assert_false(is_locked);
    is_locked = true;
}

void ram_block_attributes_unlock(void)
{
    g_assert_true(is_locked);
    is_locked = false;
}

static int set_kvm(hwaddr start, uint64_t size, bool private)
{
    g_assert_true(is_locked);
    told += size / page_size();
    if (refuses) {
        return -ENOMEM;
    }
    for (hwaddr at = start; at < start + size; at += page_size()) {
        g_assert_cmpuint(at / page_size(), <, ALL);
        kvm_private[at / page_size()] = private;
    }
    return 0;
}

int kvm_set_memory_attributes_private(hwaddr start, uint64_t size)
{
    return set_kvm(start, size, true);
}

int kvm_set_memory_attributes_shared(hwaddr start, uint64_t size)
{
    return set_kvm(start, size, false);
}

int kvm_guest_memfd_convert(int fd, uint64_t offset, uint64_t size,
                            bool to_private, uint64_t *done)
{
    *done = size;
    return 0;
}

int ram_conversion_try(hwaddr start, uint64_t size, bool to_private)
{
    g_assert_not_reached();
}

RamConversion *ram_conversion_begin(hwaddr start, uint64_t size,
                                    bool to_private)
{
    g_assert_not_reached();
}

int ram_conversion_run(RamConversion *request, bool can_pause)
{
    g_assert_not_reached();
}

static bool is_private(const Block *block, int page)
{
    return !test_bit(page, block->attr.bitmap);
}

/* What is private is so for KVM, or else shared from then on. */
void ram_conversion_step_restore(const RamConversionStep *step)
{
    Block *block = container_of(step->rb, Block, rb);
    int first = step->offset / page_size();
    uint64_t done;

    for (int page = first; page < first + step->size / page_size(); page++) {
        if (is_private(block, page) &&
            kvm_set_memory_state(step->rb, page * page_size(), page_size(),
                                 true, &done)) {
            set_bit(page, block->attr.bitmap);
        }
    }
}

static void set_up(bool is_in_place)
{
    in_place = is_in_place;
    refuses = false;
    for (int i = 0; i < BLOCKS; i++) {
        Block *block = &blocks[i];

        memset(block, 0, sizeof(*block));
        block->rb.guest_memfd = 0;
        block->rb.offset = i * PAGES * page_size();
        block->rb.attributes = &block->attr;
        block->attr.bitmap = bitmap_new(PAGES);
        for (int page = 0; page < PAGES; page++) {
            block->place[page] = NOWHERE;
        }
    }
    memset(kvm_private, 0, sizeof(kvm_private));
}

static void map_part(const Part *part)
{
    for (int i = 0; i < part->count; i++) {
        part->block->place[part->page + i] = part->place + i;
    }
    kvm_memory_mapped(&part->block->rb, part->place * page_size(),
                      part->page * page_size(), part->count * page_size());
}

static void unmap_part(const Part *part)
{
    for (int i = 0; i < part->count; i++) {
        part->block->place[part->page + i] = NOWHERE;
    }
    kvm_memory_unmapped(&part->block->rb, part->place * page_size(),
                        part->page * page_size(), part->count * page_size());
}

static void tear_down(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        Block *block = &blocks[i];

        for (int page = 0; page < PAGES; page++) {
            const Part part = { block, page, 1, block->place[page] };

            if (block->place[page] != NOWHERE) {
                unmap_part(&part);
            }
        }
    }
    kvm_memory_map_changed();
    for (int i = 0; i < BLOCKS; i++) {
        g_free(blocks[i].attr.bitmap);
    }
    for (int at = 0; at < ALL; at++) {
        g_assert_false(kvm_private[at]);
    }
}

/* KVM has each page for what it is; where nothing is, all is shared. */
static void check_equal(void)
{
    bool expected[ALL] = {};

    for (int i = 0; i < BLOCKS; i++) {
        for (int page = 0; page < PAGES; page++) {
            int place = blocks[i].place[page];

            if (place != NOWHERE) {
                expected[place] = is_private(&blocks[i], page);
            }
        }
    }
    g_assert_cmpmem(expected, sizeof(expected), kvm_private,
                    sizeof(kvm_private));
}

/* A slot may be cut, as that of a PC's memory below a region that comes. */
static Part part_of(Block *block, int page, int count)
{
    return (Part) { block, page, count, block->place[page] };
}

static bool is_free(int place, int count)
{
    for (int i = 0; i < BLOCKS; i++) {
        for (int page = 0; page < PAGES; page++) {
            int at = blocks[i].place[page];

            if (at >= place && at < place + count) {
                return false;
            }
        }
    }
    return true;
}

/* The pages of a block that are in one piece, from a random one on. */
static Part random_part(void)
{
    Block *block = &blocks[g_test_rand_int_range(0, BLOCKS)];
    int page = g_test_rand_int_range(0, PAGES);
    int count = 1, most = g_test_rand_int_range(1, PAGES + 1);
    int place = block->place[page];

    while (count < most && page + count < PAGES &&
           block->place[page + count] ==
           (place == NOWHERE ? NOWHERE : place + count)) {
        count++;
    }
    return part_of(block, page, count);
}

static void move_part(Part part)
{
    int place = g_test_rand_int_range(0, ALL - part.count + 1);
    Part rest = part;

    if (part.place != NOWHERE) {
        unmap_part(&part);
    }
    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        return;
    case 1:
        /* what QEMU does with all that is beside a change */
        if (part.place == NOWHERE || part.count < 2) {
            return;
        }
        rest.count = g_test_rand_int_range(1, part.count);
        map_part(&rest);
        part.page += rest.count;
        part.place += rest.count;
        part.count -= rest.count;
        map_part(&part);
        return;
    default:
        part.place = place;
        if (is_free(place, part.count)) {
            map_part(&part);
        }
    }
}

static void convert_part(const Part *part, bool private)
{
    uint64_t done;

    ram_block_attributes_lock();
    kvm_set_memory_state(&part->block->rb, part->page * page_size(),
                         part->count * page_size(), private, &done);
    g_assert_cmpuint(done, ==, part->count * page_size());
    if (private) {
        bitmap_clear(part->block->attr.bitmap, part->page, part->count);
    } else {
        bitmap_set(part->block->attr.bitmap, part->page, part->count);
    }
    ram_block_attributes_unlock();
}

static void test_random(void)
{
    set_up(false);
    for (int i = 0; i < ROUNDS; i++) {
        Part part = random_part();

        convert_part(&part, g_test_rand_bit());
        if (g_test_rand_bit()) {
            /* seen by nobody until the change is complete */
            move_part(random_part());
            kvm_memory_map_changed();
        }
        check_equal();
    }
    tear_down();
}

/* A conversion may come between a slot's end and that of the change. */
static void test_between(void)
{
    Part part = { &blocks[0], 0, PAGES, 7 };
    const Part few = { &blocks[0], 100, 50, 107 };

    set_up(false);
    map_part(&part);
    kvm_memory_map_changed();
    check_equal();
    unmap_part(&part);
    convert_part(&few, false);
    map_part(&part);
    kvm_memory_map_changed();
    check_equal();

    unmap_part(&part);
    convert_part(&few, true);
    part.place = 2000;
    map_part(&part);
    kvm_memory_map_changed();
    check_equal();
    tear_down();
}

/* What is mapped again where it was costs nothing. */
static void test_unchanged(void)
{
    const Part low = { &blocks[0], 0, 100, 0 };
    const Part hole = { &blocks[0], 100, 10, 100 };
    const Part high = { &blocks[0], 110, PAGES - 110, 110 };
    const Part all = { &blocks[0], 0, PAGES, 0 };

    set_up(false);
    map_part(&all);
    kvm_memory_map_changed();

    told = 0;
    unmap_part(&all);
    map_part(&low);
    map_part(&high);
    kvm_memory_map_changed();
    g_assert_cmpint(told, ==, 10);
    check_equal();

    told = 0;
    unmap_part(&low);
    unmap_part(&high);
    map_part(&low);
    map_part(&hole);
    map_part(&high);
    kvm_memory_map_changed();
    g_assert_cmpint(told, ==, 20);
    check_equal();
    tear_down();
}

static void test_refused(void)
{
    const Part all = { &blocks[0], 0, PAGES, 0 };

    set_up(false);
    refuses = true;
    map_part(&all);
    kvm_memory_map_changed();
    refuses = false;
    check_equal();
    g_assert_cmpuint(blocks[0].attr.failures, >, 0);
    g_assert_true(bitmap_full(blocks[0].attr.bitmap, PAGES));
    tear_down();
}

/* In place, the states move with the file. */
static void test_in_place(void)
{
    const Part all = { &blocks[0], 0, PAGES, 0 };

    set_up(true);
    told = 0;
    map_part(&all);
    kvm_memory_map_changed();
    g_assert_cmpint(told, ==, 0);
    tear_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-memfd-states/random", test_random);
    g_test_add_func("/guest-memfd-states/between", test_between);
    g_test_add_func("/guest-memfd-states/unchanged", test_unchanged);
    g_test_add_func("/guest-memfd-states/refused", test_refused);
    g_test_add_func("/guest-memfd-states/in-place", test_in_place);
    return g_test_run();
}
