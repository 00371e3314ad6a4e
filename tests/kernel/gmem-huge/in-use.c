/*
 * Tests of memory that others hold on to when it is converted or freed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>
#include "child.h"
#include "huge.h"
#include "memory.h"
#include "pin.h"
#include "pool.h"
#include "tap.h"
#include "tests.h"

/* A page in use cannot become private, and no other page cares. */
void test_pinned(void)
{
    size_t nr = order == ORDER_2M ? 4 : 2, last = nr * hpages, i, s;
    enum pin_kind kind;
    struct mem mem;
    struct pin p;
    struct vm vm;
    uint64_t err;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (kind = 0; kind < PIN_KINDS; kind++) {
        const char *name = pin_names[kind];

        for (s = order == ORDER_2M ? 0 : 4 + kind; s < nr_samples;
             s += order == ORDER_2M ? 1 : nr_samples) {
            size_t first = (nr - 1) * hpages;
            size_t n = first + samples[s];

            /* It takes its time to share all of 1 GiB by the page. */
            huge_create(&mem, &vm, nr,
                        order == ORDER_2M ? FLAG_INIT_SHARED : 0);
            for (i = 0; i < nr_samples; i++) {
                check(to_shared(&mem, samples[i], 1) == 0 &&
                      to_shared(&mem, first + samples[i], 1) == 0);
                check(poke(page(&mem, samples[i]), 0x10 + i));
                check(poke(page(&mem, first + samples[i]), 0x50 + i));
            }
            check(pin(&p, kind, page(&mem, n), 1), "%s", name);

            /* The steps before the failing one are converted, it is not. */
            check(convert(&mem, 0, last, true, &err) == -EAGAIN && err ==
                  n * PAGE, "%s, %zu: %llx", name, n, (unsigned long long)err);
            for (i = 0; i < nr_samples; i++) {
                size_t at = first + samples[i];

                check(accessible(page(&mem, samples[i])) == (n < STEP_PAGES));
                check(guest_peek(&mem, samples[i]) == 0x10 + i);
                check(peek(page(&mem, at)) ==
                      (at < n / STEP_PAGES * STEP_PAGES ? -1 : 0x50 + (int)i));
                check(guest_peek(&mem, at) == 0x50 + i);
            }

            /* All others of the huge page can be converted one by one. */
            for (i = 0; i < nr_samples; i++) {
                int r = convert(&mem, first + samples[i], 1, true, &err);

                check(r == (i == s ? -EAGAIN : 0), "%s, %zu", name, i);
                check(err == (i == s ? n * PAGE : SENTINEL));
                check(accessible(page(&mem, first + samples[i])) == (i == s));
            }
            for (i = 0; i < nr_samples; i++) {
                check(to_shared(&mem, first + samples[i], 1) == 0);
            }
            check(n == first || to_private(&mem, first, n - first) == 0);
            check(n + 1 == last || to_private(&mem, n + 1, last - n - 1) == 0);
            check(poke(page(&mem, n), 0x99), "%s", name);

            /* Once it isn't used any more, go on where it failed. */
            check(convert(&mem, first, hpages, true, &err) == -EAGAIN &&
                  err == n * PAGE, "%s", name);
            unpin(&p);
            check(to_private_retry(&mem, err / PAGE / hpages * hpages, hpages,
                                   NULL) == 0, "%s", name);
            check(!accessible(page(&mem, n)));
            check(guest_peek(&mem, n) == 0x99, "%s", name);
            check(!pin(&p, kind, page(&mem, n), 1), "%s, private", name);
            unpin(&p);
            mem_destroy(&mem);
        }
    }
    vm_destroy(&vm);
}

/* A page that was taken when shared, and is in use yet, prevents merging. */
void test_pinned_merge(void)
{
    size_t n = hpages / 2 + 1;
    struct mappings code;
    enum pin_kind kind;
    struct mem mem;
    struct pin p;
    struct vm vm;

    for (kind = 0; kind < PIN_KINDS; kind++) {
        vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
        huge_create(&mem, &vm, 1, 0);
        count_code(&vm, &code);
        check(to_shared(&mem, n, 2) == 0);
        check(poke(page(&mem, n), 0x31) && poke(page(&mem, n + 1), 0x32));
        check(pin(&p, kind, page(&mem, n), 1));
        check(to_private(&mem, n + 1, 1) == 0);
        guest_fill(&mem, 0, hpages, 0x33);
        check_huge_mappings(&vm, &code, 0l, 1l);
        check(to_private(&mem, n, 1) == -EAGAIN);
        unpin(&p);
        check(to_private_retry(&mem, n, 1, NULL) == 0);
        guest_fill(&mem, 0, hpages, 0x34);
        check_huge_mappings(&vm, &code, 1l, 0l);
        mem_destroy(&mem);
        vm_destroy(&vm);
    }
}

/* Huge pages return to the pool when nobody uses them any more. */
void test_pinned_free(void)
{
    size_t n = hpages - 3, i;
    struct pool before;
    enum pin_kind kind;
    struct mem mem;
    struct pin p, q;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    pool_read(&before);
    for (kind = 0; kind < PIN_KINDS; kind++) {
        const char *name = pin_names[kind];

        huge_create(&mem, &vm, 2, 0);
        check(to_shared(&mem, n, 2) == 0);
        check(poke(page(&mem, n), 0x55));
        check(guest_poke(&mem, 0, 0x56) == 0);
        check(guest_poke(&mem, hpages, 0x57) == 0);
        check(pin(&p, kind, page(&mem, n), 1), "%s", name);
        check(punch(mem.fd, 0, hsize) && errno == EAGAIN, "%s", name);
        check(punch(mem.fd, 0, 2 * hsize) && errno == EAGAIN, "%s", name);
        check(peek(page(&mem, n)) == 0x55 && guest_peek(&mem, 0) == 0x56);
        check(blocks(mem.fd) == 2 * (long)hsize / 512);
        check(punch(mem.fd, hsize, hsize) == 0, "%s", name);
        check(guest_peek(&mem, hpages) == 0);
        unpin(&p);
        for (i = 0; i < 1000 && punch(mem.fd, 0, hsize); i++) {
            usleep(1000);
        }
        check(guest_peek(&mem, 0) == 0 && peek(page(&mem, n)) == 0);
        mem_destroy(&mem);
        check(pool_await(&before));

        /* Closed while pages of it are in use, by two users. */
        huge_create(&mem, &vm, 2, FLAG_INIT_SHARED);
        check(poke(page(&mem, 1), 1) && poke(page(&mem, hpages), 2));
        check(pin(&p, kind, page(&mem, n), 1), "%s", name);
        check(pin(&q, kind, page(&mem, n + 1), 2), "%s", name);
        mem_destroy(&mem);
        check(pool_grew(&before, 0, -1, 0), "%s", name);
        unpin(&q);
        unpin(&p);
        check(pool_await(&before), "%s", name);
    }

    /* The pages are what their user left in them until the very end. */
    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    memset(page(&mem, n), 0x66, PAGE);
    check(pin(&p, PIN_VMSPLICE, page(&mem, n), 1));
    mem_destroy(&mem);
    {
        char *buf = malloc(PAGE);

        pool_dirty();
        check(read(p.fd[0], buf, PAGE) == PAGE);
        check(buf[0] == 0x66 && !memcmp(buf, buf + 1, PAGE - 1));
        free(buf);
    }
    unpin(&p);
    check(pool_await(&before));
    vm_destroy(&vm);
}

/* Conversion takes memory away from all processes. */
void test_processes(void)
{
    size_t n = hpages / 2;
    struct child child;
    struct mem mem;
    struct vm vm;
    int round;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, 1, 0);
    check(to_shared(&mem, n, 2) == 0 && poke(page(&mem, n), 0x10));
    child_start(&child, &mem, false);
    for (round = 0; round < 3; round++) {
        check(child_peek(&child, n) == 0x10 + round);
        check(child_peek(&child, n + 1) == round);
        check(to_private(&mem, n, 1) == 0);
        check(child_peek(&child, n) == -1 && !accessible(page(&mem, n)));
        check(to_private(&mem, n + 1, 1) == 0);
        check(child_peek(&child, n + 1) == -1);
        check(guest_peek(&mem, n) == 0x11 + round &&
              guest_peek(&mem, n + 1) == round + 1);
        check(to_shared(&mem, n, 2) == 0);
    }
    check(child_end(&child));
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* What is done to a mapping does not stand in the way of conversion. */
void test_mapping_calls(void)
{
    struct mem mem;
    struct vm vm;
    char *moved, *away;
    size_t n = hpages / 2;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, 1, 0);
    check(to_shared(&mem, n, 16) == 0);
    check(!mlock(page(&mem, n), 16 * PAGE));
    check(poke(page(&mem, n), 1) && poke(page(&mem, n + 15), 2));
    check(to_private(&mem, n, 8) == 0, "mlock");
    check(!accessible(page(&mem, n)) && peek(page(&mem, n + 15)) == 2);
    check(!munlock(page(&mem, n), 16 * PAGE));

    away = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    moved = mremap(page(&mem, n), 16 * PAGE, 16 * PAGE,
                   MREMAP_MAYMOVE | MREMAP_FIXED, away);
    check(moved == away);
    check(!accessible(moved) && peek(moved + 15 * PAGE) == 2);
    check(to_private(&mem, n, 16) == 0, "mremap");
    check(!accessible(moved + 15 * PAGE));
    check(to_shared(&mem, n, 1) == 0 && peek(moved) == 1);

    check(!madvise(moved, 16 * PAGE, MADV_DONTNEED));
    check(peek(moved) == 1 && !accessible(moved + PAGE));
    check(!mprotect(moved, 16 * PAGE, PROT_READ));
    check(peek(moved) == 1);
    check(to_private(&mem, 0, hpages) == 0);
    check(!accessible(moved) && guest_peek(&mem, n + 15) == 2);
    munmap(moved, 16 * PAGE);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Memory that is locked is given back, too. */
void test_locked(void)
{
    struct pool before;
    struct mem mem;
    struct vm vm;
    int i;

    for (i = 0; i < 2; i++) {
        vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
        pool_read(&before);
        huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
        check(!mlock(mem.map, 16 * PAGE));
        check(poke(page(&mem, 1), 1));
        if (i) {
            check(to_private(&mem, 0, hpages) == 0);
        }
        mem_destroy(&mem);
        check(pool_is(&before));
        vm_destroy(&vm);
    }
}
