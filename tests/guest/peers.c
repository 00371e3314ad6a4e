/*
 * A guest with two assigned devices, of which one accesses the other
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "edu.h"

#define DATA        (16 * MIB)

/* A register in which what was written is found inverted */
enum { LIVENESS = 4, SIZE = 4, TIMES = 10 };

static void must_find(uint32_t found, uint32_t wanted)
{
    if (found != wanted) {
        fail("%x was found, not %x", found, wanted);
    }
}

/* One device writes to the other, and reads from it. */
static void try_peer(uint64_t base, uint64_t peer, uint32_t value)
{
    *reg32(DATA, 0) = value;
    edu(base, DATA, SIZE, false);
    edu(base, peer + LIVENESS, SIZE, true);
    must_find(*reg32(peer, LIVENESS), ~value);

    edu(base, peer + LIVENESS, SIZE, false);
    edu(base, DATA, SIZE, true);
    must_find(*reg32(DATA, 0), ~value);
}

int guest_main(void)
{
    uint64_t bases[2];
    unsigned int found = 0;

    for (unsigned int slot = 0; slot < 32 && found < 2; slot++) {
        if (pci_read32(slot, 0) == EDU) {
            bases[found++] = pci_enable(slot, 0);
        }
    }
    if (found < 2) {
        fail("there are %x devices", found);
    }
    must_convert(DATA, PAGE, false);
    for (uint32_t i = 0; i < TIMES; i++) {
        try_peer(bases[i % 2], bases[1 - i % 2], 0x12345678 * i);
    }
    return 0;
}
