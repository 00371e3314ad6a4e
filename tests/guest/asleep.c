/*
 * A guest that sleeps, and finds its memory as it was when it is woken
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA        (16 * MIB)
#define SHARED_AREA (20 * MIB)
#define AREA_END    (24 * MIB)
#define IMAGE       (28 * MIB)          /* QEMU loads a word to here */
#define DATA        (29 * MIB)          /* and to here, with no file for it */

enum { SEED = 0x33, SPOILT = 0x66, LOADED = 0x77 };

int guest_main(void)
{
    if (count_boots() == 1) {
        if (*word(DATA) != LOADED) {
            fail("what was loaded is %x", *word(DATA));
        }
        must_convert(SHARED_AREA, AREA_END - SHARED_AREA, false);
        must_convert(DATA, PAGE, false);
        write_pages(AREA, AREA_END, SEED);
        *word(IMAGE) = SPOILT;
        *word(DATA) = SPOILT;
        ask_host("sleep");
        suspend();
    }
    check_pages(AREA, AREA_END, SEED);
    if (*word(IMAGE) != SPOILT || *word(DATA) != SPOILT) {
        fail("an image was loaded again");
    }
    compare_states(AREA, AREA_END);
    return 0;
}
