/*
 * Tests of in-place conversion in guest_memfd, for the kernel that they run on
 *
 * To be built as a static program that needs nothing but a C library, and to
 * be run as root in the lab.  Output is TAP.  With kvm.gmem_in_place_conversion
 * off, only that the kernel behaves like one that doesn't know it is tested.
 *
 *     gcc -O2 -Wall -static -pthread -I.. -o gmem-conversion *.c \
 *         ../{child,files,memory,pin,race,tap,vm}.c
 *     ./gmem-conversion [NAME...]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "memory.h"
#include "tap.h"
#include "tests.h"

static const struct test tests_on[] = {
    { "capabilities", test_capabilities },
    { "seek", test_seek },
    { "arguments", test_arguments },
    { "init-private", test_init_private },
    { "init-shared", test_init_shared },
    { "indexing", test_indexing },
    { "unallocated", test_unallocated },
    { "many", test_many },
    { "punch", test_punch },
    { "memslots", test_memslots },
    { "pre-fault", test_pre_fault },
    { "same-state", test_same_state },
    { "pinned", test_pinned },
    { "processes", test_processes },
    { "random", test_random },
    { "race-vcpus", test_race_vcpus },
    { "race-vcpus-and-host", test_race_vcpus_and_host },
    { "race-host", test_race_host },
    { "race-memslots", test_race_memslots },
    { "poison", test_poison },
    { "interrupted", test_interrupted },
    { "charged", test_charged },
    { "cycles", test_cycles },
};

static const struct test tests_off[] = {
    { "off", test_off },
};

int main(int argc, char **argv)
{
    const char *reason = kvm_open();

    if (reason) {
        printf("1..0 # SKIP %s\n", reason);
        return 0;
    }
    signals_init();
    if (kvm_parameter("gmem_in_place_conversion")) {
        return tap_run(tests_on, sizeof(tests_on) / sizeof(tests_on[0]),
                       argv + 1);
    }
    return tap_run(tests_off, sizeof(tests_off) / sizeof(tests_off[0]),
                   argv + 1);
}
