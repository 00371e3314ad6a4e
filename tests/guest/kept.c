/*
 * A guest with memory of devices that stays shared for good
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define NVDIMM      (4096 * MIB)
#define PMEM        (NVDIMM + 64 * MIB)
#define DIMM        (NVDIMM + 128 * MIB)
#define BAR         0xd0000000ull
#define SIZE        (4 * MIB)
#define LAST        (SIZE - PAGE)

enum {
    SEED = 0x77, WRITTEN = 0x88, DIMMED = 0x99,
    DEVICE = 4, IVSHMEM = 0x11101af4,
    ID = 0, COMMAND = 4, BAR2 = 0x18, MEMORY = 2,
};

static uint64_t areas[3] = { NVDIMM, PMEM };
static int nr_areas = 2;

static void find_ivshmem(void)
{
    if (pci_read32(DEVICE, ID) != IVSHMEM) {
        return;
    }
    pci_write32(DEVICE, BAR2, BAR);
    pci_write32(DEVICE, BAR2 + 4, 0);
    pci_write8(DEVICE, COMMAND, MEMORY);
    areas[nr_areas++] = BAR;
}

/* As testlib/kept.py fills it. */
static void check_area(uint64_t area, uint64_t size)
{
    for (uint64_t offset = 0; offset < size; offset += PAGE) {
        if (*word(area + offset) != pattern(offset, SEED)) {
            fail("page %x has %x", area + offset, *word(area + offset));
        }
    }
}

static void must_stay(uint64_t area, uint64_t size)
{
    must_return(-EINVAL, area, size, true);
    must_convert(area, size, false);
}

static void use_areas(void)
{
    for (int i = 0; i < nr_areas; i++) {
        check_area(areas[i], SIZE);
        must_stay(areas[i], SIZE);
        must_stay(areas[i], PAGE);
        must_stay(areas[i] - PAGE, SIZE + 2 * PAGE);
        check_area(areas[i], SIZE);
    }
    ask_host("kept %x", (uint64_t)nr_areas);
    for (int i = 0; i < nr_areas; i++) {
        *word(areas[i] + LAST) = pattern(LAST, WRITTEN);
    }
    ask_host("written");
}

/* The host has a DIMM made of memory, and then a device. */
static void reuse_memory(void)
{
    ask_host("plug");
    write_pages(DIMM, DIMM + SIZE, DIMMED);
    must_convert(DIMM, MIB, false);
    write_pages(DIMM, DIMM + MIB, DIMMED);
    ask_host("unplug");
    eject_memory();
    ask_host("replug");
    for (uint64_t gpa = DIMM; gpa < DIMM + SIZE; gpa += PAGE) {
        if (*word(gpa)) {
            fail("page %x has %x", gpa, *word(gpa));
        }
    }
    must_stay(DIMM, SIZE);
}

int guest_main(void)
{
    find_ivshmem();
    if (count_boots() == 1) {
        use_areas();
        reset(0);
    }
    for (int i = 0; i < nr_areas; i++) {
        check_area(areas[i], LAST);
        if (*word(areas[i] + LAST) != pattern(LAST, WRITTEN)) {
            fail("the last page of %x is lost", areas[i]);
        }
    }
    ask_host("still written");
    reuse_memory();
    return 0;
}
