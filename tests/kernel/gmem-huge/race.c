/*
 * Tests of converting, punching and mapping memory while it is accessed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "huge.h"
#include "memory.h"
#include "pin.h"
#include "tap.h"
#include "tests.h"

/*
 * Concurrency.  Every page holds zero or its own number, as nobody writes
 * anything else, whoever converts, punches and maps it meanwhile.
 */
enum { RACE_VCPUS = 2, RACE_ROUNDS = 1000, CONVERTERS = 2 };

static struct {
    struct mem mem;
    size_t first, npages;   /* where all happens */
    bool stop;
    unsigned int conversions;
    unsigned int retries;
    unsigned int spurious;
    unsigned int reads;
    unsigned int punched;
} race;

static bool race_over(void)
{
    return __atomic_load_n(&race.stop, __ATOMIC_RELAXED);
}

static void race_count(unsigned int *counter)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static bool race_has(unsigned int *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED) > 0;
}

/* On a busy machine, a thread may not have had a turn yet. */
static void race_await(unsigned int *counter)
{
    while (!race_has(counter) && !tap_failed_checks) {
        sched_yield();
    }
}

/* Around the place where two huge pages, or two halves of one, meet. */
static void race_start(struct vm *vm)
{
    memset(&race, 0, sizeof(race));
    vm_create(vm, VM_TYPE_SW_PROTECTED, RACE_VCPUS);
    huge_create(&race.mem, vm, order == ORDER_2M ? 3 : 2,
                order == ORDER_2M ? FLAG_INIT_SHARED : 0);
    race.npages = 2 * PAGES_2M;
    race.first = order == ORDER_2M ? PAGES_2M / 2 : hpages - race.npages / 2;
}

static void race_end(struct vm *vm)
{
    printf("# %u conversions, %u retries, %u memory faults, %u reads, "
           "%u holes\n", race.conversions, race.retries, race.spurious,
           race.reads, race.punched);
    mem_destroy(&race.mem);
    vm_destroy(vm);
}

static void *race_converter(void *arg)
{
    unsigned int seed = (intptr_t)arg;

    while (!race_over()) {
        size_t first = race.first + rand_r(&seed) % race.npages;
        size_t n = 1 + rand_r(&seed) % (race.first + race.npages - first);
        int r;

        /* Single pages keep huge pages split; all of them merges them. */
        if (rand_r(&seed) % 2) {
            n = 1;
        } else if (!(rand_r(&seed) % 8)) {
            first = order == ORDER_2M ? 0 : race.first;
            n = order == ORDER_2M ? race.mem.npages : race.npages;
        }
        if (rand_r(&seed) % 2) {
            r = to_private_retry(&race.mem, first, n, &race.retries);
        } else {
            r = to_shared(&race.mem, first, n);
        }
        if (!check(r == 0, "converter: %d", r)) {
            break;
        }
        race_count(&race.conversions);
    }
    return NULL;
}

static void *race_vcpu(void *arg)
{
    int n = (intptr_t)arg;
    size_t npages = race.npages / RACE_VCPUS;
    int r = vcpu_count(race.mem.vm, n, DATA_GPA + (race.first + n * npages) *
                       PAGE, npages, RACE_ROUNDS, &race.spurious);

    check(r == 0, "vCPU %d: %d, port 0x%x", n, r,
          race.mem.vm->run[n]->io.port);
    return NULL;
}

/* Reads only, and takes a SIGBUS for what it is. */
static void *race_toucher(void *arg)
{
    unsigned int seed = (intptr_t)arg;

    while (!race_over()) {
        if (accessible(page(&race.mem, race.first +
                            rand_r(&seed) % race.npages))) {
            race_count(&race.reads);
        }
    }
    return NULL;
}

/* Does to a mapping what can be done to a mapping. */
static void *race_mapper(void *arg)
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

/* Either pins a page or finds it private. */
static void *race_pinner(void *arg)
{
    unsigned int i = 0;
    struct pin p;

    while (!race_over()) {
        pin(&p, i % 4 ? PIN_VMSPLICE : PIN_IO_URING,
            page(&race.mem, race.first + i % 4), 1);
        unpin(&p);
        i++;
    }
    return NULL;
}

static void run_race(bool host)
{
    pthread_t vcpus[RACE_VCPUS], others[CONVERTERS + 3];
    struct vm vm;
    size_t i;
    int nr = 0;

    race_start(&vm);
    for (i = 0; i < CONVERTERS; i++) {
        pthread_create(&others[nr++], NULL, race_converter,
                       (void *)(intptr_t)(i + 1));
    }
    if (host) {
        pthread_create(&others[nr++], NULL, race_toucher, (void *)99);
        pthread_create(&others[nr++], NULL, race_mapper, NULL);
        pthread_create(&others[nr++], NULL, race_pinner, NULL);
    }
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_create(&vcpus[i], NULL, race_vcpu, (void *)(intptr_t)i);
    }
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_join(vcpus[i], NULL);
    }
    race_await(&race.conversions);
    if (host) {
        race_await(&race.reads);
    }
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    while (nr) {
        pthread_join(others[--nr], NULL);
    }

    check(to_shared(&race.mem, race.first, race.npages) == 0);
    for (i = race.first; i < race.first + race.npages; i++) {
        int64_t got = peek(page(&race.mem, i));

        if (!check(got == RACE_ROUNDS, "page %zu: %lld", i,
                   (long long)got)) {
            break;
        }
    }
    race_end(&vm);
}

void test_race_vcpus(void)
{
    run_race(false);
}

void test_race_host(void)
{
    run_race(true);
}

static void *race_puncher(void *arg)
{
    unsigned int seed = 5;
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

static void *race_rebinder(void *arg)
{
    struct mem *mem = &race.mem;
    int i;

    for (i = 0; i < (order == ORDER_2M ? 200 : 20); i++) {
        check(!set_region(mem->vm, 1, DATA_GPA, 0, mem->map, mem->fd, 0));
        check(!set_region(mem->vm, 1, DATA_GPA, mem->npages * PAGE, mem->map,
                          mem->fd, 0));
    }
    return NULL;
}

/* Writes pages' numbers, and reads what became of them. */
static void *race_writer(void *arg)
{
    int n = (intptr_t)arg;
    struct vm *vm = race.mem.vm;
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

static void *race_reader(void *arg)
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
    pthread_t threads[8];
    struct vm vm;
    int i, nr = 0;

    race_start(&vm);
    pthread_create(&threads[nr++], NULL, race_rebinder, NULL);
    pthread_create(&threads[nr++], NULL, race_puncher, NULL);
    pthread_create(&threads[nr++], NULL, race_converter, (void *)3);
    pthread_create(&threads[nr++], NULL, race_converter, (void *)4);
    pthread_create(&threads[nr++], NULL, race_reader, (void *)5);
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_create(&threads[nr++], NULL, race_writer, (void *)(intptr_t)i);
    }
    pthread_join(threads[0], NULL);
    race_await(&race.conversions);
    race_await(&race.punched);
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    for (i = 1; i < nr; i++) {
        pthread_join(threads[i], NULL);
    }
    race_end(&vm);
}
