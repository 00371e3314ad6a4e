/*
 * A guest that gives private and shared memory to a balloon, and uses it again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "balloon.h"

/* Two huge pages: the first is private, the second for one half. */
#define HUGE_PAGE   (2 * MIB)
#define AREA        (32 * MIB)
#define SHARED      (AREA + HUGE_PAGE)
#define SHARED_END  (SHARED + HUGE_PAGE / 2)
#define AREA_END    (AREA + 2 * HUGE_PAGE)

enum { SEED = 0x61, LATER = 0x62 };

/* What the host has taken is empty, what it has not is as it was. */
static void check_taken(void)
{
    unsigned int taken = 0;

    for (uint64_t gpa = AREA; gpa < AREA_END; gpa += PAGE) {
        if (*word(gpa) && *word(gpa) != pattern(gpa, SEED)) {
            fail("page %x has %x", gpa, *word(gpa));
        }
        taken += !*word(gpa);
    }
    if (!taken) {
        fail("the host has taken nothing");
    }
}

static void use(void)
{
    write_pages(AREA, AREA_END, LATER);
    check_pages(AREA, AREA_END, LATER);
    compare_states(AREA, AREA_END);
}

int guest_main(void)
{
    start_balloon();
    must_convert(SHARED, SHARED_END - SHARED, false);
    write_pages(AREA, AREA_END, SEED);
    give(AREA, HUGE_PAGE / PAGE);
    give(SHARED, HUGE_PAGE / PAGE);
    check_taken();
    use();
    /* with what the host had taken */
    must_convert(AREA, AREA_END - AREA, false);
    must_convert(AREA, AREA_END - AREA, true);
    use();
    return 0;
}
