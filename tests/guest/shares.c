/*
 * A guest that shares much of its memory at once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define GIB         (1024 * MIB)

/* Machine q35 has all but 2 GiB there. */
#define AREA        (4 * GIB)
#define AREA_SIZE   (4 * GIB)

int guest_main(void)
{
    must_convert(AREA, AREA_SIZE, false);
    ask_host("shared %x", AREA_SIZE / PAGE);
    must_convert(AREA + GIB, GIB, true);
    ask_host("shared %x", (AREA_SIZE - GIB) / PAGE);
    return 0;
}
