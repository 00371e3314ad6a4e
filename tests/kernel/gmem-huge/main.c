/*
 * Tests of guest_memfd with huge pages, for the kernel that they run on
 *
 * To be built as a static program that needs nothing but a C library, and to
 * be run as root in the lab, with kvm.gmem_in_place_conversion on and a pool of
 * huge pages.  Output is TAP.
 *
 *     gcc -O2 -Wall -static -pthread -I.. -o gmem-huge *.c \
 *         ../{child,files,memory,pin,pool,race,tap,vm}.c
 *     ./gmem-huge 2M|1G [NAME...]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "huge.h"
#include "memory.h"
#include "pool.h"
#include "tap.h"
#include "tests.h"

static const struct test tests[] = {
    { "arguments", test_arguments },
    { "file", test_file },
    { "allocation", test_allocation },
    { "exhaustion", test_exhaustion },
    { "lendable", test_lendable },
    { "cgroup", test_cgroup },
    { "numa", test_numa },
    { "init", test_init },
    { "indexing", test_indexing },
    { "unallocated", test_unallocated },
    { "zero", test_zero },
    { "punch", test_punch },
    { "memslots", test_memslots },
    { "mappings", test_mappings },
    { "ordinary", test_ordinary },
    { "host-mappings", test_host_mappings },
    { "vmemmap", test_vmemmap },
    { "misaligned", test_misaligned },
    { "pre-fault", test_pre_fault },
    { "pinned", test_pinned },
    { "pinned-merge", test_pinned_merge },
    { "pinned-free", test_pinned_free },
    { "processes", test_processes },
    { "guest-driven", test_guest_driven },
    { "mapping-calls", test_mapping_calls },
    { "reclaim", test_reclaim },
    { "locked", test_locked },
    { "random", test_random },
    { "race-vcpus", test_race_vcpus },
    { "race-host", test_race_host },
    { "race-memslots", test_race_memslots },
    { "first-touch", test_first_touch },
    { "zerocopy", test_zerocopy },
    { "cycles", test_cycles },
    /* These take pages of 1 GiB from the pool for good. */
    { "poison", test_poison },
    { "poison-ordinary", test_poison_ordinary },
    { "shrink", test_shrink },
};

int main(int argc, char **argv)
{
    const char *reason = kvm_open();
    bool small = argc > 1 && !strcmp(argv[1], "2M");

    if (!small && (argc < 2 || strcmp(argv[1], "1G"))) {
        fprintf(stderr, "usage: %s 2M|1G [NAME...]\n", argv[0]);
        return 2;
    }
    choose_pages(small ? ORDER_2M : ORDER_1G);
    if (!reason && !kvm_parameter("gmem_in_place_conversion")) {
        reason = "in-place conversion is off";
    }
    if (!reason && !pool_init(order)) {
        reason = "the processor has no pages of this size";
    }
    if (reason) {
        printf("1..0 # SKIP %s\n", reason);
        return 0;
    }
    signals_init();
    return tap_run(tests, sizeof(tests) / sizeof(tests[0]), argv + 2);
}
