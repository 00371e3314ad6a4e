/*
 * A guest that converts memory both ways, over many sizes and alignments
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA            (16 * MIB)
#define AREA_END        (26 * MIB)

/* of the combinations of starts and sizes; each of both is among every third */
#ifndef EVERY
#define EVERY           1
#endif

enum { PRIVATE = 0x11, SHARED = 0x22, AGAIN = 0x33 };

static const uint64_t starts[] = {
    0, PAGE, 64 * KIB, 2 * MIB - PAGE, 2 * MIB,
};
static const uint64_t sizes[] = {
    PAGE, 2 * PAGE, 64 * KIB, 2 * MIB - PAGE, 2 * MIB, 2 * MIB + PAGE, 6 * MIB,
};

static void try_range(uint64_t gpa, uint64_t size)
{
    uint64_t end = gpa + size;

    write_pages(AREA, AREA_END, PRIVATE);
    must_convert(gpa, size, false);
    write_pages(gpa, end, SHARED);
    check_pages(gpa, end, SHARED);
    check_pages(AREA, gpa, PRIVATE);
    check_pages(end, AREA_END, PRIVATE);
    ask_host("seen %x %x %x", gpa, end, (uint64_t)SHARED);
    compare_states(AREA, AREA_END);
    ask_host("hidden %x %x %x", AREA, gpa, (uint64_t)PRIVATE);
    ask_host("hidden %x %x %x", end, AREA_END, (uint64_t)PRIVATE);

    must_convert(gpa, size, true);
    write_pages(gpa, end, AGAIN);
    check_pages(gpa, end, AGAIN);
    check_pages(AREA, gpa, PRIVATE);
    check_pages(end, AREA_END, PRIVATE);
    ask_host("hidden %x %x %x", gpa, end, (uint64_t)AGAIN);
}

int guest_main(void)
{
    const int nr_starts = sizeof(starts) / sizeof(starts[0]);
    const int nr_sizes = sizeof(sizes) / sizeof(sizes[0]);

    for (int i = 0; i < nr_starts * nr_sizes; i += EVERY) {
        try_range(AREA + starts[i / nr_sizes], sizes[i % nr_sizes]);
    }
    compare_states(AREA, AREA_END);
    return 0;
}
