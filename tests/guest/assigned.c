/*
 * A guest with assigned devices, which must reach what is shared, and nothing
 * else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "assigned.h"

#ifndef CONVERSIONS
#define CONVERSIONS 10000
#endif

enum { PROBES = 20 };

int guest_main(void)
{
    find_devices();
    must_convert(MARK, 2 * PAGE, false);
    probe_begin();

    /* A page just after it was made shared, and private */
    for (int i = 0; i < 2; i++) {
        set_shared(0, 1, true);
        try_page(0);
        set_shared(0, 1, false);
        try_page(0);
    }
    /* The rest of what was shared at once, when a part becomes private */
    set_shared(0, 4 * MIB / PAGE, true);
    set_shared(MIB / PAGE, 1, false);
    try_page(MIB / PAGE - 1);
    try_page(MIB / PAGE);
    try_page(MIB / PAGE + 1);

    convert_randomly(CONVERSIONS, PROBES);
    return 0;
}
