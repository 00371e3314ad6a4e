/*
 * A guest with an IOMMU and an assigned device behind it, which must reach what
 * the IOMMU maps and the guest shares
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "vtd.h"

#define MARK        AREA
#define RESULT      (AREA + PAGE)

#include "probe.h"

#define TLB_COMMAND         0xf8
#define INVALIDATE          (1ull << 63)
#define ALL_TRANSLATIONS    (1ull << 60)

/* In a large page of its own */
#define TRIED       (AREA + 2 * MIB + 5 * PAGE)
/* A large page whose parts are mapped one by one, by this table */
#define SMALL       (AREA + 6 * MIB)
#define LEVEL1      TABLES_END
#define READ_ONLY   1ull

#define DIMM        (4096 * MIB)

static uint64_t base;

static void invalidate(void)
{
    *word(IOMMU + TLB_COMMAND) = INVALIDATE | ALL_TRANSLATIONS;
    while (*word(IOMMU + TLB_COMMAND) & INVALIDATE) {
        continue;
    }
}

static void map_tried(bool present)
{
    uint64_t page = TRIED / LARGE_PAGE;

    *word(LEVEL2 + page * 8) = present ?
        page * LARGE_PAGE | IS_LARGE | READ_WRITE : 0;
    invalidate();
}

static void try_around(bool reaches, bool reaches_others)
{
    probe(base, TRIED - PAGE, reaches_others);
    probe(base, TRIED, reaches);
    probe(base, TRIED + PAGE, reaches_others);
}

static void try_conversions(void)
{
    try_around(true, true);

    /* converted while it is mapped */
    must_convert(TRIED, PAGE, true);
    try_around(false, true);
    must_convert(TRIED, PAGE, false);
    try_around(true, true);

    /* mapped while it is private */
    must_convert(TRIED, PAGE, true);
    map_tried(false);
    try_around(false, false);
    map_tried(true);
    try_around(false, true);
    must_convert(TRIED, PAGE, false);
    try_around(true, true);

    /* converted as a whole, and not mapped */
    map_tried(false);
    must_convert(AREA + 2 * MIB, 2 * MIB, true);
    must_convert(AREA + 2 * MIB, 2 * MIB, false);
    try_around(false, false);
    map_tried(true);
    try_around(true, true);
}

/* Maps a small page at an address for devices. */
static void map_small(uint64_t iova, uint64_t gpa, uint64_t access)
{
    *word(LEVEL1 + (iova - SMALL) / PAGE * 8) = access ? gpa | access : 0;
    invalidate();
}

static void try_small_pages(void)
{
    uint64_t iova = SMALL + 7 * PAGE;

    must_convert(LEVEL1, PAGE, false);
    for (uint64_t at = SMALL; at < SMALL + LARGE_PAGE; at += PAGE) {
        *word(LEVEL1 + (at - SMALL) / PAGE * 8) = at | READ_WRITE;
    }
    *word(LEVEL2 + SMALL / LARGE_PAGE * 8) = LEVEL1 | READ_WRITE;
    invalidate();
    probe(base, iova, true);
    map_small(iova, iova, 0);
    probe(base, iova - PAGE, true);
    probe(base, iova, false);
    probe(base, iova + PAGE, true);

    map_small(iova, iova, READ_ONLY);
    probe_write(base, iova, iova, false);
    probe_read(base, iova, iova, true);

    /* the same page at another address, too */
    map_small(iova, TRIED, READ_WRITE);
    probe_write(base, iova, TRIED, true);
    must_convert(TRIED, PAGE, true);
    probe_write(base, iova, TRIED, false);
    probe_read(base, iova, TRIED, false);
    probe(base, TRIED, false);
    must_convert(TRIED, PAGE, false);
    probe_read(base, iova, TRIED, true);
    probe(base, TRIED, true);
    map_small(iova, iova, READ_WRITE);
    probe(base, iova, true);
}

/* Without it, devices reach all that is shared. */
static void turn_off(void)
{
    must_convert(TRIED, PAGE, true);
    *reg32(IOMMU, GLOBAL_COMMAND) = 0;
    while (*reg32(IOMMU, GLOBAL_STATUS) & TRANSLATE) {
        continue;
    }
    try_around(false, true);
    command(TRANSLATE);
    try_around(false, true);
    must_convert(TRIED, PAGE, false);
    try_around(true, true);
}

/* Memory is unplugged that is mapped for devices still. */
static void unplug_memory(void)
{
    uint64_t iova = SMALL + 9 * PAGE;

    for (int i = 0; i < 2; i++) {
        ask_host("plug");
        must_convert(DIMM, PAGE, false);
        map_small(iova, DIMM, READ_WRITE);
        probe_write(base, iova, DIMM, true);
        must_convert(DIMM, PAGE, true);
        probe_write(base, iova, DIMM, false);
        must_convert(DIMM, PAGE, false);
        ask_host("unplug");
        eject_memory();
        map_small(iova, iova, READ_WRITE);
        probe(base, iova, true);
    }
}

int guest_main(void)
{
    base = pci_enable(pci_find(EDU), 0);
    map_area();
    probe_begin();
    try_conversions();
    try_small_pages();
    turn_off();
    unplug_memory();
    ask_host("unplugged");
    return 0;
}
