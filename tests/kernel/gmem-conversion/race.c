/*
 * Tests of converting, punching and binding memory while it is accessed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <pthread.h>
#include <stdlib.h>
#include "memory.h"
#include "pin.h"
#include "tap.h"
#include "tests.h"

/*
 * Concurrency.  vCPUs count in pages of their own, which converters flip all
 * the time.  No count may be lost, whatever races with it.
 */
enum { RACE_PAGES = 16, RACE_ROUNDS = 300, RACE_VCPUS = 2, CONVERTERS = 3 };

static struct {
    struct mem mem;
    bool stop;
    unsigned int conversions;
    unsigned int retries;
    unsigned int spurious;
    unsigned int touched;
} race;

static void *race_vcpu(void *arg)
{
    int n = (intptr_t)arg;
    struct vm *vm = race.mem.vm;
    int r = vcpu_count(vm, n, DATA_GPA + n * RACE_PAGES * PAGE, RACE_PAGES,
                       RACE_ROUNDS, &race.spurious);

    check(r == 0, "vCPU %d: %d, port 0x%x", n, r, vm->run[n]->io.port);
    return NULL;
}

static void *race_converter(void *arg)
{
    unsigned int seed = (intptr_t)arg;
    int total = RACE_VCPUS * RACE_PAGES;

    while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
        int first = rand_r(&seed) % total;
        int n = 1 + rand_r(&seed) % (total - first);
        int r;

        if (rand_r(&seed) % 2) {
            r = to_private_retry(&race.mem, first, n, &race.retries);
        } else {
            r = to_shared(&race.mem, first, n);
        }
        if (!check(r == 0, "converter: %d", r)) {
            break;
        }
        __atomic_add_fetch(&race.conversions, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Reads only, and takes a SIGBUS for what it is. */
static void *race_toucher(void *arg)
{
    unsigned int seed = (intptr_t)arg;

    while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
        int n = rand_r(&seed) % (RACE_VCPUS * RACE_PAGES);

        if (accessible(page(&race.mem, n))) {
            __atomic_add_fetch(&race.touched, 1, __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void run_race(bool touch)
{
    pthread_t vcpus[RACE_VCPUS], others[CONVERTERS + 1];
    struct vm vm;
    int i, nr = 0;

    memset(&race, 0, sizeof(race));
    vm_create(&vm, VM_TYPE_SW_PROTECTED, RACE_VCPUS);
    mem_create(&race.mem, &vm, RACE_VCPUS * RACE_PAGES, FLAG_INIT_SHARED);

    for (i = 0; i < CONVERTERS; i++) {
        pthread_create(&others[nr++], NULL, race_converter,
                       (void *)(intptr_t)(i + 1));
    }
    if (touch) {
        pthread_create(&others[nr++], NULL, race_toucher, (void *)99);
    }
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_create(&vcpus[i], NULL, race_vcpu, (void *)(intptr_t)i);
    }
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_join(vcpus[i], NULL);
    }
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    for (i = 0; i < nr; i++) {
        pthread_join(others[i], NULL);
    }

    check(to_shared(&race.mem, 0, RACE_VCPUS * RACE_PAGES) == 0);
    for (i = 0; i < RACE_VCPUS * RACE_PAGES; i++) {
        check(peek(page(&race.mem, i)) == RACE_ROUNDS, "page %d: %lld", i,
              (long long)peek(page(&race.mem, i)));
    }
    check(race.conversions > 0);
    printf("# %u conversions, %u retries, %u memory faults, %u reads\n",
           race.conversions, race.retries, race.spurious, race.touched);
    mem_destroy(&race.mem);
    vm_destroy(&vm);
}

void test_race_vcpus(void)
{
    run_race(false);
}

void test_race_vcpus_and_host(void)
{
    run_race(true);
}

/* After a conversion to private, the host has no access, at once. */
static void *race_pinner(void *arg)
{
    struct mem *mem = arg;
    struct pin p;
    unsigned int i = 0;

    while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
        /* Either pins the page or finds it private. */
        pin(&p, i++ % 4 ? PIN_VMSPLICE : PIN_IO_URING, page(mem, 0), 1);
        unpin(&p);
    }
    return NULL;
}

void test_race_host(void)
{
    pthread_t toucher, pinner;
    unsigned int retries = 0;
    struct mem mem;
    struct vm vm;
    int i;

    memset(&race, 0, sizeof(race));
    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, RACE_VCPUS * RACE_PAGES, FLAG_INIT_SHARED);
    race.mem = mem;
    pthread_create(&toucher, NULL, race_toucher, (void *)7);
    pthread_create(&pinner, NULL, race_pinner, &mem);
    for (i = 0; i < 300; i++) {
        check(to_private_retry(&mem, 0, 4, &retries) == 0);
        check(!accessible(page(&mem, i % 4)));
        check(guest_peek(&mem, 0) == i);
        check(guest_poke(&mem, 0, i + 1) == 0);
        check(to_shared(&mem, 0, 4) == 0);
        check(peek(page(&mem, 0)) == i + 1);
    }
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    pthread_join(toucher, NULL);
    pthread_join(pinner, NULL);
    printf("# %u retries, %u reads\n", retries, race.touched);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Punching, allocating and rebinding while memory is converted. */
static void *race_puncher(void *arg)
{
    unsigned int seed = 5;
    struct mem *mem = arg;

    while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
        int first = rand_r(&seed) % mem->npages;
        int n = 1 + rand_r(&seed) % (mem->npages - first);

        if (rand_r(&seed) % 2) {
            check(punch(mem->fd, first * PAGE, n * PAGE) == 0);
        } else {
            check(allocate(mem->fd, first * PAGE, n * PAGE) == 0);
        }
    }
    return NULL;
}

static void *race_rebinder(void *arg)
{
    struct mem *mem = arg;
    int i;

    for (i = 0; i < 200; i++) {
        check(!set_region(mem->vm, 1, DATA_GPA, 0, mem->map, mem->fd, 0));
        check(!set_region(mem->vm, 1, DATA_GPA, mem->npages * PAGE, mem->map,
                          mem->fd, 0));
    }
    return NULL;
}

static void *race_reader(void *arg)
{
    struct mem *mem = arg;
    unsigned int i;

    for (i = 0; !__atomic_load_n(&race.stop, __ATOMIC_RELAXED); i++) {
        int64_t v = guest_peek(mem, i % mem->npages);

        /* MMIO while there is no memslot, or a state that was just changed. */
        if (!check(v >= 0 || v == -1000 - KVM_EXIT_MMIO ||
                   (v == -EFAULT &&
                    mem->vm->run[0]->exit_reason == EXIT_MEMORY_FAULT),
                   "guest: %lld, exit %u", (long long)v,
                   mem->vm->run[0]->exit_reason)) {
            break;
        }
    }
    return NULL;
}

void test_race_memslots(void)
{
    pthread_t threads[5];
    struct mem mem;
    struct vm vm;
    int i;

    memset(&race, 0, sizeof(race));
    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, RACE_VCPUS * RACE_PAGES, FLAG_INIT_SHARED);
    race.mem = mem;
    pthread_create(&threads[0], NULL, race_rebinder, &mem);
    pthread_create(&threads[1], NULL, race_puncher, &mem);
    pthread_create(&threads[2], NULL, race_reader, &mem);
    pthread_create(&threads[3], NULL, race_converter, (void *)3);
    pthread_create(&threads[4], NULL, race_toucher, (void *)4);
    pthread_join(threads[0], NULL);
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    for (i = 1; i < 5; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("# %u conversions, %u retries, %u reads\n", race.conversions,
           race.retries, race.touched);
    mem_destroy(&mem);
    vm_destroy(&vm);
}
