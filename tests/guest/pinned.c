/*
 * A guest that wants memory private that is in use on the host
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

/* Or another one, if a device cannot have the rest of what it had mapped. */
#ifndef ERROR
#define ERROR       (-EAGAIN)
#endif

/* Or where KVM converts it in two steps */
#ifndef AREA
#define AREA        (16 * MIB)
#endif
#define AREA_END    (AREA + 8 * MIB)

enum { SEED = 0x66 };

static const uint64_t pinned[] = {
    AREA, AREA + 5 * MIB + 3 * PAGE, AREA_END - PAGE,
};

static void look(uint64_t gpa, uint64_t end, const char *what)
{
    check_pages(gpa, end, SEED);
    ask_host("%s %x %x %x", what, gpa, end, (uint64_t)SEED);
}

/* All fails or all works, whatever part of the range is in use. */
static void try_pinned(uint64_t page)
{
    must_convert(AREA, AREA_END - AREA, false);
    write_pages(AREA, AREA_END, SEED);
    ask_host("pin %x", page);
    must_return(ERROR, page, PAGE, true);
    must_return(-EAGAIN, AREA, AREA_END - AREA, true);
    look(AREA, AREA_END, "seen");
    compare_states(AREA, AREA_END);
    ask_host("map");

    ask_host("unpin");
    must_convert(AREA, AREA_END - AREA, true);
    look(AREA, AREA_END, "hidden");
    compare_states(AREA, AREA_END);
    ask_host("map");
}

/* Pages beside it are not in use. */
static void try_beside(uint64_t page)
{
    must_convert(AREA, AREA_END - AREA, false);
    write_pages(AREA, AREA_END, SEED);
    ask_host("pin %x", page);
    must_convert(page - PAGE, PAGE, true);
    must_convert(page + PAGE, PAGE, true);
    look(page - PAGE, page, "hidden");
    look(page, page + PAGE, "seen");
    look(page + PAGE, page + 2 * PAGE, "hidden");
    compare_states(AREA, AREA_END);
    ask_host("map");
    ask_host("unpin");
}

int guest_main(void)
{
    for (int i = 0; i < sizeof(pinned) / sizeof(pinned[0]); i++) {
        try_pinned(pinned[i]);
    }
    if (ERROR == -EAGAIN) {
        try_beside(pinned[1]);
    }
    return 0;
}
