/*
 * The tests, by the file that they are in
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_H
#define TESTS_H

/* creation.c */
void test_arguments(void);
void test_file(void);
void test_exhaustion(void);
void test_lendable(void);
void test_cgroup(void);

/* allocation.c */
void test_allocation(void);
void test_numa(void);
void test_shrink(void);
void test_cycles(void);

/* conversion.c */
void test_init(void);
void test_indexing(void);
void test_unallocated(void);
void test_zero(void);
void test_punch(void);
void test_guest_driven(void);
void test_random(void);

/* in-use.c */
void test_pinned(void);
void test_pinned_merge(void);
void test_pinned_free(void);
void test_processes(void);
void test_mapping_calls(void);
void test_locked(void);

/* mapping.c */
void test_mappings(void);
void test_ordinary(void);
void test_host_mappings(void);
void test_vmemmap(void);
void test_memslots(void);
void test_misaligned(void);
void test_pre_fault(void);
void test_reclaim(void);

/* race.c */
void test_race_vcpus(void);
void test_race_host(void);
void test_race_memslots(void);
void test_first_touch(void);

/* zerocopy.c */
void test_zerocopy(void);

/* poison.c */
void test_poison(void);
void test_poison_ordinary(void);

#endif
