/*
 * Tests of converting, punching and binding memory while it is accessed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>
#include "race.h"
#include "tap.h"
#include "tests.h"

enum { RACE_PAGES = 32, RACE_ROUNDS = 300, CONVERTERS = 3 };

static void begin(void)
{
    race_begin();
    mem_create(&race.mem, &race.vm, RACE_PAGES, FLAG_INIT_SHARED);
    race.npages = RACE_PAGES;
}

/* Pages in which vCPUs count are flipped all the time. */
static void run_race(bool touch)
{
    int i;

    begin();
    for (i = 0; i < CONVERTERS; i++) {
        race_spawn(race_converter, i + 1);
    }
    if (touch) {
        race_spawn(race_toucher, 99);
    }
    race_let_vcpus_count(RACE_ROUNDS);
    race_await(&race.conversions);
    race_stop();
    race_check_counts();
    check(!race.spurious, "%u memory faults", race.spurious);
    race_end();
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
void test_race_host(void)
{
    struct mem *mem = &race.mem;
    int i;

    begin();
    race_spawn(race_toucher, 7);
    race_spawn(race_pinner, 0);
    for (i = 0; i < 300; i++) {
        check(to_private_retry(mem, 0, 4, &race.retries) == 0);
        check(!accessible(page(mem, i % 4)));
        check(guest_peek(mem, 0) == i);
        check(guest_poke(mem, 0, i + 1) == 0);
        check(to_shared(mem, 0, 4) == 0);
        check(peek(page(mem, 0)) == i + 1);
    }
    race_stop();
    race_end();
}

static void *puncher(void *arg)
{
    unsigned int seed = (intptr_t)arg;

    while (!race_over()) {
        size_t first = rand_r(&seed) % RACE_PAGES;
        size_t n = 1 + rand_r(&seed) % (RACE_PAGES - first);

        if (rand_r(&seed) % 2) {
            check(punch(race.mem.fd, first * PAGE, n * PAGE) == 0);
            race_count(&race.punched);
        } else {
            check(allocate(race.mem.fd, first * PAGE, n * PAGE) == 0);
        }
    }
    return NULL;
}

static void *guest_reader(void *unused)
{
    struct kvm_run *run = race.vm.run[0];
    bool ok = true;
    size_t i;

    for (i = 0; ok && !race_over(); i++) {
        int64_t v = guest_peek(&race.mem, i % RACE_PAGES);

        /* MMIO while there is no memslot, or a state that was just changed. */
        ok = check(v >= 0 || v == -1000 - KVM_EXIT_MMIO ||
                   (v == -EFAULT && run->exit_reason == EXIT_MEMORY_FAULT),
                   "guest: %lld, exit %u", (long long)v, run->exit_reason);
    }
    return NULL;
}

/* Punching, allocating and rebinding while memory is converted. */
void test_race_memslots(void)
{
    begin();
    race_spawn(puncher, 5);
    race_spawn(guest_reader, 0);
    race_spawn(race_converter, 3);
    race_spawn(race_toucher, 4);
    race_rebind(200);
    race_stop();
    race_end();
}
