/*
 * A guest that converts much memory at once, while the host stops and resets it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

/* The host knows all of these, too. */
#define AREA        (16 * MIB)
#define PARTED_END  (AREA + 40 * MIB)
#define AREA_END    (512 * MIB)

/* Whether something on the host can hold memory. */
#ifndef HOLD
#define HOLD 0
#endif

/* With two backings, each takes seconds. */
enum { ROUNDS = HOLD ? 8 : 2 };

static void convert_all(bool private)
{
    must_convert(AREA, AREA_END - AREA, private);
}

/* Each page is another part of memory than the one before. */
static void part_pages(void)
{
    for (uint64_t gpa = AREA; gpa < PARTED_END; gpa += 2 * PAGE) {
        must_convert(gpa, PAGE, false);
    }
    ask_host("parted");
    convert_all(true);
}

static void look_at_ends(void)
{
    compare_states(AREA - MIB, AREA + MIB);
    compare_states(AREA_END - MIB, AREA_END);
}

/* The host lets go of it when it has seen one that was given up. */
static void convert_what_is_held(void)
{
    convert_all(false);
    ask_host("pin %x", AREA_END - PAGE);
    ask_host("interrupt");
    for (int i = 0; i < ROUNDS; i++) {
        must_return(-EAGAIN, AREA, AREA_END - AREA, true);
    }
    look_at_ends();
    ask_host("unpin");
}

int guest_main(void)
{
    look_at_ends();
    if (count_boots() == 1) {
        part_pages();
    }
    /* The first time, this is where the machine is reset. */
    ask_host("interrupt");
    for (int i = 0; i < ROUNDS; i++) {
        convert_all(false);
        convert_all(true);
    }
    look_at_ends();
    if (HOLD) {
        convert_what_is_held();
    }
    convert_all(false);
    ask_host("sparse");
    write_pages(AREA_END - MIB, AREA_END, 0xaa);
    ask_host("seen %x %x %x", AREA_END - MIB, AREA_END, (uint64_t)0xaa);
    convert_all(true);
    return 0;
}
