/*
 * A guest that shares more pieces of memory than a device can be given
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA        (16 * MIB)
#define AREA_END    (32 * MIB)
#define LARGE       (40 * MIB)
#define LARGE_END   (48 * MIB)

enum { SEED = 0x99, TIMES = 100 };

/* Every other page, so that no two are one piece. */
static uint64_t share_until_refused(void)
{
    uint64_t gpa = AREA;

    while (gpa < AREA_END && !convert(gpa, PAGE, false)) {
        gpa += 2 * PAGE;
    }
    if (gpa == AREA || gpa >= AREA_END) {
        fail("refused at %x", gpa);
    }
    return gpa;
}

int guest_main(void)
{
    uint64_t refused;

    write_pages(AREA, LARGE_END, SEED);
    ask_host("limit");
    refused = share_until_refused();
    for (int i = 0; i < TIMES; i++) {
        must_return(-ENOMEM, refused, PAGE, false);
    }
    ask_host("hidden %x %x %x", refused, refused + PAGE, (uint64_t)SEED);
    ask_host("seen %x %x %x", refused - 2 * PAGE, refused - PAGE,
             (uint64_t)SEED);
    compare_states(AREA, LARGE_END);
    ask_host("map");

    /* A part of this would fit. */
    must_convert(AREA, 16 * PAGE, true);
    must_return(-ENOMEM, LARGE, LARGE_END - LARGE, false);
    ask_host("hidden %x %x %x", LARGE, LARGE_END, (uint64_t)SEED);
    compare_states(LARGE, LARGE_END);
    ask_host("map");

    /* What was refused has kept nothing. */
    must_convert(refused, PAGE, false);
    ask_host("seen %x %x %x", refused, refused + PAGE, (uint64_t)SEED);
    must_convert(AREA, AREA_END - AREA, true);
    check_pages(AREA, LARGE_END, SEED);
    return 0;
}
