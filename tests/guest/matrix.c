/*
 * A guest whose processors convert memory at the same time: each its own ranges
 * of many sizes, then pages that lie between those of the others
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA        (16 * MIB)
#define OWN         (6 * MIB)           /* each processor has so much */
#define COMMON      (8 * MIB)

enum { PRIVATE = 0x11, SHARED = 0x22, COMMON_PAGES = 64, ROUNDS = 3 };

static const struct { uint64_t start, size; } ranges[] = {
    { 0, PAGE },
    { PAGE, 64 * KIB },
    { 2 * MIB - PAGE, 2 * PAGE },
    { 2 * MIB, 2 * MIB },
    { PAGE, 4 * MIB },
    { 0, OWN },
};

static unsigned int cpus;

static void convert_ranges(unsigned int cpu)
{
    uint64_t own = AREA + cpu * OWN, own_end = own + OWN;

    for (unsigned int i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        uint64_t gpa = own + ranges[i].start, end = gpa + ranges[i].size;

        write_pages(own, own_end, PRIVATE);
        must_convert(gpa, end - gpa, false);
        write_pages(gpa, end, SHARED);
        check_pages(own, gpa, PRIVATE);
        check_pages(gpa, end, SHARED);
        check_pages(end, own_end, PRIVATE);
        must_convert(gpa, end - gpa, true);
        check_pages(own, gpa, PRIVATE);
        check_pages(end, own_end, PRIVATE);
    }
    /* What stays shared is for the host to look at. */
    must_convert(own + MIB, MIB, false);
    write_pages(own + MIB, own + 2 * MIB, SHARED);
}

static void convert_between(unsigned int cpu)
{
    for (unsigned int i = 0; i < ROUNDS * COMMON_PAGES; i += cpus) {
        uint64_t gpa = COMMON + (i % COMMON_PAGES + cpu) * PAGE;

        must_convert(gpa, PAGE, i / COMMON_PAGES & 1);
        write_pages(gpa, gpa + PAGE, cpu);
        check_pages(gpa, gpa + PAGE, cpu);
    }
}

int guest_main(void)
{
    cpus = nr_cpus();
    run_on_all(cpus, convert_ranges);
    run_on_all(cpus, convert_between);
    for (unsigned int cpu = 0; cpu < cpus; cpu++) {
        uint64_t own = AREA + cpu * OWN;

        ask_host("hidden %x %x %x", own, own + MIB, (uint64_t)PRIVATE);
        ask_host("seen %x %x %x", own + MIB, own + 2 * MIB, (uint64_t)SHARED);
        ask_host("hidden %x %x %x", own + 2 * MIB, own + OWN,
                 (uint64_t)PRIVATE);
    }
    compare_states(COMMON, AREA + cpus * OWN);
    return 0;
}
