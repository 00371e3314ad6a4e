/*
 * Ask the emulator how many instructions it ran.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_INSTRUCTIONS_H
#define BENCH_INSTRUCTIONS_H

#include <stdint.h>

/* Conversions between two marks of the guest tests/guest/timed.c */
enum { PROFILED = 64 };

/* What plugins know by its bytes; no compiler emits it. */
#define ASK_EMULATOR(word, count) \
    asm volatile("nopl " #word "(%%rax)" : "+a"(count) : : "memory")

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

    ASK_EMULATOR(0x6e756f63, count);
    return count;
}

/**
 * user_instructions_run() - those of them that the lab's user space ran
 *
 * Return: the number, or 0 without the plugin count-instructions.
 */
static inline uint64_t user_instructions_run(void)
{
    uint64_t count = 0;

    ASK_EMULATOR(0x72657375, count);
    return count;
}

/**
 * longest_hold() - instructions for which a lock was held, at most
 *
 * Since this was asked before, or the lab began.
 *
 * Return: the number, or 0 without the plugin longest-hold.
 */
static inline uint64_t longest_hold(void)
{
    uint64_t count = 0;

    ASK_EMULATOR(0x646c6f68, count);
    return count;
}

/**
 * profile_mark() - have the plugin profile-instructions write down what ran
 *
 * That is the lab's user space since the last mark.
 */
static inline void profile_mark(void)
{
    uint64_t unused = 0;

    ASK_EMULATOR(0x666f7270, unused);
}

#endif
