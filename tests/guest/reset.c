/*
 * A guest that resets the machine, and finds its memory as at first, with what
 * QEMU loads there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA        (16 * MIB)
#define AREA_END    (24 * MIB)
#define IMAGE       (28 * MIB)          /* QEMU loads a word to here */
#define IMAGE_WORD  0x1122334455667788
#define LPC         31
#define RCBA        0xf0
#define ENABLED     1

#ifndef RESETS
#define RESETS 50
#endif

#ifndef HOW
#define HOW (resets % 3)
#endif

#ifndef HOLD
#define HOLD false
#endif

/* Of its own each, as shared huge pages keep what they had. */
enum { HIDDEN = 0x55, SHARED = 0x44, SPOILT = 0x66 };

static void check_zero(void)
{
    for (uint64_t gpa = AREA; gpa < AREA_END; gpa += PAGE) {
        if (*word(gpa)) {
            fail("page %x has %x after a reset", gpa, *word(gpa));
        }
    }
}

static void check_image(void)
{
    if (*word(IMAGE) != IMAGE_WORD) {
        fail("the image is %x", *word(IMAGE));
    }
    *word(IMAGE) = SPOILT;
}

/* Hidden behind registers of the chipset, it is still memory to be reset. */
static void hide_image(void)
{
    pci_write32(LPC, RCBA, IMAGE | ENABLED);
    if (*word(IMAGE) == SPOILT) {
        fail("the image is not hidden");
    }
}

/* The firmware is no ROM for the guest, but is loaded again. */
static void spoil_firmware(void)
{
    *word(4096 * MIB - 64 * KIB) = ~0ull;
}

int guest_main(void)
{
    uint64_t resets = count_boots() - 1;

    check_zero();
    check_image();
    /* Private again, although the last one left half of it shared. */
    write_pages(AREA, AREA_END, HIDDEN);
    ask_host("hidden %x %x %x", AREA, AREA_END, (uint64_t)HIDDEN);
    must_convert(AREA, (AREA_END - AREA) / 2, false);
    write_pages(AREA, AREA_END, SHARED);
    if (resets == RESETS) {
        return 0;
    }
    if (HOLD) {
        ask_host("pin %x", AREA);
    }
    hide_image();
    spoil_firmware();
    reset(HOW);
}
