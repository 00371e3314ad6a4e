/*
 * A guest of whose memory KVM refuses to convert a part, and to undo another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

/* in two backends */
#define AREA        (19 * MIB)
#define MIDDLE      (20 * MIB)
#define AREA_END    (21 * MIB)

enum { EIO = 5, SEED = 0xbb };

int guest_main(void)
{
    write_pages(AREA, AREA_END, SEED);
    ask_host("refuse");
    must_return(-EIO, AREA, AREA_END - AREA, false);
    ask_host("map");
    compare_states(AREA - MIB, AREA_END + MIB);
    check_pages(MIDDLE, AREA_END, SEED);
    /* KVM has this shared, and so has QEMU: it is made private as a whole. */
    must_convert(AREA, AREA_END - AREA, true);
    compare_states(AREA - MIB, AREA_END + MIB);
    write_pages(AREA, AREA_END, SEED);
    ask_host("hidden %x %x %x", AREA, AREA_END, (uint64_t)SEED);
    return 0;
}
