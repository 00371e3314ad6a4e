/*
 * A guest that gives a device shared memory by its own IOMMU, and resets the
 * machine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "vtd.h"

int guest_main(void)
{
    if (count_boots() == 1) {
        map_area();
        ask_host("mapped");
        reset(0);
    }
    for (uint64_t gpa = AREA; gpa < TABLES_END; gpa += PAGE) {
        if (*word(gpa)) {
            fail("page %x has %x after a reset", gpa, *word(gpa));
        }
    }
    return 0;
}
