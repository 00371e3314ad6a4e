/*
 * Tests of memory errors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <sys/mman.h>
#include "huge.h"
#include "memory.h"
#include "pool.h"
#include "tap.h"
#include "tests.h"

/* A memory error is a problem of one page only, and of the pool. */
static void run_poison(int type)
{
    struct pool before;
    /* All of 2 MiB is looked at, of 1 GiB what is around. */
    size_t bad = hpages / 2 + 9, i;
    size_t first = hpages / 2 - PAGES_2M / 2, last = first + PAGES_2M;
    struct mem mem;
    struct vm vm;

    vm_create(&vm, type, 1);
    pool_read(&before);
    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    for (i = bad - 9; i < bad + 10; i++) {
        check(guest_poke(&mem, i, i) == 0);
        check(peek(page(&mem, i)) == i);
    }

    check(poison(page(&mem, bad)));
    check(!accessible(page(&mem, bad)), "type %d", type);
    check(guest_peek(&mem, bad) == -EHWPOISON, "type %d", type);
    check(vm.run[0]->exit_reason == EXIT_MEMORY_FAULT &&
          memory_fault(&vm, 0)->gpa == DATA_GPA + bad * PAGE);
    for (i = first; i < last; i++) {
        uint32_t v = i >= bad - 9 && i < bad + 10 ? i : 0;

        if (i != bad) {
            check(peek(page(&mem, i)) == v, "type %d, page %zu", type, i);
            check(guest_peek(&mem, i) == v, "type %d, page %zu", type, i);
        }
    }
    mem_destroy(&mem);
    vm_destroy(&vm);

    check(pool_grew(&before, -1, -1, 0), "type %d", type);
    if (order == ORDER_2M) {
        pool_resize(before.total[POOL_NR]);
    }
}

void test_poison(void)
{
    run_poison(VM_TYPE_SW_PROTECTED);
}

void test_poison_ordinary(void)
{
    run_poison(VM_TYPE_DEFAULT);
}
