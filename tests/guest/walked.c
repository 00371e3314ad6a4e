/*
 * A guest whose private memory QEMU accesses, as if it were page tables; with
 * REFUSED, QEMU cannot map it when the guest first shares it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA        (16 * MIB)
#define PAGE_TABLES 0x120000            /* start.S knows, too */
#define ADDRESS     (1ull << 39)        /* in the second entry of these */

enum { SEED = 0x88, AGAIN = 0x99 };

int guest_main(void)
{
    write_pages(AREA, AREA + PAGE, SEED);
    *word(PAGE_TABLES + 8) = AREA | 3;
    ask_host("walk %x", ADDRESS);
    check_pages(AREA, AREA + PAGE, SEED);

#ifdef REFUSED
    /* QEMU cannot map it. */
    must_return(-ENOMEM, AREA, PAGE, false);
    check_pages(AREA, AREA + PAGE, SEED);
    compare_states(AREA, AREA + PAGE);
#endif
    must_convert(AREA, PAGE, false);
    check_pages(AREA, AREA + PAGE, SEED);
    write_pages(AREA, AREA + PAGE, AGAIN);
    ask_host("seen %x %x %x", AREA, AREA + PAGE, (uint64_t)AGAIN);
    must_convert(AREA, PAGE, true);
    ask_host("hidden %x %x %x", AREA, AREA + PAGE, (uint64_t)AGAIN);
    return 0;
}
