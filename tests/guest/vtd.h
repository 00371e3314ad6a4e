/*
 * A driver for an IOMMU of Intel's, see the specification of VT-d, chapters 9
 * and 11
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GUEST_VTD_H
#define TESTS_GUEST_VTD_H

#include "runtime.h"

/* what devices see, where it is, and the tables, one page each */
#define AREA        (16 * MIB)
#define AREA_END    (24 * MIB)
#define TABLES      AREA_END
#define ROOT        TABLES
#define CONTEXT     (ROOT + PAGE)
#define LEVEL3      (CONTEXT + PAGE)
#define LEVEL2      (LEVEL3 + PAGE)
#define TABLES_END  (LEVEL2 + PAGE)
#define LARGE_PAGE  (2 * MIB)

#define IOMMU           0xfed90000ull
#define GLOBAL_COMMAND  0x18
#define GLOBAL_STATUS   0x1c
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
    *reg32(IOMMU, GLOBAL_COMMAND) = bit;
    while (!(*reg32(IOMMU, GLOBAL_STATUS) & bit)) {
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
    must_convert(AREA, TABLES_END - AREA, false);
    write_pages(AREA, AREA_END, 1);
    fill_tables();
    *word(IOMMU + ROOT_TABLE) = ROOT;
    command(SET_ROOT_TABLE);
    command(TRANSLATE);
}

#endif
