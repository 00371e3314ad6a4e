/*
 * QTest: memory-backend-guest-memfd
 *
 * Memory of KVM needs a KVM that has it.  Where there is none, the tests that
 * need it are skipped.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "libqtest.h"
#include "qapi/error.h"
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "qemu/userfaultfd.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"

#define TYPE "memory-backend-guest-memfd"
#define REFUSES(property, value) \
    "property '" property "' of " TYPE " doesn't take value '" value "': "

#define MAIN_CHANNEL "{'channel-type': 'main', 'addr': {" \
    " 'transport': 'exec', 'args': ['/bin/cat']}}"
#define CPR_CHANNEL "{'channel-type': 'cpr', 'addr': {" \
    " 'transport': 'socket', 'type': 'unix', 'path': '/nonexistent/cpr'}}"

#define MACHINE_NONE "-machine none -nodefaults -accel kvm"

/* ACPI memory hotplug registers, docs/specs/acpi_mem_hotplug.rst */
#define ACPI_MEMORY_BASE 0xa00
#define ACPI_MEMORY_CONTROL (ACPI_MEMORY_BASE + 0x14)
#define ACPI_MEMORY_EJECT 8

static int create_guest_memfd(uint64_t flags, uint8_t page_order)
{
    struct kvm_create_guest_memfd request = {
        .size = qemu_real_host_page_size() << page_order,
        .flags = flags,
    };
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
    int fd = -1;

    *(uint8_t *)request.reserved = page_order;
    if (vm >= 0) {
        fd = ioctl(vm, KVM_CREATE_GUEST_MEMFD, &request);
        close(vm);
    }
    if (kvm >= 0) {
        close(kvm);
    }
    return fd;
}

static bool host_has(uint64_t flags, uint8_t page_order)
{
    int fd = create_guest_memfd(flags, page_order);

    if (fd < 0) {
        return false;
    }
    close(fd);
    return true;
}

static bool skip_without_guest_memfd(void)
{
    if (!qtest_has_accel("kvm")) {
        g_test_skip("this QEMU has no KVM, or the host has no /dev/kvm");
        return true;
    }
    if (!host_has(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED, 0)) {
        g_test_skip("the host's KVM has no guest_memfd with "
                    "GUEST_MEMFD_FLAG_MMAP and GUEST_MEMFD_FLAG_INIT_SHARED");
        return true;
    }
    return false;
}

static char *object_json(const char *id, const char *props)
{
    return g_strdup_printf("{'qom-type': '" TYPE "', 'id': '%s', %s}",
                           id, props);
}

static QDict *object_add(QTestState *qts, const char *id, const char *props)
{
    g_autofree char *json = object_json(id, props);

    return qtest_qmp(qts, "{'execute': 'object-add', 'arguments': %p}",
                     qobject_from_json(json, &error_abort));
}

static void object_add_ok(QTestState *qts, const char *id, const char *props)
{
    QDict *response = object_add(qts, id, props);

    g_assert_true(qdict_haskey(response, "return"));
    qobject_unref(response);
}

static void object_del_ok(QTestState *qts, const char *id)
{
    qtest_qmp_assert_success(qts, "{'execute': 'object-del',"
                                  " 'arguments': {'id': %s}}", id);
}

/* @response is an error whose description matches the pattern @text. */
static void assert_refused(QDict *response, const char *text)
{
    const char *desc;

    g_assert_true(qdict_haskey(response, "error"));
    desc = qdict_get_str(qdict_get_qdict(response, "error"), "desc");
    if (!g_pattern_match_simple(text, desc)) {
        g_test_message("refused with: %s", desc);
        g_test_message("expected:     %s", text);
        g_test_fail();
    }
    qobject_unref(response);
}

/* File descriptors */

static int count_fds(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", qtest_pid(qts));
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    int count = 0;

    while (g_dir_read_name(dir)) {
        count++;
    }
    return count;
}

/*
 * A RAMBlock is freed by the RCU thread, which tells nobody.  Each round trip
 * gives it the time that it needs.
 */
static void assert_fds_go_back_to(QTestState *qts, int count)
{
    gint64 end = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;

    while (count_fds(qts) != count && g_get_monotonic_time() < end) {
        qtest_qmp_assert_success(qts, "{'execute': 'query-status'}");
    }
    g_assert_cmpint(count_fds(qts), ==, count);
}

/* The first file descriptor of @qts that is a guest_memfd. */
static char *find_guest_memfd(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", qtest_pid(qts));
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *link = g_build_filename(path, name, NULL);
        g_autofree char *target = g_file_read_link(link, NULL);

        if (target && strstr(target, "[kvm-gmem]")) {
            return g_strdup(name);
        }
    }
    return NULL;
}

/*
 * Bytes of guest_memfd that are allocated and mapped, summed over all mappings
 * of @qts.  The kernel does not count a guest_memfd's blocks in st_blocks.
 */
static uint64_t resident_guest_memfd(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps", qtest_pid(qts));
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    bool ours = false;
    uint64_t kb, sum = 0;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (int i = 0; lines[i]; i++) {
        if (strstr(lines[i], "-") && strstr(lines[i], " rw-s ")) {
            ours = strstr(lines[i], "[kvm-gmem]");
        }
        if (ours && sscanf(lines[i], "Rss: %" PRIu64, &kb) == 1) {
            sum += kb * KiB;
            ours = false;
        }
    }
    return sum;
}

/* Creation */

static void test_create(void)
{
    g_autofree char *fd = NULL, *path = NULL, *text = NULL;
    unsigned flags;
    QTestState *qts;
    int fds;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init(MACHINE_NONE);
    fds = count_fds(qts);
    g_assert_null(find_guest_memfd(qts));

    object_add_ok(qts, "m0", "'size': 2097152");
    g_assert_cmpint(count_fds(qts), ==, fds + 1);
    g_assert_cmpuint(resident_guest_memfd(qts), ==, 0);
    g_assert_true(qtest_qom_get_bool(qts, "/objects/m0", "share"));
    g_assert_false(qtest_qom_get_bool(qts, "/objects/m0", "merge"));
    g_assert_false(qtest_qom_get_bool(qts, "/objects/m0", "hugetlb"));

    fd = find_guest_memfd(qts);
    g_assert_nonnull(fd);
    path = g_strdup_printf("/proc/%d/fdinfo/%s", qtest_pid(qts), fd);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpint(sscanf(strstr(text, "flags:"), "flags: %o", &flags), ==, 1);
    g_assert_cmphex(flags & O_CLOEXEC, ==, O_CLOEXEC);

    object_del_ok(qts, "m0");
    assert_fds_go_back_to(qts, fds);
    qtest_quit(qts);
}

static void test_query(void)
{
    QTestState *qts;
    QDict *response, *info;
    QList *list;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init(MACHINE_NONE);
    object_add_ok(qts, "m0", "'size': 2097152");
    response = qtest_qmp(qts, "{'execute': 'query-guest-memfd',"
                              " 'arguments': {'map': true}}");
    list = qdict_get_qlist(response, "return");
    g_assert_cmpint(qlist_size(list), ==, 1);
    info = qobject_to(QDict, qlist_peek(list));
    g_assert_nonnull(strstr(qdict_get_str(info, "id"), "m0"));
    g_assert_cmpstr(qdict_get_str(info, "mode"), ==, "shared");
    g_assert_cmpint(qdict_get_int(info, "size"), ==, 2 * MiB);
    g_assert_cmpint(qdict_get_int(info, "page-size"), ==,
                    qemu_real_host_page_size());
    g_assert_cmpint(qdict_get_int(info, "shared"), ==, 2 * MiB);
    g_assert_cmpint(qdict_get_int(info, "private"), ==, 0);
    g_assert_false(qdict_haskey(info, "map"));
    qobject_unref(response);
    qtest_quit(qts);
}

/* Whatever the machine says about merging, this memory is not. */
static void test_mem_merge(void)
{
    QTestState *qts;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init("-machine none,mem-merge=on -nodefaults -accel kvm");
    object_add_ok(qts, "m0", "'size': 4096");
    g_assert_false(qtest_qom_get_bool(qts, "/objects/m0", "merge"));
    assert_refused(qtest_qmp(qts, "{'execute': 'qom-set', 'arguments': {"
                             " 'path': '/objects/m0', 'property': 'merge',"
                             " 'value': true}}"),
                   REFUSES("merge", "on") "the host kernel cannot merge this "
                   "memory");
    qtest_quit(qts);
}

static void test_prealloc(void)
{
    QTestState *qts;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init(MACHINE_NONE);
    object_add_ok(qts, "m0", "'size': 8388608, 'prealloc': true,"
                             " 'prealloc-threads': 2");
    g_assert_cmpuint(resident_guest_memfd(qts), ==, 8 * MiB);
    object_add_ok(qts, "m1", "'size': 4194304");
    g_assert_cmpuint(resident_guest_memfd(qts), ==, 8 * MiB);
    qtest_qom_set_bool(qts, "/objects/m1", "prealloc", true);
    g_assert_cmpuint(resident_guest_memfd(qts), ==, 12 * MiB);
    qtest_quit(qts);
}

/* Too much is refused when the property is set later, too. */
static void test_prealloc_late(void)
{
    QTestState *qts;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init(MACHINE_NONE);
    object_add_ok(qts, "m0", "'size': 17592186044416");
    assert_refused(qtest_qmp(qts, "{'execute': 'qom-set', 'arguments': {"
                             " 'path': '/objects/m0', 'property': 'prealloc',"
                             " 'value': true}}"),
                   REFUSES("prealloc", "on")
                   "'size' is 16 TiB, but the host has only * available");
    g_assert_cmpuint(resident_guest_memfd(qts), ==, 0);
    g_assert_false(qtest_qom_get_bool(qts, "/objects/m0", "prealloc"));
    qtest_quit(qts);
}

static void test_host_nodes(void)
{
    QTestState *qts;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init(MACHINE_NONE);
    object_add_ok(qts, "m0", "'size': 4194304, 'host-nodes': [0],"
                             " 'policy': 'bind', 'prealloc': true");
    g_assert_cmpuint(resident_guest_memfd(qts), ==, 4 * MiB);
    qtest_quit(qts);
}

/* Refusals */

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
static void test_refused_over_qmp(void)
{
    QTestState *qts;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init(MACHINE_NONE);
    for (int i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_test_message("%s", refusals[i].name);
        check_refused_over_qmp(qts, &refusals[i]);
    }
    qtest_quit(qts);
}

/* Once a kernel has huge pages for guest_memfd, there is nothing to refuse. */
static void test_hugetlb_refused(void)
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

    if (skip_without_guest_memfd()) {
        return;
    }
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

static void test_without_kvm(void)
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

/* Unlike QMP, the human monitor shows hints, too. */
static void assert_hmp_refused(QTestState *qts, const char *line,
                               const char *text, const char *hint)
{
    g_autofree char *want = g_strdup_printf("Error: %s\r\n%s\r\n", text, hint);
    g_autofree char *output = qtest_hmp(qts, "%s", line);

    g_assert_cmpstr(output, ==, want);
}

static void check_no_change(QTestState *qts, const char *change,
                            const char *text)
{
    g_autofree char *line = g_strdup_printf("qom-set /objects/m0 %s", change);

    assert_hmp_refused(qts, line, text,
                       "Delete the object and create another.");
}

static void test_no_change(void)
{
    QTestState *qts;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init(MACHINE_NONE);
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

/* Use by machines */

static QDict *first_memory_device(QTestState *qts)
{
    QDict *response = qtest_qmp(qts, "{'execute': 'query-memory-devices'}");
    QList *devices = qdict_get_qlist(response, "return");
    QDict *first = NULL;

    if (!qlist_empty(devices)) {
        first = qobject_to(QDict, qlist_peek(devices));
        first = qobject_ref(qdict_get_qdict(first, "data"));
    }
    qobject_unref(response);
    return first;
}

/* Do what the guest's firmware does after a device_del. */
static void eject_memory(QTestState *qts, unsigned slot)
{
    qtest_outl(qts, ACPI_MEMORY_BASE, slot);
    qtest_outb(qts, ACPI_MEMORY_CONTROL, ACPI_MEMORY_EJECT);
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
}

static void test_hotplug(void)
{
    QTestState *qts;
    QDict *dimm;
    int fds;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init("-machine q35 -nodefaults -S -accel kvm "
                     "-m 128M,slots=2,maxmem=1G");
    fds = count_fds(qts);

    for (int i = 0; i < 2; i++) {
        object_add_ok(qts, "m0", "'size': 134217728");
        qtest_qmp_device_add(qts, "pc-dimm", "d0", "{'memdev': 'm0'}");
        dimm = first_memory_device(qts);
        g_assert_cmpstr(qdict_get_str(dimm, "memdev"), ==, "/objects/m0");
        g_assert_cmpint(qdict_get_int(dimm, "size"), ==, 128 * MiB);
        qtest_writeq(qts, qdict_get_int(dimm, "addr"), 0x1122334455667788);
        g_assert_cmphex(qtest_readq(qts, qdict_get_int(dimm, "addr")), ==,
                        0x1122334455667788);

        assert_refused(qtest_qmp(qts, "{'execute': 'object-del',"
                                      " 'arguments': {'id': 'm0'}}"),
                       "object 'm0' is in use, can not be deleted");
        assert_hmp_refused(qts, "object_del m0",
                           "object 'm0' is in use, can not be deleted",
                           "Remove what uses it first, a device with "
                           "device_del for example.");
        assert_refused(qtest_qmp(qts, "{'execute': 'device_add', 'arguments':"
                                      " {'driver': 'pc-dimm', 'id': 'd1',"
                                      " 'memdev': 'm0'}}"),
                       "can't use already busy memdev: m0");
        assert_hmp_refused(qts, "device_add pc-dimm,id=d1,memdev=m0",
                           "can't use already busy memdev: m0",
                           "Create a memory backend for each device.");

        qtest_qmp_device_del_send(qts, "d0");
        eject_memory(qts, qdict_get_int(dimm, "slot"));
        g_assert_null(first_memory_device(qts));
        object_del_ok(qts, "m0");
        assert_fds_go_back_to(qts, fds);
        qobject_unref(dimm);
    }
    qtest_quit(qts);
}

static void test_main_memory(void)
{
    g_autofree char *fd = NULL;
    QTestState *qts;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init("-machine q35,memory-backend=m0 -nodefaults -S -accel kvm "
                     "-object " TYPE ",id=m0,size=128M");
    fd = find_guest_memfd(qts);
    g_assert_nonnull(fd);
    qtest_writeq(qts, 1 * MiB, 0x1122334455667788);
    g_assert_cmphex(qtest_readq(qts, 1 * MiB), ==, 0x1122334455667788);
    g_assert_cmpuint(resident_guest_memfd(qts), >=, 4 * KiB);
    assert_refused(qtest_qmp(qts, "{'execute': 'object-del',"
                                  " 'arguments': {'id': 'm0'}}"),
                   "object 'm0' is in use, can not be deleted");
    qtest_quit(qts);
}

static void test_numa(void)
{
    g_autofree char *info = NULL;
    QTestState *qts;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init("-machine q35 -nodefaults -S -accel kvm -m 128M -smp 2 "
                     "-object " TYPE ",id=m0,size=32M "
                     "-object " TYPE ",id=m1,size=96M "
                     "-numa node,memdev=m0,cpus=0 -numa node,memdev=m1,cpus=1");
    info = qtest_hmp(qts, "info numa");
    g_assert_nonnull(strstr(info, "node 0 size: 32 MB"));
    g_assert_nonnull(strstr(info, "node 1 size: 96 MB"));
    qtest_writeq(qts, 100 * MiB, 1);
    g_assert_cmpuint(resident_guest_memfd(qts), ==, 4 * KiB);
    qtest_quit(qts);
}

static void test_used_twice(void)
{
    const char *argv[] = { qtest_qemu_binary(NULL), "-machine", "q35",
                           "-nodefaults", "-display", "none", "-S",
                           "-accel", "kvm", "-m", "64M",
                           "-object", TYPE ",id=m0,size=32M",
                           "-numa", "node,memdev=m0",
                           "-numa", "node,memdev=m0", STOP };
    g_autofree char *output = NULL;

    if (skip_without_guest_memfd()) {
        return;
    }
    output = run_refused(argv);
    g_assert_true(g_str_has_suffix(output, ": memory backend m0 can't be used "
                                           "multiple times.\nCreate a memory "
                                           "backend for each use.\n"));
}

/* As in a domain of libvirt's that has it in <qemu:commandline>. */
static void test_last_machine_counts(void)
{
    g_autofree char *path = NULL;
    QTestState *qts;

    if (skip_without_guest_memfd()) {
        return;
    }
    qts = qtest_init("-object memory-backend-ram,id=pc.ram,size=64M "
                     "-machine q35,memory-backend=pc.ram -m 64M "
                     "-nodefaults -S -accel kvm "
                     "-object " TYPE ",id=ram0,size=64M "
                     "-machine memory-backend=ram0");
    path = qtest_hmp(qts, "qom-get /machine memory-backend");
    g_assert_cmpstr(path, ==, "\"/objects/ram0\"\r\n");
    qtest_writeq(qts, 1 * MiB, 1);
    g_assert_cmpuint(resident_guest_memfd(qts), >=, 4 * KiB);
    qtest_quit(qts);
}

static void test_size_differs(void)
{
    const char *argv[] = { qtest_qemu_binary(NULL), "-nodefaults",
                           "-machine", "q35,memory-backend=m0",
                           "-display", "none", "-S",
                           "-accel", "kvm", "-m", "64M",
                           "-object", TYPE ",id=m0,size=32M", STOP };
    g_autofree char *output = NULL;

    if (skip_without_guest_memfd()) {
        return;
    }
    output = run_refused(argv);
    g_assert_true(g_str_has_suffix(output, ": Machine memory size does not "
                                           "match the size of the memory "
                                           "backend\nGive -m the 'size' of "
                                           "the backend, 32 MiB, or leave -m "
                                           "out.\n"));
}

/* Migration */

static void set_capability(QTestState *qts, const char *name, const char *text)
{
    QDict *response;

    response = qtest_qmp(qts, "{'execute': 'migrate-set-capabilities',"
                              " 'arguments': {'capabilities': [{"
                              " 'capability': %s, 'state': true}]}}", name);
    assert_refused(response, text);
}

static bool skip_without_userfaultfd(void)
{
    int fd = uffd_open(O_CLOEXEC);

    if (fd < 0) {
        g_test_skip("the host has no userfaultfd for this user");
        return true;
    }
    close(fd);
    return false;
}

#define POSTCOPY_REFUSED "Postcopy is not supported: RAM block m0 is a " \
                         "guest_memfd, for which the kernel has no userfaultfd"

static void test_postcopy(void)
{
    QTestState *qts;

    if (skip_without_guest_memfd() || skip_without_userfaultfd()) {
        return;
    }
    qts = qtest_init("-machine q35,memory-backend=m0 -nodefaults -accel kvm "
                     "-object " TYPE ",id=m0,size=64M -incoming defer");
    set_capability(qts, "postcopy-ram", POSTCOPY_REFUSED);
    assert_hmp_refused(qts, "migrate_set_capability postcopy-ram on",
                       POSTCOPY_REFUSED,
                       "Migrate without postcopy, or use another memory "
                       "backend on this side.");
    qtest_quit(qts);
}

static void test_background_snapshot(void)
{
    QTestState *qts;

    if (skip_without_guest_memfd() || skip_without_userfaultfd()) {
        return;
    }
    qts = qtest_init("-machine q35,memory-backend=m0 -nodefaults -S -accel kvm "
                     "-object " TYPE ",id=m0,size=64M");
    set_capability(qts, "background-snapshot",
                   "Background-snapshot is not *");
    qtest_quit(qts);
}

#define CPR_BLOCKED "Memory region m0 is a guest_memfd, which ends with its " \
                    "VM and cannot be passed on by CPR"

static void check_cpr_blocked(const char *mode, const char *channels)
{
    QTestState *qts;

    /* Nothing else is in the way: other RAM of the machine is shared, too. */
    qts = qtest_init("-machine q35,memory-backend=m0,aux-ram-share=on "
                     "-nodefaults -S -accel kvm "
                     "-object " TYPE ",id=m0,size=64M");
    qtest_qmp_assert_success(qts, "{'execute': 'migrate-set-parameters',"
                                  " 'arguments': {'mode': %s,"
                                  " 'cpr-exec-command': ['/bin/true']}}", mode);
    assert_refused(qtest_qmp(qts, "{'execute': 'migrate', 'arguments': {"
                                  " 'channels': %p}}",
                             qobject_from_json(channels, &error_abort)),
                   CPR_BLOCKED);
    if (g_str_equal(mode, "cpr-exec")) {
        assert_hmp_refused(qts, "migrate exec:/bin/cat", CPR_BLOCKED,
                           "Migrate in mode normal or cpr-reboot.");
    }
    /* QEMU does not free the command when it ends. */
    qtest_qmp_assert_success(qts, "{'execute': 'migrate-set-parameters',"
                                  " 'arguments': {'cpr-exec-command': []}}");
    qtest_quit(qts);
}

static void test_cpr(void)
{
    if (skip_without_guest_memfd()) {
        return;
    }
    check_cpr_blocked("cpr-transfer", "[" MAIN_CHANNEL ", " CPR_CHANNEL "]");
    check_cpr_blocked("cpr-exec", "[" MAIN_CHANNEL "]");
}

/* Private memory */

static bool has_tdx_guest(void)
{
    QTestState *qts = qtest_init("-machine none -nodefaults");
    QDict *response = qtest_qmp(qts, "{'execute': 'object-add', 'arguments': {"
                                     " 'qom-type': 'tdx-guest',"
                                     " 'id': 'cgs'}}");
    bool has = !qdict_haskey(response, "error");

    qobject_unref(response);
    qtest_quit(qts);
    if (!has) {
        g_test_skip("this QEMU has no tdx-guest");
    }
    return has;
}

/*
 * A machine whose guest needs private memory.  Without TDX it is never
 * complete, so it stays before that.
 */
static QTestState *start_confidential(void)
{
    return qtest_init("-preconfig -nodefaults "
                      "-machine none,confidential-guest-support=cgs "
                      "-object tdx-guest,id=cgs");
}

/*
 * Memory that nothing uses is not private: it can be had where a machine needs
 * private memory, but has no KVM.
 */
static void test_idle_memory(void)
{
    const char *types[] = { "memory-backend-ram", "memory-backend-memfd",
                            "memory-backend-shm" };
    QTestState *qts;
    int fds;

    if (!has_tdx_guest()) {
        return;
    }
    qts = start_confidential();
    fds = count_fds(qts);
    for (int i = 0; i < G_N_ELEMENTS(types); i++) {
        qtest_qmp_assert_success(qts, "{'execute': 'object-add', 'arguments': {"
                                      " 'qom-type': %s, 'id': 'm0',"
                                      " 'share': true, 'size': 1048576}}",
                                 types[i]);
        qtest_qmp_assert_success(qts, "{'execute': 'object-del', 'arguments': {"
                                      " 'id': 'm0'}}");
        assert_fds_go_back_to(qts, fds);
    }
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("guest-memfd/create", test_create);
    qtest_add_func("guest-memfd/query", test_query);
    qtest_add_func("guest-memfd/mem-merge", test_mem_merge);
    qtest_add_func("guest-memfd/prealloc", test_prealloc);
    qtest_add_func("guest-memfd/prealloc-late", test_prealloc_late);
    qtest_add_func("guest-memfd/host-nodes", test_host_nodes);

    for (int i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_autofree char *path = g_strdup_printf("guest-memfd/refused/%s",
                                                refusals[i].name);

        qtest_add_data_func(path, &refusals[i], test_startup_refused);
    }
    qtest_add_func("guest-memfd/refused/over-qmp", test_refused_over_qmp);
    qtest_add_func("guest-memfd/refused/hugetlb", test_hugetlb_refused);
    qtest_add_func("guest-memfd/refused/without-kvm", test_without_kvm);
    qtest_add_func("guest-memfd/refused/change", test_no_change);
    qtest_add_func("guest-memfd/refused/used-twice", test_used_twice);
    qtest_add_func("guest-memfd/refused/size-differs", test_size_differs);
    qtest_add_func("guest-memfd/last-machine-counts", test_last_machine_counts);

    qtest_add_func("guest-memfd/hotplug", test_hotplug);
    qtest_add_func("guest-memfd/main-memory", test_main_memory);
    qtest_add_func("guest-memfd/numa", test_numa);

    qtest_add_func("guest-memfd/migration/postcopy", test_postcopy);
    qtest_add_func("guest-memfd/migration/background-snapshot",
                   test_background_snapshot);
    qtest_add_func("guest-memfd/migration/cpr", test_cpr);

    qtest_add_func("guest-memfd/idle-memory", test_idle_memory);

    return g_test_run();
}
