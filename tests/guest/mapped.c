/*
 * A guest that gives a device shared memory by its own IOMMU, and resets the
 * machine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA        (16 * MIB)
#define AREA_END    (24 * MIB)
#define TABLES      AREA_END            /* one page each */
#define ROOT        TABLES
#define CONTEXT     (ROOT + PAGE)
#define LEVEL3      (CONTEXT + PAGE)
#define LEVEL2      (LEVEL3 + PAGE)
#define TABLES_END  (LEVEL2 + PAGE)
#define LARGE_PAGE  (2 * MIB)

/* See the specification of Intel's VT-d, chapters 9 and 11. */
#define IOMMU           0xfed90000ull
#define COMMAND         0x18
#define STATUS          0x1c
#define ROOT_TABLE      0x20
#define SET_ROOT_TABLE  (1u << 30)
#define TRANSLATE       (1u << 31)
#define PRESENT         1ull
#define READ_WRITE      3ull
#define IS_LARGE        (1ull << 7)
#define THREE_LEVELS    1ull
#define DOMAIN          (1ull << 8)
#define DEVICES         256

static void command(uint32_t bit)
{
    volatile uint32_t *reg = (volatile uint32_t *)IOMMU;        /* a device */

    reg[COMMAND / 4] = bit;
    while (!(reg[STATUS / 4] & bit)) {
        continue;
    }
}

/* All devices on the first bus see the area where it is. */
static void fill_tables(void)
{
    *word(ROOT) = CONTEXT | PRESENT;
    for (uint64_t i = 0; i < DEVICES; i++) {
        *word(CONTEXT + 16 * i) = LEVEL3 | PRESENT;
        *word(CONTEXT + 16 * i + 8) = DOMAIN | THREE_LEVELS;
    }
    *word(LEVEL3) = LEVEL2 | READ_WRITE;
    for (uint64_t gpa = AREA; gpa < AREA_END; gpa += LARGE_PAGE) {
        *word(LEVEL2 + gpa / LARGE_PAGE * 8) = gpa | IS_LARGE | READ_WRITE;
    }
}

static void map_area(void)
{
    if (convert(AREA, TABLES_END - AREA, false)) {
        fail("conversion to shared");
    }
    write_pages(AREA, AREA_END, 1);
    fill_tables();
    *word(IOMMU + ROOT_TABLE) = ROOT;
    command(SET_ROOT_TABLE);
    command(TRANSLATE);
}

int guest_main(void)
{
    if (count_boots() == 1) {
        map_area();
        ask_host("mapped");
        reset(0);
    }
    for (uint64_t gpa = AREA; gpa < TABLES_END; gpa += PAGE) {
        if (*word(gpa)) {
            fail("page %x has %x after a reset", gpa, *word(gpa));
        }
    }
    return 0;
}
