/*
 * A guest that shares memory which is plugged, lets go of it, and gets it again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define DIMM        (4096 * MIB)
#define DIMM_SIZE   (16 * MIB)

static void share(void)
{
    must_convert(DIMM, DIMM_SIZE / 2, false);
}

int guest_main(void)
{
    ask_host("plug");
    share();
    ask_host("fill %x %x", DIMM, DIMM + DIMM_SIZE / 2);
    ask_host("unplug");
    eject_memory();
    ask_host("plug");
    share();
    ask_host("empty %x %x", DIMM, DIMM + DIMM_SIZE / 2);
    return 0;
}
