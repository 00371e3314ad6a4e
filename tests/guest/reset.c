/*
 * A guest that resets the machine, and finds its memory as at first
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA        (16 * MIB)
#define AREA_END    (24 * MIB)

enum { RESETS = 50, SEED = 0x55 };

static void check_zero(void)
{
    for (uint64_t gpa = AREA; gpa < AREA_END; gpa += PAGE) {
        if (*word(gpa)) {
            fail("page %x has %x after a reset", gpa, *word(gpa));
        }
    }
}

int guest_main(void)
{
    uint64_t resets = count_boots() - 1;

    check_zero();
    /* Private again, although the last one left half of it shared. */
    write_pages(AREA, AREA_END, SEED);
    ask_host("hidden %x %x %x", AREA, AREA_END, (uint64_t)SEED);
    if (convert(AREA, (AREA_END - AREA) / 2, false)) {
        fail("conversion after %x resets", resets);
    }
    write_pages(AREA, AREA_END, SEED);
    if (resets == RESETS) {
        return 0;
    }
    reset(resets % 3);
}
