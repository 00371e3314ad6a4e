/*
 * Tests of moving guest_memfd memory, for the kernel that they run on
 *
 * To be built as a static program, and to be run as root in a lab of two nodes,
 * with kvm.gmem_in_place_conversion on.  Output is TAP.
 *
 *     gcc -O2 -Wall -static -pthread -I.. -o gmem-move *.c \
 *         ../{files,memory,pin,race,tap,vm}.c
 *     ./gmem-move [NAME...]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "memory.h"
#include "nodes.h"
#include "tap.h"
#include "tests.h"

static const struct test tests[] = {
    { "arguments", test_arguments },
    { "policy", test_policy },
    { "pinned", test_pinned },
    { "move-pages", test_move_pages },
    { "compaction", test_compaction },
    { "offline", test_offline },
    { "cma", test_cma },
    { "race-policy", test_race_policy },
    { "race-compaction", test_race_compaction },
    { "race-balancing", test_race_balancing },
};

int main(int argc, char **argv)
{
    const char *reason = kvm_open();

    if (!reason && !kvm_parameter("gmem_in_place_conversion")) {
        reason = "in-place conversion is off";
    }
    if (!reason && !nodes_are_two()) {
        reason = "the machine has one node";
    }
    if (reason) {
        printf("1..0 # SKIP %s\n", reason);
        return 0;
    }
    signals_init();
    return tap_run(tests, sizeof(tests) / sizeof(tests[0]), argv + 1);
}
