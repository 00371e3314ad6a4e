/*
 * Tests of what state and contents pages have, before and after conversion
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>
#include "memory.h"
#include "tap.h"
#include "tests.h"

void test_init_private(void)
{
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, 0);

    check(!accessible(page(&mem, 0)) && !poke(page(&mem, 1), 1));
    check(guest_poke(&mem, 0, 0x11) == 0 && guest_peek(&mem, 0) == 0x11);
    check(guest_peek(&mem, 1) == 0);
    check(!accessible(page(&mem, 0)));

    check(to_shared(&mem, 0, 1) == 0);
    check(peek(page(&mem, 0)) == 0x11, "contents after to shared");
    check(guest_peek(&mem, 0) == 0x11);
    check(poke(page(&mem, 0), 0x22) && guest_peek(&mem, 0) == 0x22);
    check(guest_poke(&mem, 0, 0x33) == 0 && peek(page(&mem, 0)) == 0x33);
    check(!accessible(page(&mem, 1)));

    check(to_private(&mem, 0, 1) == 0);
    check(!accessible(page(&mem, 0)) && !poke(page(&mem, 0), 1));
    check(guest_peek(&mem, 0) == 0x33, "contents after to private");
    check(guest_poke(&mem, 0, 0x44) == 0 && guest_peek(&mem, 0) == 0x44);

    mem_destroy(&mem);
    vm_destroy(&vm);
}

void test_init_shared(void)
{
    struct mem mem;
    struct vm vm;
    int i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);

    check(poke(page(&mem, 0), 0x11) && guest_peek(&mem, 0) == 0x11);
    for (i = 0; i < 3; i++) {
        check(to_private(&mem, 0, 4) == 0);
        check(!accessible(page(&mem, 0)) && !accessible(page(&mem, 3)));
        check(guest_peek(&mem, 0) == 0x11 + i);
        check(guest_poke(&mem, 0, 0x12 + i) == 0);
        check(to_shared(&mem, 0, 4) == 0);
        check(peek(page(&mem, 0)) == 0x12 + i);
        check(guest_peek(&mem, 0) == 0x12 + i);
    }
    mem_destroy(&mem);

    /* A page is zeroed once, whoever touches it first. */
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    check(allocate(mem.fd, 0, 4 * PAGE) == 0);
    check(peek(page(&mem, 0)) == 0 && guest_peek(&mem, 1) == 0);
    check(to_private(&mem, 0, 4) == 0);
    check(guest_peek(&mem, 2) == 0);
    check(to_shared(&mem, 0, 4) == 0);
    check(peek(page(&mem, 3)) == 0);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

void test_indexing(void)
{
    struct mem mem;
    struct vm vm;
    int n, i, shared;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (shared = 0; shared < 2; shared++) {
        for (n = 0; n < 4; n++) {
            mem_create(&mem, &vm, 4, shared ? FLAG_INIT_SHARED : 0);
            for (i = 0; i < 4; i++) {
                check(guest_poke(&mem, i, 0x100 + i) == 0);
            }
            check(convert(&mem, n, 1, shared, NULL) == 0);
            for (i = 0; i < 4; i++) {
                check(accessible(page(&mem, i)) == ((i == n) != shared),
                      "init %d, page %d of %d", shared, i, n);
                check(guest_peek(&mem, i) == 0x100 + i);
            }
            check(convert(&mem, n, 1, !shared, NULL) == 0);
            for (i = 0; i < 4; i++) {
                check(accessible(page(&mem, i)) == shared);
                check(guest_peek(&mem, i) == 0x100 + i);
            }
            mem_destroy(&mem);
        }
    }
    vm_destroy(&vm);
}

void test_unallocated(void)
{
    struct mem mem;
    struct vm vm;
    int i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);

    mem_create(&mem, &vm, 4, 0);
    check(to_shared(&mem, 1, 2) == 0, "before allocation");
    check(!accessible(page(&mem, 0)) && peek(page(&mem, 1)) == 0 &&
          peek(page(&mem, 2)) == 0 && !accessible(page(&mem, 3)));
    mem_destroy(&mem);

    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    check(to_private(&mem, 1, 2) == 0, "before allocation");
    check(accessible(page(&mem, 0)) && !accessible(page(&mem, 1)) &&
          !accessible(page(&mem, 2)) && accessible(page(&mem, 3)));
    check(guest_peek(&mem, 1) == 0);
    mem_destroy(&mem);

    /* Every other page is allocated. */
    mem_create(&mem, &vm, 8, FLAG_INIT_SHARED);
    for (i = 0; i < 8; i += 2) {
        check(poke(page(&mem, i), 0x40 + i));
    }
    check(to_private(&mem, 0, 8) == 0);
    for (i = 0; i < 8; i++) {
        check(!accessible(page(&mem, i)));
        check(guest_peek(&mem, i) == (i % 2 ? 0 : 0x40 + i));
    }
    check(to_shared(&mem, 0, 8) == 0);
    for (i = 0; i < 8; i++) {
        check(peek(page(&mem, i)) == (i % 2 ? 0 : 0x40 + i));
    }
    mem_destroy(&mem);

    /* A file too large to be allocated, converted at once. */
    mem_create_unbound(&mem, &vm, 1ul << 28, FLAG_INIT_SHARED);
    check(to_private(&mem, 1, (1ul << 28) - 2) == 0);
    check(accessible(page(&mem, 0)) && !accessible(page(&mem, 1)) &&
          !accessible(page(&mem, (1ul << 28) - 2)) &&
          accessible(page(&mem, (1ul << 28) - 1)));
    check(to_shared(&mem, 1ul << 20, 1) == 0);
    check(accessible(page(&mem, 1ul << 20)));
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/*
 * So many that the tree of states is some levels high, and that what a range
 * replaces in it has nodes with all of their slots in use, or all but one.
 */
void test_many(void)
{
    const size_t npages = 1 << 14;
    struct mem mem;
    struct vm vm;
    size_t n, step;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, npages, 0);
    for (step = 64; step <= npages; step *= 2) {
        for (n = 0; n < npages; n += 2) {
            check(to_shared(&mem, n, 1) == 0);
        }
        check(accessible(page(&mem, npages - 2)));
        check(!accessible(page(&mem, npages - 1)));
        for (n = 0; n < npages; n += step) {
            check(to_private(&mem, n, step) == 0);
        }
        check(!accessible(page(&mem, npages - 2)));
    }
    mem_destroy(&mem);
    vm_destroy(&vm);
}

void test_punch(void)
{
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, 0);

    check(to_shared(&mem, 0, 2) == 0);
    check(poke(page(&mem, 0), 1) && poke(page(&mem, 1), 1));
    check(guest_poke(&mem, 2, 1) == 0 && guest_poke(&mem, 3, 1) == 0);
    check(punch(mem.fd, PAGE, 2 * PAGE) == 0);
    check(peek(page(&mem, 0)) == 1);
    check(peek(page(&mem, 1)) == 0, "punched while shared");
    check(!accessible(page(&mem, 2)) && !accessible(page(&mem, 3)));
    check(guest_peek(&mem, 2) == 0, "punched while private");
    check(guest_peek(&mem, 3) == 1);

    check(punch(mem.fd, 0, 4 * PAGE) == 0);
    check(to_private(&mem, 0, 1) == 0 && to_shared(&mem, 3, 1) == 0);
    check(!accessible(page(&mem, 0)) && accessible(page(&mem, 1)) &&
          !accessible(page(&mem, 2)) && accessible(page(&mem, 3)));

    check(punch(mem.fd, 1, PAGE) && errno == EINVAL);
    check(punch(mem.fd, 0, PAGE + 1) && errno == EINVAL);
    check(punch(mem.fd, 4 * PAGE, PAGE) == 0, "past the end");
    check(punch(mem.fd, 2 * PAGE, 16 * PAGE) == 0, "beyond the end");
    check(allocate(mem.fd, 4 * PAGE, PAGE) && errno == EINVAL);
    check(!accessible(page(&mem, 2)) && peek(page(&mem, 3)) == 0);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Random ranges, compared with a state per page. */
void test_random(void)
{
    enum { NPAGES = 96 };
    bool private[NPAGES];
    uint32_t value[NPAGES];
    unsigned int seed = 12345;
    struct mem mem;
    struct vm vm;
    int i, j, init;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (init = 0; init < 2; init++) {
        mem_create(&mem, &vm, NPAGES, init ? FLAG_INIT_SHARED : 0);
        for (i = 0; i < NPAGES; i++) {
            private[i] = !init;
            value[i] = 0;
        }
        for (i = 0; i < 600; i++) {
            int first = rand_r(&seed) % NPAGES;
            int n = 1 + rand_r(&seed) % (i % 3 ? 4 : NPAGES);
            int what = rand_r(&seed) % 16;

            if (first + n > NPAGES) {
                n = NPAGES - first;
            }
            if (what == 0) {
                check(punch(mem.fd, first * PAGE, n * PAGE) == 0);
                for (j = first; j < first + n; j++) {
                    value[j] = 0;
                }
            } else if (what == 1) {
                check(vcpu_run(&vm, 0, GUEST(fill), i, DATA_GPA + first * PAGE,
                               n, 0) == 0);
                for (j = first; j < first + n; j++) {
                    value[j] = i;
                }
            } else {
                check(convert(&mem, first, n, what % 2, NULL) == 0);
                for (j = first; j < first + n; j++) {
                    private[j] = what % 2;
                }
            }
            for (j = i % 4; j < NPAGES; j += 4) {
                int64_t got = peek(page(&mem, j));

                if (!check(got == (private[j] ? -1 : (int64_t)value[j]),
                           "init %d, step %d, page %d: %lld", init, i, j,
                           (long long)got)) {
                    i = 600;
                    break;
                }
            }
        }
        for (j = 0; j < NPAGES; j++) {
            check(guest_peek(&mem, j) == value[j], "page %d", j);
        }
        mem_destroy(&mem);
    }

    /* One by one to private, one by one to shared, from both ends. */
    mem_create(&mem, &vm, 2048, FLAG_INIT_SHARED);
    for (i = 0; i < 2048; i += 2) {
        check(to_private(&mem, i, 1) == 0);
    }
    for (i = 2047; i > 0; i -= 2) {
        check(to_private(&mem, i, 1) == 0);
    }
    for (i = 0; i < 2048; i++) {
        check(!accessible(page(&mem, i)));
    }
    for (i = 0; i < 1024; i++) {
        check(to_shared(&mem, i, 1) == 0 && to_shared(&mem, 2047 - i, 1) == 0);
    }
    for (i = 0; i < 2048; i++) {
        check(accessible(page(&mem, i)));
    }
    mem_destroy(&mem);
    vm_destroy(&vm);
}
