/*
 * A guest that shares its memory in more parts than a device may have mapped
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define AREA        (16 * MIB)
#define AREA_END    (48 * MIB)
#define MARK        AREA
#define RESULT      (AREA + PAGE)

#include "probe.h"

/* more than half of what the device may have mapped */
#define NEIGHBOURS  200

enum { NO_SPACE = 28 };

/* Of a VGA, which has memory in a BAR, and of a q35's host bridge */
enum { VGA = 0x11111234, COMMAND = 4, HOST_BRIDGE = 0, PAM = 0x90, PAMS = 7 };

/* Returns the first page that cannot be shared any more. */
static uint64_t share_alternate_pages(void)
{
    for (uint64_t gpa = AREA; gpa < AREA_END; gpa += 2 * PAGE) {
        int64_t ret = convert(gpa, PAGE, false);

        if (ret == -NO_SPACE) {
            return gpa;
        }
        if (ret) {
            fail("a conversion of %x returns %x", gpa, ret);
        }
    }
    fail("there is no limit");
}

/* The chipset shows memory in parts, each of which a device gets. */
static void change_chipset(void)
{
    for (unsigned int value = 0; value <= 0x33; value += 0x11) {
        for (unsigned int i = 0; i < PAMS; i++) {
            pci_write8(HOST_BRIDGE, PAM + i, value);
        }
    }
}

/* They are joined before a device may access memory. */
static void share_neighbours(void)
{
    uint64_t end = AREA + NEIGHBOURS * PAGE, base;

    for (uint64_t gpa = AREA; gpa < end; gpa += PAGE) {
        must_convert(gpa, PAGE, false);
    }
    ask_host("apart");
    base = pci_enable(pci_find(EDU), 0);
    ask_host("joined");

    probe_begin();
    for (uint64_t gpa = AREA + 2 * PAGE; gpa < end; gpa += 40 * PAGE) {
        probe(base, gpa, true);
    }
    must_convert(end - PAGE, PAGE, true);
    probe(base, end - 2 * PAGE, true);
    probe(base, end - PAGE, false);
}

int guest_main(void)
{
    unsigned int vga = pci_find(VGA);
    uint64_t next;

    pci_write8(vga, COMMAND, 0);
    next = share_alternate_pages();
    if (next == AREA) {
        fail("nothing can be shared");
    }
    pci_enable(vga, 0);
    change_chipset();

    /* what is given back makes room for as much */
    must_return(-NO_SPACE, next, PAGE, false);
    must_convert(AREA, PAGE, true);
    must_convert(next, PAGE, false);
    must_return(-NO_SPACE, next + 2 * PAGE, PAGE, false);
    must_convert(AREA, AREA_END - AREA, true);
    share_neighbours();
    /* all at once takes few */
    must_convert(AREA, AREA_END - AREA, true);
    must_convert(AREA, AREA_END - AREA, false);
    return 0;
}
