/*
 * QTest: memory-backend-guest-memfd, what its tests share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "qapi/error.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "helpers.h"

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

bool host_has(uint64_t flags, uint8_t page_order)
{
    int fd = create_guest_memfd(flags, page_order);

    if (fd < 0) {
        return false;
    }
    close(fd);
    return true;
}

bool skip_without_guest_memfd(void)
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

char *object_json(const char *id, const char *props)
{
    return g_strdup_printf("{'qom-type': '" TYPE "', 'id': '%s', %s}",
                           id, props);
}

QDict *object_add(QTestState *qts, const char *id, const char *props)
{
    g_autofree char *json = object_json(id, props);

    return qtest_qmp(qts, "{'execute': 'object-add', 'arguments': %p}",
                     qobject_from_json(json, &error_abort));
}

void object_add_ok(QTestState *qts, const char *id, const char *props)
{
    QDict *response = object_add(qts, id, props);

    g_assert_true(qdict_haskey(response, "return"));
    qobject_unref(response);
}

void object_del_ok(QTestState *qts, const char *id)
{
    qtest_qmp_assert_success(qts, "{'execute': 'object-del',"
                                  " 'arguments': {'id': %s}}", id);
}

void assert_refused(QDict *response, const char *text)
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

void assert_hmp_refused(QTestState *qts, const char *line, const char *text,
                        const char *hint)
{
    g_autofree char *want = g_strdup_printf("Error: %s\r\n%s\r\n", text, hint);
    g_autofree char *output = qtest_hmp(qts, "%s", line);

    g_assert_cmpstr(output, ==, want);
}

int count_fds(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", qtest_pid(qts));
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    int count = 0;

    while (g_dir_read_name(dir)) {
        count++;
    }
    return count;
}

void assert_fds_go_back_to(QTestState *qts, int count)
{
    gint64 end = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;

    /* Each round trip gives the RCU thread some of the time that it needs. */
    while (count_fds(qts) != count && g_get_monotonic_time() < end) {
        qtest_qmp_assert_success(qts, "{'execute': 'query-status'}");
    }
    g_assert_cmpint(count_fds(qts), ==, count);
}

char *find_guest_memfd(QTestState *qts)
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

uint64_t resident_guest_memfd(QTestState *qts)
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
