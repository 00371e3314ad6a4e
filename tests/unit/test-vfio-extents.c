/*
 * Unit tests: extents of memory that devices have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "hw/vfio/guest-memfd-extents.h"
#include "fuzz-vfio-extents.h"

/* Each change takes some five bytes, so a million of them. */
enum { INPUT_SIZE = 5000000 };

#define EXTENT (32 * MiB)

/* Counts what it is asked for, and refuses what is more than type1's limit. */
typedef struct Counter {
    size_t maps;
    size_t unmaps;
    size_t mapped;
    size_t limit;
    size_t parted;
    uint64_t bytes;
} Counter;

static int counter_map(void *opaque, uint64_t start, uint64_t size)
{
    Counter *counter = opaque;

    if (counter->mapped == counter->limit) {
        return -ENOSPC;
    }
    counter->maps++;
    counter->mapped++;
    counter->bytes += size;
    return 0;
}

static int counter_unmap(void *opaque, uint64_t start, uint64_t size)
{
    Counter *counter = opaque;

    counter->unmaps++;
    counter->mapped--;
    counter->bytes -= size;
    return 0;
}

static void counter_lose(void *opaque, uint64_t start, uint64_t size)
{
    g_assert_not_reached();
}

static void counter_parted(void *opaque, uint64_t start, uint64_t size)
{
    Counter *counter = opaque;

    counter->parted++;
}

static const VFIOExtentsOps counter_ops = {
    .map = counter_map,
    .unmap = counter_unmap,
    .lose = counter_lose,
    .parted = counter_parted,
};

static void test_random(gconstpointer first)
{
    g_autofree uint8_t *input = g_malloc(INPUT_SIZE);

    for (int i = 0; i < INPUT_SIZE; i++) {
        input[i] = g_test_rand_int();
    }
    /* whether mappings can be cut, and whether calls are refused */
    input[0] = GPOINTER_TO_UINT(first) & 1;
    input[1] = GPOINTER_TO_UINT(first) >> 1;
    LLVMFuzzerTestOneInput(input, INPUT_SIZE);
}

/* As many mappings as extents, and no call for what did not change */
static void test_large(gconstpointer opaque)
{
    const uint64_t size = GPOINTER_TO_UINT(opaque) * GiB;
    const size_t extents = size / EXTENT;
    Counter counter = { .limit = 65535 };
    VFIOExtentsLimit all_of_it = { SIZE_MAX, UINT64_MAX };
    VFIOExtents *all = vfio_extents_new(&counter_ops, &counter, EXTENT,
                                            false);

    g_assert_cmpint(vfio_extents_add(all, 0, size), ==, 0);
    g_assert_cmpuint(vfio_extents_count(all), ==, extents);
    g_assert_cmpuint(counter.maps, ==, extents);
    g_assert_cmpint(vfio_extents_add(all, GiB, GiB), ==, 0);
    g_assert_cmpuint(counter.maps, ==, extents);

    /* one page in the middle of every second, and back */
    for (uint64_t at = EXTENT / 2; at < size; at += 2 * EXTENT) {
        g_assert_cmpint(vfio_extents_remove(all, at, 4 * KiB), ==, 0);
    }
    g_assert_cmpuint(counter.parted, ==, extents / 2);
    g_assert_cmpuint(counter.unmaps, ==, extents / 2);
    g_assert_cmpuint(counter.maps, ==, 2 * extents);
    g_assert_cmpuint(counter.bytes, ==, size - extents / 2 * 4 * KiB);
    for (uint64_t at = EXTENT / 2; at < size; at += 2 * EXTENT) {
        bool is_full = counter.mapped == counter.limit;

        g_assert_cmpint(vfio_extents_add(all, at, 4 * KiB), ==,
                        is_full ? -ENOSPC : 0);
    }
    g_assert_cmpuint(counter.mapped, ==, MIN(2 * extents, counter.limit));

    vfio_extents_join(all, &all_of_it);
    g_assert_cmpint(vfio_extents_add(all, 0, size), ==, 0);
    vfio_extents_join(all, &all_of_it);
    g_assert_cmpuint(counter.mapped, ==, extents);
    g_assert_cmpuint(counter.bytes, ==, size);

    counter.unmaps = 0;
    g_assert_cmpint(vfio_extents_remove(all, 0, size), ==, 0);
    g_assert_cmpuint(counter.unmaps, ==, extents);
    g_assert_cmpuint(counter.parted, ==, extents / 2);
    vfio_extents_free(all);
}

/* Who shares every second page cannot have more than there are mappings. */
static void test_limit(void)
{
    Counter counter = { .limit = 1000 };
    VFIOExtents *extents = vfio_extents_new(&counter_ops, &counter, EXTENT,
                                            false);
    uint64_t at = 0;

    while (vfio_extents_add(extents, at, 4 * KiB) == 0) {
        at += 8 * KiB;
    }
    g_assert_cmpuint(counter.mapped, ==, counter.limit);
    g_assert_cmpint(vfio_extents_add(extents, 4 * KiB, 4 * KiB), ==, -ENOSPC);
    g_assert_cmpint(vfio_extents_remove(extents, 0, 4 * KiB), ==, 0);
    g_assert_cmpint(vfio_extents_add(extents, 4 * KiB, 4 * KiB), ==, 0);
    g_assert_cmpuint(counter.parted, ==, 0);
    vfio_extents_free(extents);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/vfio-extents/whole", GUINT_TO_POINTER(0),
                         test_random);
    g_test_add_data_func("/vfio-extents/cut", GUINT_TO_POINTER(1),
                         test_random);
    g_test_add_data_func("/vfio-extents/whole/refused", GUINT_TO_POINTER(2),
                         test_random);
    g_test_add_data_func("/vfio-extents/cut/refused", GUINT_TO_POINTER(3),
                         test_random);
    g_test_add_data_func("/vfio-extents/4-gib", GUINT_TO_POINTER(4),
                         test_large);
    g_test_add_data_func("/vfio-extents/64-gib", GUINT_TO_POINTER(64),
                         test_large);
    g_test_add_data_func("/vfio-extents/1-tib", GUINT_TO_POINTER(1024),
                         test_large);
    g_test_add_func("/vfio-extents/limit", test_limit);
    return g_test_run();
}
