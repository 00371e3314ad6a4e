/*
 * A guest whose conversions and memory devices the host lets fail, as often as
 * it likes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

/* In two backends, which meet at 20 MiB, and in each in two huge pages. */
#define AREA        (17 * MIB)
#define AREA_END    (23 * MIB)
/* What is already as all of it is to become, in the middle of a huge page */
#define BEFORE      (18 * MIB + 64 * PAGE)
#define BEFORE_END  (BEFORE + 3 * PAGE)
#define DIMM        (4096 * MIB)
#define DIMM_SIZE   (8 * MIB)

/* Returns whether the host wants more of these. */
static bool try_conversion(bool private, uint64_t seed)
{
    int64_t ret;
    bool more;

    must_convert(AREA, AREA_END - AREA, !private);
    must_convert(BEFORE, BEFORE_END - BEFORE, private);
    write_pages(AREA, AREA_END, seed);
    more = ask_host(private ? "before private" : "before shared");
    ret = convert(AREA, AREA_END - AREA, private);
    if (ask_host("after %x", ret)) {
        check_pages(AREA, AREA_END, seed);
    }
    compare_states(AREA, AREA_END);
    if (ret) {
        must_convert(AREA, AREA_END - AREA, private);
        compare_states(AREA, AREA_END);
    }
    return more;
}

static void try_memory(void)
{
    while (ask_host("plug")) {
        must_convert(DIMM, DIMM_SIZE / 2, false);
        write_pages(DIMM, DIMM + DIMM_SIZE, 1);
        ask_host("unplug");
        eject_memory();
    }
}

int guest_main(void)
{
    uint64_t seed = 1;
    bool more = true;

    while (more) {
        more = try_conversion(false, seed += 2);
        more |= try_conversion(true, seed += 2);
    }
    try_memory();
    return 0;
}
