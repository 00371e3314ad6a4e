/*
 * A guest that SEV-SNP or TDX launched, or so it seems: it tells what it finds
 * in its private memory, and converts some
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA    (16 * MIB)
#define END     (18 * MIB)
#define HOLE    (3072 * MIB)

/* where the test's firmware wants something loaded */
#define TABLE   (2 * MIB + 64 * KIB)
#define COPY    (TABLE + PAGE)

enum { SEED = 0x55 };

int guest_main(void)
{
    ask_host("loaded %x %x", *word(TABLE), *word(COPY));
    /* KVM takes no negative errno for what these guests ask by other calls. */
    must_return(EINVAL, HOLE, PAGE, true);
    write_pages(AREA, END, SEED);
    ask_host("hidden %x %x %x", AREA, END, (uint64_t)SEED);
    must_convert(AREA, END - AREA, false);
    write_pages(AREA, END, SEED);
    ask_host("seen %x %x %x", AREA, END, (uint64_t)SEED);
    must_convert(AREA, END - AREA, true);
    check_pages(AREA, END, SEED);
    return 0;
}
