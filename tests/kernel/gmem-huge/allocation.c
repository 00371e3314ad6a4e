/*
 * Tests of how huge pages come from the pool, and of how they return to it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <unistd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "huge.h"
#include "memory.h"
#include "pin.h"
#include "pool.h"
#include "tap.h"
#include "tests.h"

/* Allocation is by the huge page, and the pool's counters follow it. */
void test_allocation(void)
{
    struct pool before;
    struct mem mem;
    struct vm vm;
    long per_page = hsize / 512;

    /* Two huge pages are reserved until they are allocated. */
#define check_pool(allocated) ({                                        \
    check(pool_grew(&before, 0, -(allocated), 2 - (allocated)));        \
    check(blocks(mem.fd) == (allocated) * per_page, "blocks %ld",       \
          blocks(mem.fd));                                              \
})

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    pool_read(&before);
    huge_create(&mem, &vm, 2, 0);
    check_pool(0);
    check(to_shared(&mem, hpages, 1) == 0);
    check_pool(0);
    check(guest_peek(&mem, hpages - 1) == 0);
    check_pool(1);
    check(guest_peek(&mem, 0) == 0);
    check_pool(1);
    check(peek(page(&mem, hpages)) == 0);
    check_pool(2);
    check(punch(mem.fd, 0, hsize) == 0);
    check_pool(1);
    check(punch(mem.fd, 0, hsize) == 0, "a hole already");
    check_pool(1);
    check(punch(mem.fd, 0, 2 * hsize) == 0);
    check_pool(0);
    check(allocate(mem.fd, hsize, hsize) == 0);
    check_pool(1);
    check(allocate(mem.fd, 0, 2 * hsize) == 0);
    check_pool(2);
    check(punch(mem.fd, hsize, 4 * hsize) == 0, "beyond the end");
    check_pool(1);
    check(punch(mem.fd, 2 * hsize, hsize) == 0, "past the end");
    check(allocate(mem.fd, 2 * hsize, hsize) && errno == EINVAL);
    check(allocate(mem.fd, hsize, 2 * hsize) && errno == EINVAL);

    check(punch(mem.fd, PAGE, hsize) && errno == EINVAL);
    check(punch(mem.fd, 0, PAGE) && errno == EINVAL);
    check(punch(mem.fd, 0, hsize + PAGE) && errno == EINVAL);
    check(punch(mem.fd, hsize / 2, hsize / 2) && errno == EINVAL);
    check(allocate(mem.fd, PAGE, hsize) && errno == EINVAL);
    check(allocate(mem.fd, 0, PAGE) && errno == EINVAL);
    check(allocate(mem.fd, 0, hsize + PAGE) && errno == EINVAL);
    check_pool(1);
    mem_destroy(&mem);
    check(pool_is(&before));
    vm_destroy(&vm);
#undef check_pool
}

static long bind_node(void *addr, size_t len, int node)
{
    unsigned long mask = 1ul << node;

    return syscall(SYS_mbind, addr, len, 2 /* MPOL_BIND */, &mask, 8, 0);
}

/* Huge pages come from the node that the policy names, or not at all. */
void test_numa(void)
{
    struct pool before, now;
    struct pre_fault range = { .gpa = DATA_GPA, .size = PAGE };
    struct mem mem, all;
    unsigned long mask = 0;
    struct vm vm;
    int node, policy = -1;
    long nr;

    if (pool_nodes() < 2) {
        tap_skip("there is a single node");
        return;
    }
    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    pool_read(&before);
    for (node = 0; node < 2; node++) {
        huge_create(&mem, &vm, 1, node ? FLAG_INIT_SHARED : 0);
        check(!bind_node(mem.map, hsize, node));
        check(!syscall(SYS_get_mempolicy, &policy, &mask, 8 * sizeof(mask),
                       mem.map, 2 /* MPOL_F_ADDR */));
        check(policy == 2 && mask == 1ul << node, "policy %d", policy);
        check(node ? poke(mem.map, 1) : guest_poke(&mem, 0, 1) == 0);
        pool_read(&now);
        check(now.node[node][POOL_FREE] == before.node[node][POOL_FREE] - 1);
        check(now.node[!node][POOL_FREE] == before.node[!node][POOL_FREE]);

        /* Huge pages don't move, but those that replace them do. */
        check(!bind_node(mem.map, hsize, !node));
        check(guest_peek(&mem, 0) == 1);
        check(punch(mem.fd, 0, hsize) == 0 && guest_peek(&mem, 0) == 0);
        pool_read(&now);
        check(now.node[node][POOL_FREE] == before.node[node][POOL_FREE]);
        check(now.node[!node][POOL_FREE] == before.node[!node][POOL_FREE] - 1);
        mem_destroy(&mem);
    }

    /* One file takes all of node 1, so that another one gets nothing. */
    nr = before.node[1][POOL_FREE];
    mem_create_huge(&all, &vm, nr * hpages, 0, order);
    check(!set_region(&vm, 1, DATA_GPA, 0, all.map, all.fd, 0));
    check(!bind_node(all.map, nr * hsize, 1));
    check(allocate(all.fd, 0, nr * hsize) == 0);
    pool_read(&now);
    check(now.node[1][POOL_FREE] == 0 &&
          now.node[0][POOL_FREE] == before.node[0][POOL_FREE]);
    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    check(!bind_node(mem.map, hsize, 1));
    check(!accessible(page(&mem, 3)) && !poke(page(&mem, 3), 1));
    check(guest_peek(&mem, 3) == -ENOMEM);
    check(vcpu_pre_fault(&vm, 0, &range) == -ENOMEM);
    check(allocate(mem.fd, 0, hsize) && errno == ENOMEM);
    check(blocks(mem.fd) == 0);
    check(!bind_node(mem.map, hsize, 0));
    check(poke(page(&mem, 3), 1) && guest_peek(&mem, 3) == 1);
    munmap(all.map, nr * hsize);
    close(all.fd);
    mem_destroy(&mem);
    check(pool_is(&before));
    vm_destroy(&vm);
}

/* A pool can shrink although its pages are on loan; they leave it later. */
void test_shrink(void)
{
    struct pool before, now;
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    pool_read(&before);
    huge_create(&mem, &vm, 1, 0);
    check(guest_poke(&mem, 1, 0x77) == 0);
    pool_resize(0);
    pool_read(&now);
    check(now.total[POOL_NR] == 1 && now.total[POOL_SURPLUS] == 1 &&
          now.total[POOL_FREE] == 0, "%ld pages, %ld surplus",
          now.total[POOL_NR], now.total[POOL_SURPLUS]);
    check(to_shared(&mem, 1, 1) == 0 && peek(page(&mem, 1)) == 0x77);
    check(punch(mem.fd, 0, hsize) == 0);
    check(peek(page(&mem, 1)) == 0 && guest_peek(&mem, 0) == 0);
    mem_destroy(&mem);
    pool_read(&now);
    check(now.total[POOL_NR] == 0 && now.total[POOL_SURPLUS] == 0 &&
          now.total[POOL_FREE] == 0 && now.total[POOL_RESV] == 0,
          "%ld pages, %ld surplus", now.total[POOL_NR],
          now.total[POOL_SURPLUS]);
    check(gmem_create_huge(&vm, hsize, 0, order) < 0 && errno == ENOMEM);
    if (order == ORDER_2M) {
        pool_resize(before.total[POOL_NR]);
    }
    vm_destroy(&vm);
}

/* Everything is given back, whatever state it is in. */
void test_cycles(void)
{
    int rounds = order == ORDER_2M ? 1000 : 20, i;
    struct pool before;
    struct mem mem;
    struct pin p;
    struct vm vm;

    pool_read(&before);
    for (i = 0; i < rounds; i++) {
        size_t nr = 1 + i % 2;
        size_t n = (nr - 1) * hpages + i % 64;
        bool shared = i % 3 == 1, pinned = i % 20 == 7;

        if (!(i % 10)) {
            vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
        }
        huge_create(&mem, &vm, nr, shared ? FLAG_INIT_SHARED : 0);
        check(shared ? poke(page(&mem, n), i) : guest_poke(&mem, n, i) == 0);
        check(convert(&mem, n, 1 + i % 17, shared, NULL) == 0);
        check(guest_peek(&mem, n) == i);
        if (i % 5 == 1) {
            check(to_private(&mem, 0, mem.npages) == 0);
        }
        if (i % 7 == 1) {
            check(punch(mem.fd, (nr - 1) * hsize, hsize) == 0);
        }
        if (pinned) {
            check(to_shared(&mem, n, 1) == 0);
            check(pin(&p, i % 40 == 7 ? PIN_VMSPLICE : PIN_IO_URING,
                      page(&mem, n), 1));
        }
        if (i % 4) {
            mem_destroy(&mem);
        } else {
            munmap(mem.map, mem.npages * PAGE);
            close(mem.fd);
            check(!set_region(&vm, 1, DATA_GPA, 0, mem.map, -1, 0));
        }
        if (i % 10 == 9) {
            vm_destroy(&vm);
        }
        if (pinned) {
            unpin(&p);
            check(pool_await(&before), "cycle %d", i);
        } else {
            check(pool_is(&before), "cycle %d", i);
        }
    }
    check(pool_is(&before));
}
