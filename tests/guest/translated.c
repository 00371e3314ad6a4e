/*
 * A guest whose IOMMU has its tables in private memory, one after the other: it
 * sees zeros there, and a device reaches nothing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "edu.h"
#include "vtd.h"

#define CONTEXT_COMMAND     0x28
#define TLB_COMMAND         0xf8
#define INVALIDATE          (1ull << 63)
#define ALL_CONTEXTS        (1ull << 61)
#define ALL_TRANSLATIONS    (1ull << 60)

enum { NOTHING = 0x77 };

static void forget(unsigned int reg, uint64_t what)
{
    *word(IOMMU + reg) = INVALIDATE | what;
    while (*word(IOMMU + reg) & INVALIDATE) {
        continue;
    }
}

static void forget_all(void)
{
    forget(CONTEXT_COMMAND, ALL_CONTEXTS);
    forget(TLB_COMMAND, ALL_TRANSLATIONS);
}

/* Returns whether the device copies one word of the area. */
static bool device_copies(uint64_t base)
{
    const uint64_t from = AREA, to = AREA + PAGE;

    forget_all();
    *word(to) = NOTHING;
    edu(base, from, 8, false);
    edu(base, to, 8, true);
    return *word(to) == *word(from);
}

int guest_main(void)
{
    uint64_t base = pci_enable(pci_find(EDU), 0);

    map_area();
    if (!device_copies(base)) {
        fail("the device does not reach what is shared");
    }
    for (uint64_t table = TABLES; table < TABLES_END; table += PAGE) {
        /* On huge pages the shared side keeps it, and nobody is to see it. */
        must_convert(table, PAGE, true);
        if (device_copies(base)) {
            fail("the IOMMU sees table %x, which is private", table);
        }
        must_convert(table, PAGE, false);
        /* with two backings what was shared may be lost */
        fill_tables();
        if (!device_copies(base)) {
            fail("the IOMMU does not see table %x again", table);
        }
    }
    compare_states(AREA, TABLES_END);
    return 0;
}
