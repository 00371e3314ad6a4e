/*
 * Touch memory: pages are made by the first pass, and only written to by those
 * after it.  Prints how long the first and the others took, in nanoseconds.
 *
 * usage: touch-memory MIB LATER_PASSES
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Write all of each page, as programs that use their memory do. */
static uint64_t pass(uint64_t *memory, size_t size, uint64_t value)
{
    uint64_t start = now();

    for (size_t i = 0; i < size / sizeof(*memory); i++) {
        /* volatile, so that no write is left out */
        ((volatile uint64_t *)memory)[i] = value + i;
    }
    return now() - start;
}

int main(int argc, char **argv)
{
    unsigned int mib, later;
    uint64_t *memory, first, others = 0;
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
    first = pass(memory, size, 0);
    for (unsigned int i = 1; i <= later; i++) {
        others += pass(memory, size, i);
    }
    printf("%llu %llu\n", (unsigned long long)first,
           (unsigned long long)others);
    return 0;
}
