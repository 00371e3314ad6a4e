/*
 * A guest whose accesses say what they take a page for
 *
 * With CONVERTS=0, such accesses are not to convert anything; with LOST=1, it
 * accesses what is no memory as private; with FULL=1, it shares what it can
 * with a device.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "port.h"
#include "runtime.h"

#define AREA        (16 * MIB)
#define END         (AREA + 16 * PAGE)
#define HOLE        (3072 * MIB)        /* nothing is there with little RAM */

#ifndef CONVERTS
#define CONVERTS    1
#endif
/* how often QEMU lets an access wait, or 0 not to try that */
#ifndef WAITS
#define WAITS       0
#endif
#ifndef LOST
#define LOST        0
#endif
#ifndef FULL
#define FULL        0
#endif

enum { SEED = 0x77, FAULT_PORT = 0xf8 };

/* What tests/kernel/fault-exits.c makes an exit of. */
static void access_as(uint64_t page, bool private)
{
    out32(FAULT_PORT, page | private);
}

static void look(uint64_t gpa, bool private)
{
    check_pages(gpa, gpa + PAGE, SEED);
    ask_host(private ? "hidden %x %x %x" : "seen %x %x %x", gpa, gpa + PAGE,
             (uint64_t)SEED);
}

/* One page after the other, neighbours differ meanwhile. */
static void access_all(bool private)
{
    for (uint64_t gpa = AREA; gpa < END; gpa += PAGE) {
        bool was_private = CONVERTS ? !private : true;

        look(gpa, was_private);
        access_as(gpa, private);
        look(gpa, CONVERTS ? private : true);
        /* It is so already: another processor was faster. */
        access_as(gpa, private);
    }
    compare_states(AREA, END);
    ask_host("map");
}

static void wait_for_memory(int times)
{
    while (times--) {
        access_as(AREA, true);
    }
}

/* What the host holds stays shared, and costs the guest time only. */
static void try_pinned(void)
{
    access_as(AREA, false);
    if (WAITS) {
        /* What it waits here is forgotten, as it gets the memory then. */
        ask_host("pin %x", AREA);
        wait_for_memory(WAITS / 3);
        ask_host("unpin");
        access_as(AREA, true);
        access_as(AREA, false);
    }
    ask_host("pin %x", AREA);
    access_as(AREA, true);
    look(AREA, false);
    compare_states(AREA, END);
    ask_host("map");
    if (WAITS) {
        wait_for_memory(WAITS - 2);
        /* The host waits until QEMU loses patience, and lets it go on. */
        ask_host("busy");
        wait_for_memory(1);
        look(AREA, false);
    }
    ask_host("unpin");
    access_as(AREA, true);
    look(AREA, true);
}

/* Ends when the host has seen QEMU lose patience. */
static void share_alternate_pages(void)
{
    for (uint64_t gpa = AREA; gpa < 48 * MIB; gpa += 2 * PAGE) {
        access_as(gpa, false);
    }
}

int guest_main(void)
{
    if (FULL) {
        share_alternate_pages();
        fail("there is no limit");
    }
    if (LOST) {
        access_as(HOLE, true);
        fail("it is still there");
    }
    write_pages(AREA, END, SEED);
    access_all(false);
    access_all(true);
    if (CONVERTS) {
        try_pinned();
    }
    return 0;
}
