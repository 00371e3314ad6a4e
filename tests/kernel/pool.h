/*
 * HugeTLB pools: their counters and size
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef POOL_H
#define POOL_H

#include <stdbool.h>
#include <stddef.h>

/* What of a pool is counted per node, and what is for the whole machine. */
enum { POOL_NR, POOL_FREE, POOL_SURPLUS, POOL_PER_NODE };
enum { POOL_RESV = POOL_PER_NODE, POOL_TOTALS };
enum { POOL_NODES = 2, POOL_MEMINFO = 5 };

struct pool {
    long total[POOL_TOTALS];
    long node[POOL_NODES][POOL_PER_NODE];
    long meminfo[POOL_MEMINFO];
};

/* Chooses the pool of all that follows; returns false if there is none. */
bool pool_init(unsigned int order);
int pool_nodes(void);

void pool_read(struct pool *p);
/* Whether the counters are as given; if not, prints both. */
bool pool_is(const struct pool *wanted);
/*
 * Waits until they are.  Who drops the last reference to a page returns it to
 * the pool some time later, and no event tells when.
 */
bool pool_await(const struct pool *wanted);
/*
 * Whether there are so many more pages than before, in all, free, and reserved,
 * and as many surplus ones; if not, prints both.
 */
bool pool_grew(const struct pool *before, long nr, long free, long resv);

/* The pool's size, which may turn out smaller than asked for. */
void pool_resize(long nr);
void pool_overcommit(long nr);
/* Leaves a trace of earlier use in each 4 KiB of all free pages. */
void pool_dirty(void);

#endif
