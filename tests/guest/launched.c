/*
 * A guest that SEV-SNP or TDX launched, or so it seems: it tells what it finds
 * in its private memory, and converts some
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA    (16 * MIB)
#define END     (18 * MIB)

/* where the test's firmware wants something loaded */
#define TABLE   (2 * MIB + 64 * KIB)
#define COPY    (TABLE + PAGE)

enum { SEED = 0x55 };

int guest_main(void)
{
    ask_host("loaded %x %x", *word(TABLE), *word(COPY));
    write_pages(AREA, END, SEED);
    ask_host("hidden %x %x %x", AREA, END, (uint64_t)SEED);
    if (convert(AREA, END - AREA, false)) {
        fail("memory cannot become shared");
    }
    write_pages(AREA, END, SEED);
    ask_host("seen %x %x %x", AREA, END, (uint64_t)SEED);
    if (convert(AREA, END - AREA, true)) {
        fail("memory cannot become private again");
    }
    check_pages(AREA, END, SEED);
    return 0;
}
