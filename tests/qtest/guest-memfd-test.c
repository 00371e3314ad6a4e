/*
 * QTest: memory-backend-guest-memfd
 *
 * Memory of KVM needs a KVM that has it.  Where there is none, the tests that
 * need it are skipped.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest-memfd/helpers.h"
#include "guest-memfd/tests.h"

typedef struct Test {
    const char *path;
    void (*run)(void);
} Test;

static const Test tests[] = {
    { "guest-memfd/create", test_create },
    { "guest-memfd/query", test_query },
    { "guest-memfd/mem-merge", test_mem_merge },
    { "guest-memfd/prealloc", test_prealloc },
    { "guest-memfd/prealloc-late", test_prealloc_late },
    { "guest-memfd/host-nodes", test_host_nodes },

    { "guest-memfd/refused/over-qmp", test_refused_over_qmp },
    { "guest-memfd/refused/hugetlb", test_hugetlb_refused },
    { "guest-memfd/refused/change", test_no_change },
    { "guest-memfd/refused/used-twice", test_used_twice },
    { "guest-memfd/refused/size-differs", test_size_differs },

    { "guest-memfd/hotplug", test_hotplug },
    { "guest-memfd/main-memory", test_main_memory },
    { "guest-memfd/numa", test_numa },
    { "guest-memfd/last-machine-counts", test_last_machine_counts },

    { "guest-memfd/migration/postcopy", test_postcopy },
    { "guest-memfd/migration/background-snapshot", test_background_snapshot },
    { "guest-memfd/migration/cpr", test_cpr },
};

static void run_with_guest_memfd(const void *data)
{
    const Test *test = data;

    if (!skip_without_guest_memfd()) {
        test->run();
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (int i = 0; i < G_N_ELEMENTS(tests); i++) {
        qtest_add_data_func(tests[i].path, &tests[i], run_with_guest_memfd);
    }
    add_tests_of_refusals_at_startup();
    qtest_add_func("guest-memfd/refused/without-kvm", test_without_kvm);
    qtest_add_func("guest-memfd/idle-memory", test_idle_memory);

    return g_test_run();
}
