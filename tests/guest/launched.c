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
    int64_t ret;

    ask_host("loaded %x %x", *word(TABLE), *word(COPY));
    /* KVM takes no negative errno for what these guests ask by other calls. */
    ret = convert(HOLE, PAGE, true);
    if (ret != EINVAL) {
        fail("a hole, to private: %x", ret);
    }
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
