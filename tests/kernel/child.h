/*
 * A process that looks at memory when it is asked to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CHILD_H
#define CHILD_H

#include <sys/types.h>
#include "memory.h"

struct child {
    pid_t pid;
    int to, from;   /* pipes */
};

/*
 * Starts it.  It has the mapping that this process has or, if @maps says so,
 * one of its own.
 */
void child_start(struct child *c, struct mem *mem, bool maps);

/*
 * Has it peek() at a page, and count there by one if it can.  Returns what it
 * saw, or a negative number that peek() never returns.
 */
int64_t child_peek(struct child *c, size_t n);

/* Ends it; returns whether all was well with it. */
bool child_end(struct child *c);

#endif
