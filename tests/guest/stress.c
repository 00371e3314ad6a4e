/*
 * A guest whose processors convert random ranges, while memory comes and goes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#ifndef CONVERSIONS
#define CONVERSIONS 10000
#endif

#define AREA    (16 * MIB)
#define OWN     (4 * MIB)               /* each processor has so much */

enum { LONGEST = 64, POLL = 16 };

static unsigned int cpus;
static bool keeps_contents;

static void convert_randomly(unsigned int cpu)
{
    uint64_t own = AREA + cpu * OWN, state = cpu + 1;

    write_pages(own, own + OWN, cpu);
    for (unsigned int i = 0; i < CONVERSIONS / cpus; i++) {
        uint64_t first = next_random(&state) % (OWN / PAGE - LONGEST);
        uint64_t pages = next_random(&state) % LONGEST + 1;
        uint64_t gpa = own + first * PAGE, end = gpa + pages * PAGE;
        int64_t ret = convert(gpa, end - gpa, next_random(&state) & 1);

        if (ret) {
            fail("conversion %x of %x, size %x: %x", (uint64_t)i, gpa,
                 end - gpa, ret);
        }
        if (!keeps_contents) {
            write_pages(gpa, end, cpu);
        }
        check_pages(gpa, end, cpu);
        if (!cpu && i % POLL == 0) {
            eject_memory();
        }
    }
    check_pages(own, own + OWN, cpu);
}

int guest_main(void)
{
    cpus = nr_cpus();
    keeps_contents = find_whether_kept(AREA);
    run_on_all(cpus, convert_randomly);
    /* What the host has begun to unplug is let go. */
    ask_host("stop");
    eject_memory();
    ask_host("stopped");
    compare_states(AREA, AREA + cpus * OWN);
    return 0;
}
