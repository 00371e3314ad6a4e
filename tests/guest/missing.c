/*
 * A guest that lacks memory, which KVM refused, until the memory map changes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

/* tests/kernel/refuse-memslot.c knows, too */
#define SEGMENT     (800 * KIB)
#define SEGMENT_END (SEGMENT + 16 * KIB)
/* of the chipset: that segment, and one further on */
#define PAM2        0x92
#define PAM4        0x94
#define IS_RAM      0x3

enum { SEED = 0x44, SHARED = 0x55 };

int guest_main(void)
{
    pci_write8(0, PAM2, IS_RAM);
    /* What is private is out of reach for what emulates the access. */
    must_convert(SEGMENT, PAGE, true);
    *word(SEGMENT) = SEED;
    if (*word(SEGMENT) == SEED) {
        fail("memory that was refused is there");
    }
    /* Its states are those that it has when it comes. */
    must_convert(SEGMENT + PAGE, PAGE, false);
    pci_write8(0, PAM4, IS_RAM);
    write_pages(SEGMENT, SEGMENT + PAGE, SEED);
    check_pages(SEGMENT, SEGMENT + PAGE, SEED);
    ask_host("hidden %x %x %x", SEGMENT, SEGMENT + PAGE, (uint64_t)SEED);
    write_pages(SEGMENT + PAGE, SEGMENT + 2 * PAGE, SHARED);
    ask_host("seen %x %x %x", SEGMENT + PAGE, SEGMENT + 2 * PAGE,
             (uint64_t)SHARED);
    compare_states(SEGMENT, SEGMENT_END);
    return 0;
}
