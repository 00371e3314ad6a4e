/*
 * QTest: memory-backend-guest-memfd, creation and properties
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "helpers.h"
#include "tests.h"

void test_create(void)
{
    g_autofree char *fd = NULL, *path = NULL, *text = NULL;
    QTestState *qts = qtest_init(MACHINE_NONE);
    int fds = count_fds(qts);
    unsigned flags;

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

void test_query(void)
{
    QTestState *qts = qtest_init(MACHINE_NONE);
    QDict *response, *info;
    QList *list;

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
void test_mem_merge(void)
{
    QTestState *qts = qtest_init("-machine none,mem-merge=on -nodefaults "
                                 "-accel kvm");

    object_add_ok(qts, "m0", "'size': 4096");
    g_assert_false(qtest_qom_get_bool(qts, "/objects/m0", "merge"));
    assert_refused(qtest_qmp(qts, "{'execute': 'qom-set', 'arguments': {"
                             " 'path': '/objects/m0', 'property': 'merge',"
                             " 'value': true}}"),
                   REFUSES("merge", "on") "the host kernel cannot merge this "
                   "memory");
    qtest_quit(qts);
}

void test_prealloc(void)
{
    QTestState *qts = qtest_init(MACHINE_NONE);

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
void test_prealloc_late(void)
{
    QTestState *qts = qtest_init(MACHINE_NONE);

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

void test_host_nodes(void)
{
    QTestState *qts = qtest_init(MACHINE_NONE);

    object_add_ok(qts, "m0", "'size': 4194304, 'host-nodes': [0],"
                             " 'policy': 'bind', 'prealloc': true");
    g_assert_cmpuint(resident_guest_memfd(qts), ==, 4 * MiB);
    qtest_quit(qts);
}
