/*
 * QTest: memory-backend-guest-memfd, migration
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/userfaultfd.h"
#include "qobject/qjson.h"
#include "helpers.h"
#include "tests.h"

#define MAIN_CHANNEL "{'channel-type': 'main', 'addr': {" \
    " 'transport': 'exec', 'args': ['/bin/cat']}}"
#define CPR_CHANNEL "{'channel-type': 'cpr', 'addr': {" \
    " 'transport': 'socket', 'type': 'unix', 'path': '/nonexistent/cpr'}}"

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

void test_postcopy(void)
{
    QTestState *qts;

    if (skip_without_userfaultfd()) {
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

void test_background_snapshot(void)
{
    QTestState *qts;

    if (skip_without_userfaultfd()) {
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
    /* Nothing else is in the way: other RAM of the machine is shared, too. */
    QTestState *qts = qtest_init("-machine q35,memory-backend=m0,"
                                 "aux-ram-share=on -nodefaults -S -accel kvm "
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

void test_cpr(void)
{
    check_cpr_blocked("cpr-transfer", "[" MAIN_CHANNEL ", " CPR_CHANNEL "]");
    check_cpr_blocked("cpr-exec", "[" MAIN_CHANNEL "]");
}
