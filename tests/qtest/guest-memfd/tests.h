/*
 * QTest: memory-backend-guest-memfd, the tests by the file that they are in
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_GUEST_MEMFD_TESTS_H
#define TESTS_QTEST_GUEST_MEMFD_TESTS_H

/* creation.c */
void test_create(void);
void test_query(void);
void test_mem_merge(void);
void test_prealloc(void);
void test_prealloc_late(void);
void test_host_nodes(void);

/* refusals.c */
void add_tests_of_refusals_at_startup(void);
void test_refused_over_qmp(void);
void test_hugetlb_refused(void);
void test_without_kvm(void);
void test_no_change(void);
void test_used_twice(void);
void test_size_differs(void);

/* machine.c */
void test_hotplug(void);
void test_main_memory(void);
void test_numa(void);
void test_last_machine_counts(void);
void test_idle_memory(void);

/* migration.c */
void test_postcopy(void);
void test_background_snapshot(void);
void test_cpr(void);

#endif
