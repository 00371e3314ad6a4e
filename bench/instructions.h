/*
 * Ask the emulator how many instructions it ran.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_INSTRUCTIONS_H
#define BENCH_INSTRUCTIONS_H

#include <stdint.h>

/**
 * instructions_run() - instructions that the emulator ran since it started
 *
 * Counts all processors of the lab, and the guests in it.
 *
 * Return: the number, or 0 without the plugin count-instructions.
 */
static inline uint64_t instructions_run(void)
{
    uint64_t count = 0;

    /* no compiler emits it; the plugin knows it by its bytes */
    asm volatile("nopl 0x6e756f63(%%rax)" : "+a"(count) : : "memory");
    return count;
}

#endif
