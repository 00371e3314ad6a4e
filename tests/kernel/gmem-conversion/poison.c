/*
 * Test of memory errors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <sys/mman.h>
#include "memory.h"
#include "tap.h"
#include "tests.h"

/* A page with a memory error is a problem of that page only. */
void test_poison(void)
{
    struct mem mem;
    struct vm vm;
    int i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    for (i = 0; i < 4; i++) {
        check(guest_poke(&mem, i, 0x10 + i) == 0);
        check(peek(page(&mem, i)) == 0x10 + i);
    }

    check(poison(page(&mem, 2)));
    check(!accessible(page(&mem, 2)));
    check(guest_peek(&mem, 2) == -EHWPOISON);
    check(vm.run[0]->exit_reason == EXIT_MEMORY_FAULT &&
          memory_fault(&vm, 0)->gpa == DATA_GPA + 2 * PAGE);
    for (i = 0; i < 4; i++) {
        if (i != 2) {
            check(peek(page(&mem, i)) == 0x10 + i);
            check(guest_peek(&mem, i) == 0x10 + i);
        }
    }

    /* It keeps nobody from converting memory. */
    check(to_private(&mem, 0, 4) == 0);
    check(guest_peek(&mem, 2) == -EHWPOISON && guest_peek(&mem, 3) == 0x13);
    check(to_shared(&mem, 0, 4) == 0);
    check(!accessible(page(&mem, 2)) && peek(page(&mem, 3)) == 0x13);
    check(to_private(&mem, 0, 2) == 0);
    check(punch(mem.fd, 2 * PAGE, PAGE) == 0);
    check(guest_peek(&mem, 2) == 0);
    /* The old mapping remembers the error. */
    check(mmap(page(&mem, 2), PAGE, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_FIXED, mem.fd, 2 * PAGE) == page(&mem, 2));
    check(peek(page(&mem, 2)) == 0);
    check(to_private(&mem, 0, 4) == 0);
    check(guest_peek(&mem, 3) == 0x13);
    mem_destroy(&mem);
    vm_destroy(&vm);
}
