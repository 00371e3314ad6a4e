/*
 * Tests of memory that others hold on to when it is converted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "child.h"
#include "memory.h"
#include "pin.h"
#include "tap.h"
#include "tests.h"

void test_same_state(void)
{
    struct mem mem;
    struct pin p;
    struct vm vm;
    uint64_t err;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    check(poke(page(&mem, 0), 1));
    check(pin(&p, PIN_VMSPLICE, page(&mem, 0), 1));
    check(to_shared(&mem, 0, 4) == 0, "shared already");
    check(to_private(&mem, 1, 3) == 0);
    check(to_private(&mem, 1, 3) == 0, "private already");
    check(to_private(&mem, 2, 1) == 0, "private already");
    check(convert(&mem, 0, 4, true, &err) == -EAGAIN && err == 0);
    check(to_shared(&mem, 0, 4) == 0, "to shared, with a pinned page");
    check(accessible(page(&mem, 0)) && accessible(page(&mem, 3)));
    unpin(&p);
    check(to_private(&mem, 0, 4) == 0);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

void test_pinned(void)
{
    const int npages = 4;
    enum pin_kind kind;
    struct mem mem;
    struct pin p;
    struct vm vm;
    uint64_t err;
    int n, i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (kind = 0; kind < PIN_KINDS; kind++) {
        const char *name = pin_names[kind];

        for (n = 0; n < npages; n++) {
            mem_create(&mem, &vm, npages, FLAG_INIT_SHARED);
            for (i = 0; i < npages; i++) {
                check(poke(page(&mem, i), 0x10 + i));
            }
            if (!check(pin(&p, kind, page(&mem, n), 1), "%s", name)) {
                mem_destroy(&mem);
                continue;
            }

            check(convert(&mem, 0, npages, true, &err) == -EAGAIN, "%s", name);
            check(err == n * PAGE, "%s, error_offset %llx", name,
                  (unsigned long long)err);
            /* Nothing has changed. */
            for (i = 0; i < npages; i++) {
                check(peek(page(&mem, i)) == 0x10 + i, "%s", name);
                check(guest_peek(&mem, i) == 0x10 + i, "%s", name);
            }
            for (i = 0; i < npages; i++) {
                int r = convert(&mem, i, 1, true, &err);

                check(r == (i == n ? -EAGAIN : 0), "%s, page %d", name, i);
                check(err == (i == n ? n * PAGE : SENTINEL), "%s", name);
                check(accessible(page(&mem, i)) == (i == n), "%s", name);
            }
            /* Private pages are no obstacle. */
            check(convert(&mem, 0, npages, true, &err) == -EAGAIN &&
                  err == n * PAGE, "%s", name);

            unpin(&p);
            check(to_private_retry(&mem, 0, npages, NULL) == 0, "%s", name);
            for (i = 0; i < npages; i++) {
                check(!accessible(page(&mem, i)), "%s", name);
                check(guest_peek(&mem, i) == 0x10 + i, "%s", name);
            }
            /* What is private cannot be pinned. */
            check(!pin(&p, kind, page(&mem, n), 1), "%s", name);
            unpin(&p);
            mem_destroy(&mem);
        }

        /* Several pages; the first one is reported. */
        mem_create(&mem, &vm, 64, FLAG_INIT_SHARED);
        check(pin(&p, kind, page(&mem, 40), 3), "%s", name);
        check(convert(&mem, 1, 63, true, &err) == -EAGAIN && err == 40 * PAGE,
              "%s", name);
        check(convert(&mem, 41, 9, true, &err) == -EAGAIN && err == 41 * PAGE,
              "%s", name);
        check(convert(&mem, 42, 22, true, &err) == -EAGAIN && err == 42 * PAGE,
              "%s", name);
        check(to_private(&mem, 43, 21) == 0 && to_private(&mem, 0, 40) == 0,
              "%s", name);
        unpin(&p);
        check(to_private_retry(&mem, 0, 64, NULL) == 0, "%s", name);
        mem_destroy(&mem);

        /* The argument cannot be written to. */
        mem_create(&mem, &vm, 1, FLAG_INIT_SHARED);
        check(pin(&p, kind, page(&mem, 0), 1), "%s", name);
        check(convert_read_only(mem.fd, 0, PAGE, ATTRIBUTE_PRIVATE) ==
              -EFAULT);
        check(accessible(page(&mem, 0)));
        unpin(&p);
        mem_destroy(&mem);
    }

    /* Neither locked memory nor pages fresh in per-CPU batches are pinned. */
    mem_create(&mem, &vm, 64, FLAG_INIT_SHARED);
    check(!mlock(mem.map, 16 * PAGE));
    memset(mem.map, 1, 64 * PAGE);
    check(to_private(&mem, 0, 64) == 0, "mlock");
    munlock(mem.map, 16 * PAGE);
    mem_destroy(&mem);
    for (n = 0; n < 50; n++) {
        mem_create(&mem, &vm, 1, FLAG_INIT_SHARED);
        check(poke(page(&mem, 0), 1));
        check(to_private(&mem, 0, 1) == 0, "fresh page");
        mem_destroy(&mem);
    }
    vm_destroy(&vm);
}

void test_processes(void)
{
    enum { CHILDREN = 3 };
    struct child children[CHILDREN];
    struct mem mem;
    struct vm vm;
    pid_t pid;
    int i, round;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    check(poke(page(&mem, 0), 0x10));
    for (i = 0; i < CHILDREN; i++) {
        child_start(&children[i], &mem, i > 0);
    }

    for (round = 0; round < 3; round++) {
        uint32_t expected = 0x10 + round * (CHILDREN + 1);

        for (i = 0; i < CHILDREN; i++) {
            check(child_peek(&children[i], 0) == expected + i,
                  "round %d, child %d", round, i);
            check(child_peek(&children[i], 1) != -1);
        }
        check(to_private(&mem, 0, 1) == 0);
        check(!accessible(page(&mem, 0)));
        for (i = 0; i < CHILDREN; i++) {
            check(child_peek(&children[i], 0) == -1, "round %d, child %d",
                  round, i);
            check(child_peek(&children[i], 1) != -1);
        }
        check(guest_peek(&mem, 0) == expected + CHILDREN);
        check(guest_poke(&mem, 0, expected + CHILDREN + 1) == 0);
        check(to_shared(&mem, 0, 1) == 0);
        check(peek(page(&mem, 0)) == expected + CHILDREN + 1);
    }
    for (i = 0; i < CHILDREN; i++) {
        check(child_end(&children[i]));
    }

    /* A child that is given the file can convert, too. */
    fflush(stdout);
    pid = fork();
    if (!pid) {
        _exit(to_private(&mem, 1, 2) ? 1 : 0);
    }
    check(waitpid(pid, &i, 0) == pid && i == 0);
    check(accessible(page(&mem, 0)) && !accessible(page(&mem, 1)) &&
          !accessible(page(&mem, 2)) && accessible(page(&mem, 3)));
    mem_destroy(&mem);
    vm_destroy(&vm);
}
