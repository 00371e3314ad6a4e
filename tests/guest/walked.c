/*
 * A guest whose private memory QEMU accesses, as if it were page tables; with
 * REFUSED, calls of QEMU fail when the guest shares it, as often as it likes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA        (16 * MIB)
#define PAGE_TABLES 0x120000            /* start.S knows, too */
#define ADDRESS     (1ull << 39)        /* in the second entry of these */

enum { SEED = 0x88, AGAIN = 0x99 };

#ifndef REFUSED
#define REFUSED false
#endif

static void share_what_may_fail(void)
{
    do {
        int64_t ret = convert(AREA, PAGE, false);

        ask_host("answer %x", ret);
        compare_states(AREA, AREA + PAGE);
        if (!ret) {
            must_convert(AREA, PAGE, true);
        }
        check_pages(AREA, AREA + PAGE, SEED);
    } while (ask_host("walk %x", ADDRESS));
}

int guest_main(void)
{
    write_pages(AREA, AREA + PAGE, SEED);
    *word(PAGE_TABLES + 8) = AREA | 3;
    ask_host("walk %x", ADDRESS);
    check_pages(AREA, AREA + PAGE, SEED);

    if (REFUSED) {
        share_what_may_fail();
    }
    must_convert(AREA, PAGE, false);
    check_pages(AREA, AREA + PAGE, SEED);
    write_pages(AREA, AREA + PAGE, AGAIN);
    ask_host("seen %x %x %x", AREA, AREA + PAGE, (uint64_t)AGAIN);
    must_convert(AREA, PAGE, true);
    ask_host("hidden %x %x %x", AREA, AREA + PAGE, (uint64_t)AGAIN);
    return 0;
}
