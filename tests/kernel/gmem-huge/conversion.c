/*
 * Tests of what state and contents pages have, before and after conversion
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include "huge.h"
#include "memory.h"
#include "pool.h"
#include "tap.h"
#include "tests.h"

/* The two states, and that contents survive splitting and merging. */
void test_init(void)
{
    struct mem mem;
    struct vm vm;
    size_t s;
    int shared, round;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (shared = 0; shared < 2; shared++) {
        huge_create(&mem, &vm, 1, shared ? FLAG_INIT_SHARED : 0);
        for (s = 0; s < nr_samples; s++) {
            check(accessible(page(&mem, samples[s])) == shared);
            check(poke(page(&mem, samples[s]), 1) == shared);
            check(guest_poke(&mem, samples[s], 0x100 + s) == 0);
        }
        for (round = 0; round < (order == ORDER_2M ? 3 : 1); round++) {
            check(convert(&mem, 0, hpages, shared, NULL) == 0);
            for (s = 0; s < nr_samples; s++) {
                check(peek(page(&mem, samples[s])) ==
                      (shared ? -1 : 0x100 + (int)s));
                check(guest_peek(&mem, samples[s]) == 0x100 + s);
            }
            check(convert(&mem, 0, hpages, !shared, NULL) == 0);
            for (s = 0; s < nr_samples; s++) {
                check(peek(page(&mem, samples[s])) ==
                      (shared ? 0x100 + (int)s : -1));
                check(guest_peek(&mem, samples[s]) == 0x100 + s);
            }
        }
        mem_destroy(&mem);
    }
    vm_destroy(&vm);
}

/* Conversion is by the 4 KiB page, in a huge page as anywhere. */
void test_indexing(void)
{
    struct mem mem;
    struct vm vm;
    size_t n, s;
    int shared;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (shared = 0; shared < 2; shared++) {
        huge_create(&mem, &vm, 1, shared ? FLAG_INIT_SHARED : 0);
        for (s = 0; s < nr_samples; s++) {
            check(guest_poke(&mem, samples[s], 0x100 + s) == 0);
        }
        for (n = 0; n < nr_samples; n++) {
            check(convert(&mem, samples[n], 1, shared, NULL) == 0);
            for (s = 0; s < nr_samples; s++) {
                check(peek(page(&mem, samples[s])) ==
                      ((s == n) != shared ? 0x100 + (int)s : -1),
                      "init %d, page %zu, sample %zu", shared, samples[n], s);
                check(guest_peek(&mem, samples[s]) == 0x100 + s);
            }
            check(convert(&mem, samples[n], 1, !shared, NULL) == 0);
            check(accessible(page(&mem, samples[n])) == shared);
            check(guest_peek(&mem, samples[n]) == 0x100 + n);
        }
        mem_destroy(&mem);
    }
    vm_destroy(&vm);
}

/* What is converted before it is allocated is what it was converted to. */
void test_unallocated(void)
{
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);

    huge_create(&mem, &vm, 2, 0);
    check(to_shared(&mem, 1, 2) == 0 && to_shared(&mem, hpages, hpages) == 0);
    check(blocks(mem.fd) == 0);
    check(!accessible(page(&mem, 0)) && peek(page(&mem, 1)) == 0 &&
          peek(page(&mem, 2)) == 0 && !accessible(page(&mem, 3)) &&
          !accessible(page(&mem, hpages - 1)) &&
          peek(page(&mem, hpages)) == 0 &&
          peek(page(&mem, 2 * hpages - 1)) == 0);
    check(guest_peek(&mem, 0) == 0 && guest_peek(&mem, 1) == 0 &&
          guest_peek(&mem, hpages) == 0);
    mem_destroy(&mem);

    /* One huge page is allocated, the other isn't. */
    huge_create(&mem, &vm, 2, FLAG_INIT_SHARED);
    check(poke(page(&mem, hpages + 1), 0x41));
    check(to_private(&mem, 1, 2 * hpages - 2) == 0);
    check(accessible(page(&mem, 0)) && !accessible(page(&mem, 1)) &&
          !accessible(page(&mem, hpages - 1)) &&
          !accessible(page(&mem, hpages)) &&
          !accessible(page(&mem, hpages + 1)) &&
          accessible(page(&mem, 2 * hpages - 1)));
    check(guest_peek(&mem, hpages + 1) == 0x41 && guest_peek(&mem, 5) == 0);
    check(to_shared(&mem, 1, 2 * hpages - 2) == 0);
    check(peek(page(&mem, hpages + 1)) == 0x41 && peek(page(&mem, 5)) == 0);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* As guest_sees(), for the host, for which 1 GiB takes too many page faults. */
static bool host_sees(struct mem *mem, size_t first, size_t npages,
                      uint32_t value)
{
    size_t i;

    for (i = first; i < first + npages; i += npages > PAGES_2M ? 61 : 1) {
        if (peek(page(mem, i)) != value) {
            return false;
        }
    }
    return true;
}

/* Memory that nobody has written is zero, wherever it comes from. */
void test_zero(void)
{
    struct mem mem;
    struct vm vm;
    size_t n = hpages / 2 + 3;

    /* All of the pool is dirty, and so is what each part leaves behind. */
    pool_dirty();

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);

    huge_create(&mem, &vm, 1, 0);
    check(guest_sees(&mem, 0, hpages, 0), "whole, private");
    guest_fill(&mem, 0, hpages, -1);
    check(punch(mem.fd, 0, hsize) == 0);
    check(guest_sees(&mem, 0, hpages, 0), "punched, private");
    guest_fill(&mem, 0, hpages, -1);
    mem_destroy(&mem);

    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    check(host_sees(&mem, 0, hpages, 0), "split, shared");
    guest_fill(&mem, 0, hpages, -1);
    check(punch(mem.fd, 0, hsize) == 0);
    check(host_sees(&mem, 0, hpages, 0), "punched, shared");
    guest_fill(&mem, 0, hpages, -1);
    mem_destroy(&mem);

    /* A single page was used when the huge page is merged, or none was. */
    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    check(poke(page(&mem, n), 0x77));
    check(to_private(&mem, 0, hpages) == 0);
    check(guest_peek(&mem, n) == 0x77 && guest_poke(&mem, n, 0) == 0);
    check(guest_sees(&mem, 0, hpages, 0), "merged, one page used");
    guest_fill(&mem, 0, hpages, -1);
    mem_destroy(&mem);

    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    check(allocate(mem.fd, 0, hsize) == 0);
    check(to_private(&mem, 0, hpages) == 0);
    check(guest_sees(&mem, 0, hpages, 0), "merged, no page used");
    guest_fill(&mem, 0, hpages, -1);
    mem_destroy(&mem);

    /* Split before it is used, and merged in part. */
    huge_create(&mem, &vm, 1, 0);
    check(allocate(mem.fd, 0, hsize) == 0);
    check(to_shared(&mem, n, 2) == 0);
    check(peek(page(&mem, n)) == 0);
    check(to_private(&mem, n, 1) == 0);
    check(guest_sees(&mem, 0, hpages, 0), "split in part");
    check(host_sees(&mem, n + 1, 1, 0));
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* A hole keeps the state that it had. */
void test_punch(void)
{
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, 2, 0);
    check(to_shared(&mem, 1, hpages) == 0);
    check(poke(page(&mem, 1), 1) && poke(page(&mem, hpages), 2));
    check(guest_poke(&mem, 0, 3) == 0 && guest_poke(&mem, hpages + 1, 4) == 0);

    check(punch(mem.fd, 0, hsize) == 0);
    check(!accessible(page(&mem, 0)) && peek(page(&mem, 1)) == 0);
    check(guest_peek(&mem, 0) == 0 && guest_peek(&mem, 1) == 0);
    check(peek(page(&mem, hpages)) == 2 && guest_peek(&mem, hpages + 1) == 4);

    check(punch(mem.fd, 0, 2 * hsize) == 0);
    check(to_private(&mem, 1, 1) == 0 && to_shared(&mem, hpages + 1, 1) == 0);
    check(!accessible(page(&mem, 1)) && peek(page(&mem, 2)) == 0 &&
          peek(page(&mem, hpages)) == 0 && peek(page(&mem, hpages + 1)) == 0 &&
          !accessible(page(&mem, hpages + 2)));
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* The guest asks, as confidential guests do, and the host converts. */
enum { GUEST_VCPUS = 2, HC_MAP_GPA_RANGE = 12, HC_ENCRYPTED = 1 << 4 };

static struct {
    struct mem mem;
    size_t share;       /* of each vCPU, in pages */
} guest;

static int guest_convert(int n, size_t first, size_t npages, bool private)
{
    struct vm *vm = guest.mem.vm;
    struct kvm_run *run = vm->run[n];
    uint64_t gpa = DATA_GPA + first * PAGE;
    int r = vcpu_run(vm, n, GUEST(hypercall), HC_MAP_GPA_RANGE, gpa, npages,
                     private ? HC_ENCRYPTED : 0);

    if (r != KVM_EXIT_HYPERCALL || run->hypercall.nr != HC_MAP_GPA_RANGE ||
        run->hypercall.args[0] != gpa || run->hypercall.args[1] != npages) {
        return r ?: -1;
    }
    run->hypercall.ret = convert(&guest.mem, first, npages,
                                 run->hypercall.args[2] & HC_ENCRYPTED, NULL);
    return vcpu_resume(vm, n);
}

static void *guest_driven(void *arg)
{
    int n = (intptr_t)arg;
    size_t start = n * guest.share;
    const struct {
        size_t first, npages;
    } ranges[] = {
        { 0, 1 }, { PAGES_2M - 1, 2 }, { 3, PAGES_2M }, { 0, PAGES_2M },
        { PAGES_2M, PAGES_2M }, { 7, 2 * PAGES_2M }, { hpages - 1, 1 },
        { 0, guest.share }, { 1, guest.share - 2 },
    };
    /* It takes its time to share all of 1 GiB by the page. */
    size_t limit = order == ORDER_2M ? -1 : 4 * PAGES_2M, i;

    for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        size_t first = start + ranges[i].first;
        size_t last = first + ranges[i].npages - 1;
        uint32_t tag = 0x1000 * (n + 1) + i;

        if (ranges[i].npages > limit) {
            continue;
        }
        check(vcpu_run(guest.mem.vm, n, GUEST(fill), tag, DATA_GPA +
                       first * PAGE, ranges[i].npages, 0) == 0);
        check(!accessible(page(&guest.mem, first)));
        check(guest_convert(n, first, ranges[i].npages, false) == 0,
              "range %zu", i);
        check(peek(page(&guest.mem, first)) == tag &&
              peek(page(&guest.mem, last)) == tag, "range %zu", i);
        check(first == start || !accessible(page(&guest.mem, first - 1)));
        check(last + 1 == start + guest.share ||
              !accessible(page(&guest.mem, last + 1)));
        check(poke(page(&guest.mem, last), tag + 0x100));
        check(guest_convert(n, first, ranges[i].npages, true) == 0,
              "range %zu", i);
        check(!accessible(page(&guest.mem, first)) &&
              !accessible(page(&guest.mem, last)));
        check(vcpu_run(guest.mem.vm, n, GUEST(compare), tag + 0x100,
                       DATA_GPA + last * PAGE, 1, 0) == 0, "range %zu", i);
    }
    return NULL;
}

void test_guest_driven(void)
{
    struct kvm_enable_cap cap = {
        .cap = CAP_EXIT_HYPERCALL, .args[0] = 1 << HC_MAP_GPA_RANGE,
    };
    pthread_t threads[GUEST_VCPUS];
    struct vm vm;
    size_t half;
    int i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, GUEST_VCPUS);
    check(!ioctl(vm.fd, KVM_ENABLE_CAP, &cap));
    guest.share = order == ORDER_2M ? 3 * hpages : hpages;
    huge_create(&guest.mem, &vm, GUEST_VCPUS * guest.share / hpages, 0);

    /* Two memslots, of which one ends where the other starts. */
    half = guest.mem.npages / 2 * PAGE;
    check(!set_region(&vm, 1, DATA_GPA, 0, guest.mem.map, guest.mem.fd, 0));
    check(!set_region(&vm, 1, DATA_GPA, half, guest.mem.map, guest.mem.fd, 0));
    check(!set_region(&vm, 2, DATA_GPA + half, half, guest.mem.map + half,
                      guest.mem.fd, half));
    for (i = 0; i < GUEST_VCPUS; i++) {
        pthread_create(&threads[i], NULL, guest_driven, (void *)(intptr_t)i);
    }
    for (i = 0; i < GUEST_VCPUS; i++) {
        pthread_join(threads[i], NULL);
    }
    mem_destroy(&guest.mem);
    vm_destroy(&vm);
}

/* Random ranges, compared with a state per page. */
void test_random(void)
{
    size_t nr = order == ORDER_2M ? 3 : 2, npages = nr * hpages;
    /* Pages that are looked at; ranges start or end at or next to them. */
    enum { POINTS = 64 };
    size_t point[POINTS];
    bool private[POINTS];
    uint32_t value[POINTS];
    unsigned int seed = 4711;
    int steps = order == ORDER_2M ? 300 : 24;
    struct mem mem;
    struct vm vm;
    int i, j;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, nr, 0);
    for (j = 0; j < POINTS; j++) {
        point[j] = j % 4 ? rand_r(&seed) % npages :
                   j / 4 % nr * hpages + samples[j / 4 % nr_samples];
        private[j] = true;
        value[j] = 0;
    }
    for (i = 0; i < steps; i++) {
        size_t first = point[rand_r(&seed) % POINTS];
        size_t n = i % 4 ? 1 + rand_r(&seed) % 600 : rand_r(&seed) % npages + 1;
        int what = rand_r(&seed) % 16;

        if (first + n > npages) {
            n = npages - first;
        }
        if (what == 0) {
            first = first / hpages * hpages;
            n = hpages;
            check(punch(mem.fd, first * PAGE, n * PAGE) == 0);
        } else if (what < 4) {
            guest_fill(&mem, first, n, i);
        } else {
            check(convert(&mem, first, n, what % 2, NULL) == 0);
        }
        for (j = 0; j < POINTS; j++) {
            int64_t got;

            if (point[j] >= first && point[j] < first + n) {
                if (what == 0) {
                    value[j] = 0;
                } else if (what < 4) {
                    value[j] = i;
                } else {
                    private[j] = what % 2;
                }
            }
            got = peek(page(&mem, point[j]));
            if (!check(got == (private[j] ? -1 : (int64_t)value[j]),
                       "step %d, page %zu: %lld", i, point[j],
                       (long long)got)) {
                i = steps;
                break;
            }
        }
    }
    for (j = 0; j < POINTS; j++) {
        check(guest_peek(&mem, point[j]) == value[j], "page %zu", point[j]);
    }
    mem_destroy(&mem);
    vm_destroy(&vm);
}
