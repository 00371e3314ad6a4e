/*
 * A guest that converts nearly all of its memory at once
 *
 * The host looks how long others wait for that.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define GIB         (1024 * MIB)

#ifndef SIZE_MIB
#define SIZE_MIB    (64ull << 10)
#endif
/* Whether something on the host can hold memory. */
#ifndef HOLD
#define HOLD        0
#endif

/* Machine q35 has all but 2 GiB behind 4 GiB. */
#define IS_LARGE    (SIZE_MIB * MIB > 2 * GIB)
#define AREA        (IS_LARGE ? 4 * GIB : 32 * MIB)
#define AREA_END    (SIZE_MIB * MIB + (IS_LARGE ? 2 * GIB : 0))
/* One hypercall for each second page takes long. */
#define PARTED_END  (AREA + 32 * MIB)

static void measure(const char *what, bool private, int64_t wanted)
{
    ask_host("begin");
    must_return(wanted, AREA, AREA_END - AREA, private);
    ask_host("end %s, to %s", what, private ? "private" : "shared");
}

static void part_pages(void)
{
    for (uint64_t gpa = AREA; gpa < PARTED_END; gpa += 2 * PAGE) {
        must_convert(gpa, PAGE, false);
    }
}

static void convert_what_is_held(void)
{
    ask_host("pin %x", AREA_END - PAGE);
    measure("one busy page", true, -EAGAIN);
    ask_host("unpin");
}

int guest_main(void)
{
    if (!ask_host("more")) {
        return 0;
    }
    measure("whole", false, 0);
    measure("whole", true, 0);
    part_pages();
    measure("alternate pages", true, 0);
    part_pages();
    measure("alternate pages", false, 0);
    if (HOLD) {
        convert_what_is_held();
    }
    ask_host("reset");
    return -1;
}
