/*
 * A guest that gives memory to a balloon which is not its own: of a file that
 * QEMU has mapped privately
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "balloon.h"

#define NVDIMM      (4096 * MIB)        /* the host knows, too */

int guest_main(void)
{
    start_balloon();
    give(NVDIMM, 8);
    ask_host("given");
    return 0;
}
