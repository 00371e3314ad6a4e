/*
 * A guest that programs a PC's chipset to show memory in ways that KVM refuses
 * for private memory: read-only, in two places, and behind a device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA        (16 * MIB)
#define PAM0        0x90
#define PAM6        0x96
#define SMRAM       0x9d
#define SMRAM_OPEN  0x4a                /* D_OPEN, G_SMRAME, base of 0xa0000 */
#define COMMAND     0x4
#define BAR0        0x10
#define MEMORY      0x2

enum { SEED = 0x77, DEVICES = 32 };

static void touch(uint64_t gpa, uint64_t end)
{
    for (; gpa < end; gpa += PAGE) {
        *word(gpa) = *word(gpa) + 1;
    }
}

static void try_pam(void)
{
    for (unsigned int value = 0; value < 0x100; value += 0x11) {
        for (unsigned int reg = PAM0; reg <= PAM6; reg++) {
            pci_write8(0, reg, value);
        }
        touch(640 * KIB, MIB);
        check_pages(AREA, AREA + MIB, SEED);
    }
}

static void try_smram(void)
{
    pci_write8(0, SMRAM, SMRAM_OPEN);
    touch(640 * KIB, 768 * KIB);
    pci_write8(0, SMRAM, 0);
}

/* Any device with a first BAR will do. */
static void try_bar(void)
{
    for (unsigned int device = 1; device < DEVICES; device++) {
        if (pci_read32(device, 0) == UINT32_MAX) {
            continue;
        }
        pci_write32(device, BAR0, AREA);
        pci_write8(device, COMMAND, MEMORY);
        (void)*word(AREA);
        pci_write8(device, COMMAND, 0);
        check_pages(AREA, AREA + MIB, SEED);
    }
}

int guest_main(void)
{
    write_pages(AREA, AREA + MIB, SEED);
    try_pam();
    try_smram();
    try_bar();
    check_pages(AREA, AREA + MIB, SEED);
    if (convert(AREA, MIB, false) || convert(AREA, MIB, true)) {
        fail("conversion after that");
    }
    compare_states(AREA, AREA + 2 * MIB);
    return 0;
}
