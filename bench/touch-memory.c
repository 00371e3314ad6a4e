/*
 * Touch memory: pages are made by the first pass, and only written to by those
 * after it.  Prints nanoseconds and instructions of the first, then those of
 * the others.
 *
 * usage: touch-memory MIB LATER_PASSES
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "instructions.h"

struct cost {
    uint64_t ns;
    uint64_t instructions;
};

static uint64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Write all of each page, as programs that use their memory do. */
static void pass(uint64_t *memory, size_t size, uint64_t value,
                 struct cost *cost)
{
    uint64_t ns = now(), instructions = instructions_run();

    for (size_t i = 0; i < size / sizeof(*memory); i++) {
        /* volatile, so that no write is left out */
        ((volatile uint64_t *)memory)[i] = value + i;
    }
    cost->instructions += instructions_run() - instructions;
    cost->ns += now() - ns;
}

static void print(const struct cost *cost)
{
    printf("%" PRIu64 " %" PRIu64 "\n", cost->ns, cost->instructions);
}

int main(int argc, char **argv)
{
    struct cost first = { 0 }, others = { 0 };
    unsigned int mib, later;
    uint64_t *memory;
    size_t size;

    if (argc != 3 || sscanf(argv[1], "%u", &mib) != 1 ||
        sscanf(argv[2], "%u", &later) != 1) {
        fprintf(stderr, "usage: touch-memory MIB LATER_PASSES\n");
        return 1;
    }
    size = (size_t)mib << 20;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    madvise(memory, size, MADV_NOHUGEPAGE);
    pass(memory, size, 0, &first);
    for (unsigned int i = 1; i <= later; i++) {
        pass(memory, size, i, &others);
    }
    print(&first);
    print(&others);
    return 0;
}
