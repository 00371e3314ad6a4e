/*
 * Tests of converting, punching and mapping memory while it is accessed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "huge.h"
#include "pool.h"
#include "race.h"
#include "tap.h"
#include "tests.h"

enum { RACE_ROUNDS = 1000, CONVERTERS = 2 };

/* Around the place where two huge pages, or two halves of one, meet. */
static void begin(void)
{
    race_begin();
    huge_create(&race.mem, &race.vm, order == ORDER_2M ? 3 : 2,
                order == ORDER_2M ? FLAG_INIT_SHARED : 0);
    race.npages = 2 * PAGES_2M;
    race.first = order == ORDER_2M ? PAGES_2M / 2 : hpages - race.npages / 2;
}

static void *converter(void *arg)
{
    unsigned int seed = (intptr_t)arg;
    bool ok = true;

    while (ok && !race_over()) {
        size_t first = race.first + rand_r(&seed) % race.npages;
        size_t n = 1 + rand_r(&seed) % (race.first + race.npages - first);

        /* Single pages keep huge pages split; all of them merges them. */
        if (rand_r(&seed) % 2) {
            n = 1;
        } else if (!(rand_r(&seed) % 8)) {
            first = order == ORDER_2M ? 0 : race.first;
            n = order == ORDER_2M ? race.mem.npages : race.npages;
        }
        ok = race_convert(&seed, first, n);
    }
    return NULL;
}

/* Does to a mapping what can be done to a mapping. */
static void *mapper(void *arg)
{
    size_t size = race.npages * PAGE;
    char *map, *moved;
    pid_t pid;
    int i;

    for (i = 0; !race_over(); i++) {
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, race.mem.fd,
                   race.first * PAGE);
        if (!check(map != MAP_FAILED)) {
            break;
        }
        accessible(map);
        /* Fails where memory is private. */
        mlock(map, 16 * PAGE);
        accessible(map + size - PAGE);
        check(!madvise(map + size / 2, size / 2, MADV_DONTNEED));
        accessible(map + size - PAGE);
        if (!(i % 8)) {
            pid = fork();
            if (!pid) {
                accessible(map);
                _exit(0);
            }
            check(waitpid(pid, NULL, 0) == pid);
        }
        moved = mremap(map, size, size / 2, 0);
        check(moved == map);
        accessible(moved);
        munmap(moved, size / 2);
    }
    return NULL;
}

static void run_race(bool host)
{
    int i;

    begin();
    for (i = 0; i < CONVERTERS; i++) {
        race_spawn(converter, i + 1);
    }
    if (host) {
        race_spawn(race_toucher, 99);
        race_spawn(mapper, 0);
        race_spawn(race_pinner, 0);
    }
    race_let_vcpus_count(RACE_ROUNDS);
    race_await(&race.conversions);
    if (host) {
        race_await(&race.reads);
    }
    race_stop();
    race_check_counts();
    race_end();
}

void test_race_vcpus(void)
{
    run_race(false);
}

void test_race_host(void)
{
    run_race(true);
}

static void *puncher(void *arg)
{
    unsigned int seed = (intptr_t)arg;
    int i;

    /* It takes its time to zero 1 GiB, again and again. */
    for (i = 0; !race_over() && (order == ORDER_2M || i < 8 ||
                                 !race_has(&race.punched)); i++) {
        size_t nr = race.mem.npages / hpages;
        size_t first = rand_r(&seed) % nr;
        size_t n = 1 + rand_r(&seed) % (nr - first);

        if (rand_r(&seed) % 2) {
            check(allocate(race.mem.fd, first * hsize, n * hsize) == 0);
        } else if (!punch(race.mem.fd, first * hsize, n * hsize)) {
            race_count(&race.punched);
        } else {
            check(errno == EAGAIN, "punch");
        }
    }
    return NULL;
}

/*
 * Every page holds zero or its own number, as nobody writes anything else,
 * whoever converts, punches and maps it meanwhile.
 */
static void *guest_writer(void *arg)
{
    int n = (intptr_t)arg;
    struct vm *vm = &race.vm;
    unsigned int seed = n + 40;

    while (!race_over()) {
        size_t p = race.first + rand_r(&seed) % race.npages;
        struct kvm_regs regs;
        bool write = rand_r(&seed) % 2;
        int r = vcpu_run(vm, n, write ? GUEST(write) : GUEST(read), 0,
                         DATA_GPA + p * PAGE, p, 0);

        /* MMIO while there is no memslot, or a state that was just changed. */
        if (r) {
            check(r == KVM_EXIT_MMIO || r == -EAGAIN ||
                  (r == -EFAULT &&
                   vm->run[n]->exit_reason == EXIT_MEMORY_FAULT),
                  "guest: %d, exit %u, suberror %u", r,
                  vm->run[n]->exit_reason, vm->run[n]->internal.suberror);
            race_count(&race.spurious);
            continue;
        }
        if (!write && !ioctl(vm->vcpu[n], KVM_GET_REGS, &regs)) {
            check((uint32_t)regs.rax == 0 || (uint32_t)regs.rax == p,
                  "guest, page %zu: %llx", p, regs.rax);
        }
    }
    return NULL;
}

static void *reader(void *arg)
{
    unsigned int seed = (intptr_t)arg;

    while (!race_over()) {
        size_t p = race.first + rand_r(&seed) % race.npages;
        int64_t got = peek(page(&race.mem, p));

        if (got != -1) {
            race_count(&race.reads);
            check(got == 0 || got == p, "host, page %zu: %llx", p,
                  (long long)got);
        }
    }
    return NULL;
}

void test_race_memslots(void)
{
    int i;

    begin();
    race_spawn(puncher, 5);
    race_spawn(converter, 3);
    race_spawn(converter, 4);
    race_spawn(reader, 5);
    for (i = 0; i < RACE_VCPUS; i++) {
        race_spawn(guest_writer, i);
    }
    race_rebind(order == ORDER_2M ? 200 : 20);
    race_await(&race.conversions);
    race_await(&race.punched);
    race_stop();
    race_end();
}

static bool touched;

static void *first_toucher(void *mem)
{
    check(guest_poke(mem, 0, 1) == 0);
    __atomic_store_n(&touched, true, __ATOMIC_RELAXED);
    return NULL;
}

/* Others don't wait while a huge page is zeroed. */
void test_first_touch(void)
{
    struct pool before, now;
    size_t n = hpages + 5;
    pthread_t thread;
    struct mem mem;
    struct vm vm;
    int i;

    if (order == ORDER_2M) {
        tap_skip("it takes no time to zero so little");
        return;
    }
    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, 2, FLAG_INIT_SHARED);
    check(poke(page(&mem, n), 2));
    pool_read(&before);
    touched = false;
    pthread_create(&thread, NULL, first_toucher, &mem);
    do {
        pool_read(&now);
    } while (now.total[POOL_FREE] == before.total[POOL_FREE] &&
             !__atomic_load_n(&touched, __ATOMIC_RELAXED));
    for (i = 0; i < 100; i++) {
        check(to_private(&mem, n, 1) == 0 && to_shared(&mem, n, 1) == 0);
    }
    check(!__atomic_load_n(&touched, __ATOMIC_RELAXED));
    pthread_join(thread, NULL);
    mem_destroy(&mem);
    vm_destroy(&vm);
}
