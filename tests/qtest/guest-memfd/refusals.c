/*
 * QTest: memory-backend-guest-memfd, what is refused
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "helpers.h"
#include "tests.h"

typedef struct Refusal {
    const char *name;
    const char *props;
    /* The same, corrected. */
    const char *corrected;
    /* Patterns for g_pattern_match_simple(). */
    const char *text;
    const char *hint;
} Refusal;

static const Refusal refusals[] = {
    {
        .name = "share-off",
        .props = "'size': 4096, 'share': false",
        .corrected = "'size': 4096, 'share': true",
        .text = REFUSES("share", "off") "a guest_memfd can be mapped shared "
                "only",
        .hint = "Leave 'share' out, its default is 'on'.",
    }, {
        .name = "merge-on",
        .props = "'size': 4096, 'merge': true",
        .corrected = "'size': 4096, 'merge': false",
        .text = REFUSES("merge", "on") "the host kernel cannot merge this "
                "memory",
        .hint = "Leave 'merge' out, its default is 'off'.",
    }, {
        .name = "size-zero",
        .props = "'size': 0",
        .corrected = "'size': 4096",
        .text = REFUSES("size", "0") "a memory backend cannot be empty",
        .hint = "Give the amount of memory: size=1G",
    }, {
        .name = "size-missing",
        .props = "'share': true",
        .corrected = "'share': true, 'size': 4096",
        .text = "*Parameter 'size' is missing",
        .hint = "",
    }, {
        .name = "size-unaligned",
        .props = "'size': 4097",
        .corrected = "'size': 8192",
        .text = REFUSES("size", "4097") "it is not a multiple of the page size "
                "4 KiB",
        .hint = "The next multiple is 8192.",
    }, {
        .name = "size-without-next-multiple",
        .props = "'size': 18446744073709551615",
        .corrected = "'size': 4096",
        .text = REFUSES("size", "18446744073709551615") "it is not a multiple "
                "of the page size 4 KiB",
        .hint = "Use a smaller 'size'.",
    }, {
        .name = "size-beyond-kernel",
        .props = "'size': 9223372036854775808",
        .corrected = "'size': 4096",
        .text = "cannot create " TYPE " with size '8 EiB', hugetlb 'off', "
                "pages of 4 KiB: KVM refuses the guest_memfd: "
                "Invalid argument",
        .hint = "Use a smaller 'size'.",
    }, {
        .name = "size-beyond-address-space",
        .props = "'size': 1152921504606846976",
        .corrected = "'size': 4096",
        .text = "cannot create " TYPE " with size '1 EiB', hugetlb 'off', "
                "pages of 4 KiB: unable to map backing store for guest RAM: "
                "Cannot allocate memory",
        .hint = "Use a smaller 'size'.",
    }, {
        .name = "prealloc-beyond-host",
        .props = "'size': 17592186044416, 'prealloc': true",
        .corrected = "'size': 4096, 'prealloc': true",
        .text = REFUSES("prealloc", "on")
                "'size' is 16 TiB, but the host has only * available",
        .hint = "Use a smaller 'size', or prealloc=off to allocate what the "
                "guest touches.",
    }, {
        .name = "prealloc-threads-zero",
        .props = "'size': 4096, 'prealloc': true, 'prealloc-threads': 0",
        .corrected = "'size': 4096, 'prealloc': true, 'prealloc-threads': 1",
        .text = REFUSES("prealloc-threads", "0") "preallocation needs a thread",
        .hint = "Leave 'prealloc-threads' out to get one thread for each "
                "processor of the guest.",
    }, {
        .name = "prealloc-no-reserve",
        .props = "'size': 4096, 'prealloc': true, 'reserve': false",
        .corrected = "'size': 4096, 'reserve': false",
        .text = "'prealloc=on' and 'reserve=off' are incompatible",
        .hint = "Leave one of them out.",
    }, {
        .name = "policy-without-host-nodes",
        .props = "'size': 4096, 'policy': 'bind'",
        .corrected = "'size': 4096",
        .text = "host-nodes must be set for policy bind",
        .hint = "Add host-nodes=0 or other nodes of the host, or leave "
                "'policy' out.",
    }, {
        .name = "host-nodes-without-policy",
        .props = "'size': 4096, 'host-nodes': [0]",
        .corrected = "'size': 4096, 'host-nodes': [0], 'policy': 'preferred'",
        .text = "host-nodes must be empty for policy default, or you should "
                "explicitly specify a policy other than default",
        .hint = "Add policy=bind, preferred or interleave, or leave "
                "'host-nodes' out.",
    }, {
        .name = "host-node-unknown",
        .props = "'size': 4096, 'host-nodes': [0, 127], 'policy': 'bind'",
        .corrected = "'size': 4096, 'host-nodes': [0], 'policy': 'bind'",
        .text = REFUSES("host-nodes", "127") "the host has no memory on such a "
                "node",
        .hint = "The nodes with memory are in "
                "/sys/devices/system/node/has_memory.",
    }, {
        .name = "host-node-beyond-all",
        .props = "'size': 4096, 'host-nodes': [0, 128], 'policy': 'bind'",
        .corrected = "'size': 4096, 'host-nodes': [0], 'policy': 'bind'",
        .text = REFUSES("host-nodes", "128") "there are no more than 128 nodes",
        .hint = "The nodes with memory are in "
                "/sys/devices/system/node/has_memory.",
    }, {
        .name = "hugetlbsize-zero",
        .props = "'size': 4096, 'hugetlbsize': 0",
        .corrected = "'size': 4096",
        .text = REFUSES("hugetlbsize", "0") "a page cannot be empty",
        .hint = "Leave 'hugetlbsize' out to get the default size of the host.",
    }, {
        .name = "hugetlbsize-without-hugetlb",
        .props = "'size': 4194304, 'hugetlbsize': 2097152",
        .corrected = "'size': 4194304",
        .text = REFUSES("hugetlbsize", "2 MiB") "'hugetlb' is off",
        .hint = "Add hugetlb=on, or leave 'hugetlbsize' out.",
    }, {
        .name = "hugetlbsize-unknown",
        .props = "'size': 6291456, 'hugetlb': true, 'hugetlbsize': 3145728",
        .corrected = "'size': 6291456",
        .text = REFUSES("hugetlbsize", "3 MiB") "the host has huge pages of *",
        .hint = "Take one of them, or use hugetlb=off.",
    }, {
        .name = "hugetlb-no-reserve",
        .props = "'size': 2097152, 'hugetlb': true, 'reserve': false",
        .corrected = "'size': 2097152, 'reserve': false",
        .text = REFUSES("reserve", "off") "the kernel reserves the huge pages "
                "of a guest_memfd when it creates it",
        .hint = "Leave 'reserve' out, or use hugetlb=off.",
    },
};

/* Runs a QEMU that exits with status 1, and returns what it says. */
static char *run_refused(const char **argv)
{
    char *output;
    int status;

    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL,
                               G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL,
                               NULL, &output, &status, NULL));
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    return output;
}

/* With this, a QEMU that takes what it should refuse does not stay for ever. */
#define STOP "-device", "no-such-device", NULL

/* Starting with such an object fails as a command line does. */
static void check_startup_refused(const char *accel, const Refusal *r)
{
    g_autofree char *json = object_json("m0", r->props);
    const char *argv[] = { qtest_qemu_binary(NULL), "-machine", "none",
                           "-nodefaults", "-display", "none", "-accel", accel,
                           "-object", json, STOP };
    g_autofree char *want = g_strdup_printf("*qemu-system-*: %s\n%s%s",
                                            r->text, r->hint,
                                            *r->hint ? "\n" : "");
    g_autofree char *output = run_refused(argv);

    if (!g_pattern_match_simple(want, output)) {
        g_test_message("QEMU said: %s", output);
        g_test_message("expected:  %s", want);
        g_test_fail();
    }
}

static void test_startup_refused(const void *data)
{
    if (skip_without_guest_memfd()) {
        return;
    }
    check_startup_refused("kvm", data);
}

void add_tests_of_refusals_at_startup(void)
{
    for (int i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_autofree char *path = g_strdup_printf("guest-memfd/refused/%s",
                                                refusals[i].name);

        qtest_add_data_func(path, &refusals[i], test_startup_refused);
    }
}

static void check_refused_over_qmp(QTestState *qts, const Refusal *r)
{
    int fds = count_fds(qts);

    assert_refused(object_add(qts, "m0", r->props), r->text);
    assert_fds_go_back_to(qts, fds);
    object_add_ok(qts, "m0", r->corrected);
    object_del_ok(qts, "m0");
    assert_fds_go_back_to(qts, fds);
}

/* All in one QEMU: to start one takes the emulator seconds. */
void test_refused_over_qmp(void)
{
    QTestState *qts = qtest_init(MACHINE_NONE);

    for (int i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_test_message("%s", refusals[i].name);
        check_refused_over_qmp(qts, &refusals[i]);
    }
    qtest_quit(qts);
}

/* Once a kernel has huge pages for guest_memfd, there is nothing to refuse. */
void test_hugetlb_refused(void)
{
    const uint64_t hugetlb = 1 << 2;
    const Refusal r = {
        .props = "'size': 4194304, 'hugetlb': true, 'hugetlbsize': 2097152",
        .corrected = "'size': 4194304",
        .text = "cannot create " TYPE " with size '4 MiB', hugetlb 'on', pages "
                "of 2 MiB: KVM on this host has no huge pages for guest_memfd: "
                "Invalid argument",
        .hint = "Use hugetlb=off; no released kernel has them yet.",
    };
    QTestState *qts;

    if (!g_file_test("/sys/kernel/mm/hugepages/hugepages-2048kB",
                     G_FILE_TEST_IS_DIR)) {
        g_test_skip("the host has no huge pages of 2 MiB");
        return;
    }
    if (host_has(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED | hugetlb,
                 ctz64(2 * MiB / qemu_real_host_page_size()))) {
        g_test_skip("the host's KVM has huge pages for guest_memfd");
        return;
    }
    check_startup_refused("kvm", &r);
    qts = qtest_init(MACHINE_NONE);
    check_refused_over_qmp(qts, &r);
    qtest_quit(qts);
}

void test_without_kvm(void)
{
    const Refusal r = {
        .props = "'size': 4096",
        .text = TYPE " is memory of KVM, but the accelerator is 'tcg'",
        .hint = "Use -accel kvm, or memory-backend-memfd with another "
                "accelerator.",
    };
    QTestState *qts = qtest_init("-machine none -nodefaults");
    int fds = count_fds(qts);

    assert_refused(object_add(qts, "m0", r.props),
                   TYPE " is memory of KVM, but the accelerator is 'QTest'");
    g_assert_cmpint(count_fds(qts), ==, fds);
    qtest_quit(qts);

    if (!qtest_has_accel("tcg")) {
        g_test_skip("this QEMU has no TCG");
        return;
    }
    check_startup_refused("tcg", &r);
}

static void check_no_change(QTestState *qts, const char *change,
                            const char *text)
{
    g_autofree char *line = g_strdup_printf("qom-set /objects/m0 %s", change);

    assert_hmp_refused(qts, line, text,
                       "Delete the object and create another.");
}

void test_no_change(void)
{
    QTestState *qts = qtest_init(MACHINE_NONE);

    object_add_ok(qts, "m0", "'size': 4096");
    check_no_change(qts, "hugetlb true", "property 'hugetlb' of " TYPE
                    " cannot change any more: the memory exists");
    check_no_change(qts, "hugetlbsize 2097152", "property 'hugetlbsize' of "
                    TYPE " cannot change any more: the memory exists");
    check_no_change(qts, "size 8192", "cannot change property size of " TYPE);
    check_no_change(qts, "share off", "cannot change property share of " TYPE);
    check_no_change(qts, "reserve off", "cannot change property reserve of "
                    TYPE);
    qtest_quit(qts);
}

void test_used_twice(void)
{
    const char *argv[] = { qtest_qemu_binary(NULL), "-machine", "q35",
                           "-nodefaults", "-display", "none", "-S",
                           "-accel", "kvm", "-m", "64M",
                           "-object", TYPE ",id=m0,size=32M",
                           "-numa", "node,memdev=m0",
                           "-numa", "node,memdev=m0", STOP };
    g_autofree char *output = run_refused(argv);

    g_assert_true(g_str_has_suffix(output, ": memory backend m0 can't be used "
                                           "multiple times.\nCreate a memory "
                                           "backend for each use.\n"));
}

void test_size_differs(void)
{
    const char *argv[] = { qtest_qemu_binary(NULL), "-nodefaults",
                           "-machine", "q35,memory-backend=m0",
                           "-display", "none", "-S",
                           "-accel", "kvm", "-m", "64M",
                           "-object", TYPE ",id=m0,size=32M", STOP };
    g_autofree char *output = run_refused(argv);

    g_assert_true(g_str_has_suffix(output, ": Machine memory size does not "
                                           "match the size of the memory "
                                           "backend\nGive -m the 'size' of "
                                           "the backend, 32 MiB, or leave -m "
                                           "out.\n"));
}
