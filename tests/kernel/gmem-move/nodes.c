/*
 * NUMA nodes, and which of them memory is on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>
#include <linux/mempolicy.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include "nodes.h"
#include "tap.h"

bool nodes_are_two(void)
{
    return !access("/sys/devices/system/node/node1", F_OK);
}

void nodes_bind(struct mem *mem, int node)
{
    unsigned long nodes = 1ul << node;

    if (syscall(SYS_mbind, mem->map, mem->npages * PAGE, MPOL_BIND, &nodes, 8,
                0)) {
        bail_out("mbind");
    }
}

int nodes_move(struct mem *mem, struct guest_memfd_move *move)
{
    *move = (struct guest_memfd_move) { .size = mem->npages * PAGE };
    return ioctl(mem->fd, MOVE_GUEST_MEMFD, move) ? -errno : 0;
}

int nodes_of(struct mem *mem, size_t n)
{
    void *address = page(mem, n);
    int status;

    /* It must be mapped. */
    peek(address);
    if (syscall(SYS_move_pages, 0, 1, &address, NULL, &status, 0)) {
        return -errno;
    }
    return status;
}

void nodes_fill(struct mem *mem)
{
    size_t i;

    for (i = 0; i < mem->npages; i++) {
        check(poke(page(mem, i), i));
        check(i % 2 == 0 || to_private_retry(mem, i, 1, NULL) == 0);
        check(guest_peek(mem, i) == i);
    }
}

void nodes_check_contents(struct mem *mem)
{
    size_t i;

    for (i = 0; i < mem->npages; i++) {
        if (!check(guest_peek(mem, i) == i, "page %zu, guest", i) ||
            !check(to_shared(mem, i, 1) == 0) ||
            !check(peek(page(mem, i)) == i, "page %zu, host", i)) {
            return;
        }
    }
}
