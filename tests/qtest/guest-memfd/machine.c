/*
 * QTest: memory-backend-guest-memfd, use by machines
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "helpers.h"
#include "tests.h"

/* ACPI memory hotplug registers, docs/specs/acpi_mem_hotplug.rst */
#define ACPI_MEMORY_BASE 0xa00
#define ACPI_MEMORY_CONTROL (ACPI_MEMORY_BASE + 0x14)
#define ACPI_MEMORY_EJECT 8

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

void test_hotplug(void)
{
    QTestState *qts = qtest_init("-machine q35 -nodefaults -S -accel kvm "
                                 "-m 128M,slots=2,maxmem=1G");
    int fds = count_fds(qts);
    QDict *dimm;

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

void test_main_memory(void)
{
    QTestState *qts = qtest_init("-machine q35,memory-backend=m0 -nodefaults "
                                 "-S -accel kvm "
                                 "-object " TYPE ",id=m0,size=128M");
    g_autofree char *fd = find_guest_memfd(qts);

    g_assert_nonnull(fd);
    qtest_writeq(qts, 1 * MiB, 0x1122334455667788);
    g_assert_cmphex(qtest_readq(qts, 1 * MiB), ==, 0x1122334455667788);
    g_assert_cmpuint(resident_guest_memfd(qts), >=, 4 * KiB);
    assert_refused(qtest_qmp(qts, "{'execute': 'object-del',"
                                  " 'arguments': {'id': 'm0'}}"),
                   "object 'm0' is in use, can not be deleted");
    qtest_quit(qts);
}

void test_numa(void)
{
    QTestState *qts = qtest_init("-machine q35 -nodefaults -S -accel kvm "
                                 "-m 128M -smp 2 "
                                 "-object " TYPE ",id=m0,size=32M "
                                 "-object " TYPE ",id=m1,size=96M "
                                 "-numa node,memdev=m0,cpus=0 "
                                 "-numa node,memdev=m1,cpus=1");
    g_autofree char *info = qtest_hmp(qts, "info numa");

    g_assert_nonnull(strstr(info, "node 0 size: 32 MB"));
    g_assert_nonnull(strstr(info, "node 1 size: 96 MB"));
    qtest_writeq(qts, 100 * MiB, 1);
    g_assert_cmpuint(resident_guest_memfd(qts), ==, 4 * KiB);
    qtest_quit(qts);
}

/* As in a domain of libvirt's that has it in <qemu:commandline>. */
void test_last_machine_counts(void)
{
    QTestState *qts = qtest_init("-object memory-backend-ram,id=pc.ram,"
                                 "size=64M "
                                 "-machine q35,memory-backend=pc.ram -m 64M "
                                 "-nodefaults -S -accel kvm "
                                 "-object " TYPE ",id=ram0,size=64M "
                                 "-machine memory-backend=ram0");
    g_autofree char *path = qtest_hmp(qts, "qom-get /machine memory-backend");

    g_assert_cmpstr(path, ==, "\"/objects/ram0\"\r\n");
    qtest_writeq(qts, 1 * MiB, 1);
    g_assert_cmpuint(resident_guest_memfd(qts), >=, 4 * KiB);
    qtest_quit(qts);
}

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
void test_idle_memory(void)
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
