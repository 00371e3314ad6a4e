/*
 * A guest whose processors convert neighbouring pages at the same time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA    (16 * MIB)

/* What is written at last differs from all that shared huge pages keep. */
enum { ROUNDS = 100, PAGES = 64, SEED = 0xaa };

static unsigned int cpus;

/* Each has every so-manieth page, so that all share words of the bitmap. */
static void convert_own(unsigned int cpu)
{
    for (unsigned int i = 0; i < ROUNDS; i++) {
        for (unsigned int page = cpu; page < PAGES; page += cpus) {
            uint64_t gpa = AREA + page * PAGE;

            must_convert(gpa, PAGE, i & 1);
            write_pages(gpa, gpa + PAGE, cpu);
            check_pages(gpa, gpa + PAGE, cpu);
        }
    }
}

/* So that half of them end as shared. */
static void share_even(unsigned int cpu)
{
    for (unsigned int page = cpu; page < PAGES; page += cpus) {
        uint64_t gpa = AREA + page * PAGE;

        must_convert(gpa, PAGE, page & 1);
        write_pages(gpa, gpa + PAGE, SEED);
    }
}

int guest_main(void)
{
    cpus = nr_cpus();
    run_on_all(cpus, convert_own);
    run_on_all(cpus, share_even);
    for (unsigned int page = 0; page < PAGES; page++) {
        uint64_t gpa = AREA + page * PAGE;

        ask_host("%s %x %x %x", page & 1 ? "hidden" : "seen", gpa, gpa + PAGE,
                 (uint64_t)SEED);
    }
    compare_states(AREA - MIB, AREA + MIB);
    return 0;
}
