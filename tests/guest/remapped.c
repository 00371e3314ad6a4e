/*
 * A guest of which one processor has memory mapped anew, by the chipset, while
 * the others convert memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA    (16 * MIB)
#define PAM0    0x90
#define PAM6    0x96

enum { ROUNDS = 20, PAGES = 64, SEED = 0xaa };

static unsigned int cpus, converting;

static void convert_own(unsigned int cpu)
{
    uint64_t own = AREA + cpu * MIB;

    for (unsigned int i = 0; i < ROUNDS * PAGES; i++) {
        uint64_t gpa = own + i % PAGES * PAGE;

        must_convert(gpa, PAGE, i / PAGES & 1);
    }
    __atomic_sub_fetch(&converting, 1, __ATOMIC_SEQ_CST);
}

static void remap(void)
{
    for (unsigned int value = 0; read_once(&converting); value += 0x11) {
        for (unsigned int reg = PAM0; reg <= PAM6; reg++) {
            pci_write8(0, reg, value);
        }
    }
}

static void work(unsigned int cpu)
{
    if (cpu) {
        convert_own(cpu);
    } else {
        remap();
    }
}

int guest_main(void)
{
    cpus = nr_cpus();
    converting = cpus - 1;
    run_on_all(cpus, work);
    compare_states(AREA, AREA + cpus * MIB);
    write_pages(AREA, AREA + PAGE, SEED);
    ask_host("hidden %x %x %x", AREA, AREA + PAGE, (uint64_t)SEED);
    return 0;
}
