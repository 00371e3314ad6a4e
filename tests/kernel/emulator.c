/*
 * Tests of what the lab's emulated processor owes to nested guests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>
#include "tap.h"
#include "vm.h"

enum { RUNS = 200000 };

static bool stop;

static void run_on_cpu(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    check(!sched_setaffinity(0, sizeof(set), &set), "processor %d", cpu);
}

/* Loading the FPU's state used to write to the first processor's flags. */
static void *load_fpu_state(void *arg)
{
    static char area[512] __attribute__((aligned(16)));

    run_on_cpu(1);
    asm volatile("fxsave %0" : "=m" (area));
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        asm volatile("fxrstor %0" : : "m" (area));
    }
    return NULL;
}

/* Entering a guest is not disturbed by what other processors do. */
static void test_entry(void)
{
    pthread_t other;
    struct vm vm;
    int i, r = 0;

    vm_create(&vm, VM_TYPE_DEFAULT, 1);
    run_on_cpu(0);
    pthread_create(&other, NULL, load_fpu_state, NULL);
    for (i = 0; i < RUNS && !r; i++) {
        r = vcpu_run(&vm, 0, GUEST(read), 0, CODE_GPA, 0, 0);
    }
    check(!r, "run %d: %d", i, r);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(other, NULL);
    vm_destroy(&vm);
}

static const struct test tests[] = {
    { "entry", test_entry },
};

int main(int argc, char **argv)
{
    const char *reason = kvm_open();

    if (reason) {
        bail_out("%s", reason);
    }
    return tap_run(tests, sizeof(tests) / sizeof(tests[0]), argv + 1);
}
