/*
 * A guest that programs a PC's chipset to show memory in ways that KVM refuses
 * for private memory: read-only, in two places, and behind a device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA        (16 * MIB)
#define LEGACY      (640 * KIB)
#define EXPANSION   (896 * KIB)
#define PAM0        0x90
#define PAM6        0x96
#define SMRAM       0x9d
#define SMRAM_OPEN  0x4a                /* D_OPEN, G_SMRAME, base of 0xa0000 */
#define COMMAND     0x4
#define BAR0        0x10
#define MEMORY      0x2

/* Shared huge pages keep what they had. */
enum { SEED = 0x77, SHARED = 0x88, DEVICES = 32 };

static void touch(uint64_t gpa, uint64_t end)
{
    for (; gpa < end; gpa += PAGE) {
        *word(gpa) = *word(gpa) + 1;
    }
}

static void set_pam(uint8_t value)
{
    for (unsigned int reg = PAM0; reg <= PAM6; reg++) {
        pci_write8(0, reg, value);
    }
}

static void try_pam(void)
{
    for (unsigned int value = 0; value < 0x100; value += 0x11) {
        set_pam(value);
        touch(LEGACY, MIB);
        check_pages(AREA, AREA + MIB, SEED);
    }
    set_pam(0);
}

static void try_smram(void)
{
    pci_write8(0, SMRAM, SMRAM_OPEN);
    touch(LEGACY, 768 * KIB);
    pci_write8(0, SMRAM, 0);
}

static uint32_t bar_size(unsigned int device)
{
    pci_write32(device, BAR0, UINT32_MAX);
    return -(pci_read32(device, BAR0) & ~0xfu);
}

static void look(uint64_t gpa, uint64_t end, const char *what, uint64_t seed)
{
    write_pages(gpa, end, seed);
    ask_host("%s %x %x %x", what, gpa, end, seed);
    compare_states(gpa, end);
}

/* A device hides a part of the first page, which cannot be private so long. */
static void convert_behind(uint64_t gpa)
{
    uint64_t end = gpa + 64 * KIB;

    must_convert(gpa, end - gpa, false);
    look(gpa + PAGE, end, "seen", SHARED);
    must_return(-EINVAL, gpa, end - gpa, true);
    look(gpa + PAGE, end, "seen", SHARED);
    must_convert(gpa + PAGE, end - gpa - PAGE, true);
    look(gpa + PAGE, end, "hidden", SEED);
}

/* Any device with a first BAR will do; some are smaller than a page. */
static void try_bar(uint64_t gpa)
{
    for (unsigned int device = 1; device < DEVICES; device++) {
        uint32_t size = bar_size(device);

        if (pci_read32(device, 0) == UINT32_MAX) {
            continue;
        }
        pci_write32(device, BAR0, gpa);
        pci_write8(device, COMMAND, MEMORY);
        (void)*word(gpa);
        if (gpa < MIB && size && size < PAGE) {
            convert_behind(gpa);
        }
        pci_write8(device, COMMAND, 0);
        check_pages(AREA, AREA + MIB, SEED);
    }
}

int guest_main(void)
{
    write_pages(AREA, AREA + MIB, SEED);
    try_pam();
    try_smram();
    try_bar(AREA);
    try_bar(LEGACY);
    try_bar(EXPANSION);
    check_pages(AREA, AREA + MIB, SEED);
    must_convert(AREA, MIB, false);
    must_convert(AREA, MIB, true);
    compare_states(AREA, AREA + 2 * MIB);
    return 0;
}
