/*
 * NUMA nodes, and which of them memory is on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NODES_H
#define NODES_H

#include "memory.h"

bool nodes_are_two(void);

/* Has memory that is allocated from now on come from a node; no other moves. */
void nodes_bind(struct mem *mem, int node);
/* Moves what is there by the policy; returns 0 or -errno. */
int nodes_move(struct mem *mem, struct guest_memfd_move *move);
/* The node of a page that is shared, or -errno. */
int nodes_of(struct mem *mem, size_t n);

/* Has each page hold its number; those with an odd one become private. */
void nodes_fill(struct mem *mem);
/* Checks that each does, and makes all shared. */
void nodes_check_contents(struct mem *mem);

#endif
