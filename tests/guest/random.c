/*
 * A guest whose processors convert at random what is their own, and what they
 * share, while a device accesses that, other memory comes and goes, and the
 * machine is reset
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "edu.h"

#define AREA        (16 * MIB)
#define OWN         MIB                 /* each processor has so much */
#define AREA_END    (40 * MIB)

/* Everything that is seldom done is done once in so many times. */
enum { ROUND = 256, LONGEST = 64, SELDOM = 32, POLL = 16, SEED_BITS = 16 };

static unsigned int cpus;
static bool keeps_contents;
static uint64_t seed, device;

/* What is common to all begins behind what they own. */
static uint64_t common(void)
{
    return AREA + cpus * OWN;
}

static uint64_t random_page(uint64_t *state, uint64_t gpa, uint64_t end)
{
    return gpa + next_random(state) % ((end - gpa) / PAGE) * PAGE;
}

static bool seldom(uint64_t *state)
{
    return next_random(state) % SELDOM == 0;
}

/* Nobody else converts it, so it is what was asked for, with its contents. */
static void convert_own(unsigned int cpu, uint64_t *state)
{
    uint64_t own = AREA + cpu * OWN;
    uint64_t gpa = random_page(state, own, own + OWN - LONGEST * PAGE);
    uint64_t end = gpa + (next_random(state) % LONGEST + 1) * PAGE;

    must_convert(gpa, end - gpa, next_random(state) & 1);
    if (!keeps_contents) {
        write_pages(gpa, end, cpu);
    }
    check_pages(gpa, end, cpu);
}

/* Requests of all sizes meet here; the device may have a page for a moment. */
static void convert_common(uint64_t *state)
{
    uint64_t gpa = random_page(state, common(), AREA_END);
    uint64_t most = seldom(state) ? AREA_END - gpa : LONGEST * PAGE;
    uint64_t end = random_page(state, gpa, gpa + most) + PAGE;
    int64_t ret = convert(gpa, end - gpa, next_random(state) & 1);

    if (ret && ret != -EAGAIN) {
        fail("conversion of %x to %x: %x", gpa, end, ret);
    }
}

/* Lets the device read or write what may be private; that happens later. */
static void access_common(uint64_t *state)
{
    if (!edu_is_busy(device)) {
        edu_begin(device, random_page(state, common(), AREA_END), PAGE,
                  next_random(state) & 1);
    }
}

/* One processor does what there is one of. */
static void look_after_machine(unsigned int i, uint64_t *state)
{
    if (i % POLL == 0) {
        eject_memory();
    }
    if (seldom(state)) {
        access_common(state);
    }
    if (seldom(state)) {
        ask_host("reset");
    }
}

static void convert_randomly(unsigned int cpu)
{
    uint64_t own = AREA + cpu * OWN, state = seed << 8 | (cpu + 1);

    write_pages(own, own + OWN, cpu);
    for (unsigned int i = 0; i < ROUND; i++) {
        convert_own(cpu, &state);
        convert_common(&state);
        if (cpu == 0) {
            look_after_machine(i, &state);
        }
    }
    check_pages(own, own + OWN, cpu);
}

static uint64_t ask_for_seed(void)
{
    uint64_t bits = 0;

    for (int i = 0; i < SEED_BITS; i++) {
        bits = bits << 1 | ask_host("bit");
    }
    return bits;
}

int guest_main(void)
{
    cpus = nr_cpus();
    device = pci_enable(pci_find(EDU), 0);
    keeps_contents = find_whether_kept(AREA);
    while (ask_host("more")) {
        seed = ask_for_seed();
        run_on_all(cpus, convert_randomly);
        /* It would write over the host's marks. */
        while (edu_is_busy(device)) {
            asm volatile("pause");
        }
        compare_states(AREA, AREA_END);
    }
    /* What the host has begun to unplug is let go. */
    ask_host("stop");
    eject_memory();
    ask_host("stopped");
    return 0;
}
