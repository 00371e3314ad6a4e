/*
 * Threads that do to memory what they can, at the same time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RACE_H
#define RACE_H

#include "memory.h"

enum { RACE_VCPUS = 2 };

/* The race that goes on, and what has happened in it. */
struct race {
    struct vm vm;
    struct mem mem;
    size_t first, npages;   /* where all happens */
    unsigned int conversions;
    unsigned int retries;
    unsigned int spurious;
    unsigned int reads;
    unsigned int punched;
};

extern struct race race;

/* Starts one, with a VM; its caller adds memory, and says where in it. */
void race_begin(void);
/* Says what has happened, and frees memory and VM. */
void race_end(void);

void race_spawn(void *(*run)(void *), intptr_t arg);
/* Tells all threads to end, and waits until they have. */
void race_stop(void);
/* Whether the calling thread is to end. */
bool race_over(void);
/* A thread counts something that happens; whether it has; wait until it has. */
void race_count(unsigned int *counter);
bool race_has(unsigned int *counter);
void race_await(unsigned int *counter);

/* Converts a range to what @seed says; returns whether that worked. */
bool race_convert(unsigned int *seed, size_t first, size_t npages);
/* Takes the memslot away and adds it again, so many times. */
void race_rebind(int times);

/* Lets vCPUs count in pages of their own, and waits until they have. */
void race_let_vcpus_count(unsigned int rounds);
/* No count may be lost, whatever was done to the pages.  After the race. */
void race_check_counts(void);

/* Threads that convert, and read, by a seed, and that pin pages. */
void *race_converter(void *seed);
void *race_toucher(void *seed);
void *race_pinner(void *unused);

#endif
