/*
 * Tests of moving memory while it is used and converted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <sched.h>
#include <stdlib.h>
#include "files.h"
#include "nodes.h"
#include "race.h"
#include "tap.h"
#include "tests.h"

enum { RACE_PAGES = 64, RACE_ROUNDS = 300 };

#define BALANCING   "/proc/sys/kernel/numa_balancing"
#define SCANS       "/sys/kernel/debug/sched/numa_balancing/"

static unsigned int moved;
static long hint_faults;

static void *mover(void *unused)
{
    struct guest_memfd_move move;
    int node;

    for (node = 1; !race_over(); node = !node) {
        nodes_bind(&race.mem, node);
        check(nodes_move(&race.mem, &move) == 0);
        if (move.moved) {
            race_count(&moved);
        }
    }
    return NULL;
}

static void *compacter(void *unused)
{
    long before = read_number("/proc/vmstat", "pgmigrate_success ");

    while (!race_over()) {
        check(write_string("/proc/sys/vm/compact_memory", "1"));
        if (read_number("/proc/vmstat", "pgmigrate_success ") != before) {
            race_count(&moved);
        }
    }
    return NULL;
}

/*
 * Balancing scans a process, has its pages fault for whoever uses them, and
 * moves some, but none that is dirty, as those of a guest_memfd always are.
 */
static void *balancing_watcher(void *unused)
{
    while (!race_over() && read_number("/proc/vmstat", "numa_hint_faults ") <=
           hint_faults) {
        sched_yield();
    }
    race_count(&moved);
    return NULL;
}

static void run_race(void *(*with)(void *))
{
    race_begin();
    mem_create(&race.mem, &race.vm, RACE_PAGES, FLAG_INIT_SHARED);
    race.npages = RACE_PAGES;
    moved = 0;
    race_spawn(race_converter, 1);
    race_spawn(with, 0);
    race_spawn(race_toucher, 99);
    race_let_vcpus_count(RACE_ROUNDS);
    race_await(&race.conversions);
    race_await(&moved);
    race_stop();
    race_check_counts();
    race_end();
}

void test_race_policy(void)
{
    run_race(mover);
}

void test_race_compaction(void)
{
    run_race(compacter);
}

void test_race_balancing(void)
{
    hint_faults = read_number("/proc/vmstat", "numa_hint_faults ");
    check(hint_faults >= 0);
    /* As soon and as often as can be, in milliseconds of the process's time. */
    check(write_string(SCANS "scan_delay_ms", "1"));
    check(write_string(SCANS "scan_period_min_ms", "1"));
    check(write_string(BALANCING, "1"));
    run_race(balancing_watcher);
    check(write_string(BALANCING, "0"));
    printf("# %ld hinting faults of the process\n",
           read_number("/proc/vmstat", "numa_hint_faults ") - hint_faults);
}
