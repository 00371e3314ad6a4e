/*
 * Threads that do to memory what they can, at the same time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include "pin.h"
#include "race.h"
#include "tap.h"

struct race race;

static struct {
    pthread_t thread[16];
    unsigned int nr_threads;
    bool stop;
    unsigned int rounds;
} self;

void race_begin(void)
{
    memset(&race, 0, sizeof(race));
    memset(&self, 0, sizeof(self));
    vm_create(&race.vm, VM_TYPE_SW_PROTECTED, RACE_VCPUS);
}

void race_end(void)
{
    printf("# %u conversions, %u retries, %u memory faults, %u reads, "
           "%u holes\n", race.conversions, race.retries, race.spurious,
           race.reads, race.punched);
    mem_destroy(&race.mem);
    vm_destroy(&race.vm);
}

void race_spawn(void *(*run)(void *), intptr_t arg)
{
    if (pthread_create(&self.thread[self.nr_threads++], NULL, run,
                       (void *)arg)) {
        bail_out("creating a thread");
    }
}

void race_stop(void)
{
    __atomic_store_n(&self.stop, true, __ATOMIC_RELAXED);
    while (self.nr_threads) {
        pthread_join(self.thread[--self.nr_threads], NULL);
    }
}

bool race_over(void)
{
    return __atomic_load_n(&self.stop, __ATOMIC_RELAXED);
}

void race_count(unsigned int *counter)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

bool race_has(unsigned int *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED) > 0;
}

void race_await(unsigned int *counter)
{
    /* On a busy machine, a thread may not have had a turn yet. */
    while (!race_has(counter) && !tap_failed_checks) {
        sched_yield();
    }
}

bool race_convert(unsigned int *seed, size_t first, size_t npages)
{
    bool private = rand_r(seed) % 2;
    int r = private ?
        to_private_retry(&race.mem, first, npages, &race.retries) :
        to_shared(&race.mem, first, npages);

    race_count(&race.conversions);
    return check(r == 0, "converter: %d", r);
}

void race_rebind(int times)
{
    struct mem *mem = &race.mem;
    int i;

    for (i = 0; i < times; i++) {
        check(!set_region(mem->vm, 1, DATA_GPA, 0, mem->map, mem->fd, 0));
        check(!set_region(mem->vm, 1, DATA_GPA, mem->npages * PAGE, mem->map,
                          mem->fd, 0));
    }
}

static void *counting_vcpu(void *arg)
{
    int n = (intptr_t)arg;
    size_t npages = race.npages / RACE_VCPUS;
    size_t first = race.first + n * npages;
    int r = vcpu_count(&race.vm, n, DATA_GPA + first * PAGE, npages,
                       self.rounds, &race.spurious);

    check(r == 0, "vCPU %d: %d, port 0x%x", n, r, race.vm.run[n]->io.port);
    return NULL;
}

void race_let_vcpus_count(unsigned int rounds)
{
    pthread_t vcpus[RACE_VCPUS];
    size_t i;

    self.rounds = rounds;
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_create(&vcpus[i], NULL, counting_vcpu, (void *)i);
    }
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_join(vcpus[i], NULL);
    }
}

void race_check_counts(void)
{
    size_t i;

    check(to_shared(&race.mem, race.first, race.npages) == 0);
    for (i = race.first; i < race.first + race.npages; i++) {
        int64_t got = peek(page(&race.mem, i));

        if (!check(got == self.rounds, "page %zu: %lld", i, (long long)got)) {
            break;
        }
    }
}

void *race_converter(void *arg)
{
    unsigned int seed = (intptr_t)arg;
    bool ok = true;

    while (ok && !race_over()) {
        size_t first = rand_r(&seed) % race.npages;
        size_t n = 1 + rand_r(&seed) % (race.npages - first);

        ok = race_convert(&seed, race.first + first, n);
    }
    return NULL;
}

void *race_toucher(void *arg)
{
    unsigned int seed = (intptr_t)arg;

    while (!race_over()) {
        size_t n = race.first + rand_r(&seed) % race.npages;

        /* A SIGBUS is fine, too. */
        if (accessible(page(&race.mem, n))) {
            race_count(&race.reads);
        }
    }
    return NULL;
}

void *race_pinner(void *unused)
{
    unsigned int i;
    struct pin p;

    for (i = 0; !race_over(); i++) {
        /* Either pins the page or finds it private. */
        pin(&p, i % 4 ? PIN_VMSPLICE : PIN_IO_URING,
            page(&race.mem, race.first + i % 4), 1);
        unpin(&p);
    }
    return NULL;
}
