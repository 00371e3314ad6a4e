/*
 * The tests, by the file that they are in
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_H
#define TESTS_H

/* interface.c */
void test_off(void);
void test_capabilities(void);
void test_seek(void);
void test_arguments(void);

/* states.c */
void test_init_private(void);
void test_init_shared(void);
void test_indexing(void);
void test_unallocated(void);
void test_many(void);
void test_punch(void);
void test_random(void);

/* mapping.c */
void test_memslots(void);
void test_pre_fault(void);

/* in-use.c */
void test_same_state(void);
void test_pinned(void);
void test_processes(void);

/* race.c */
void test_race_vcpus(void);
void test_race_vcpus_and_host(void);
void test_race_host(void);
void test_race_memslots(void);

/* poison.c */
void test_poison(void);

/* large.c */
void test_interrupted(void);
void test_charged(void);

/* release.c */
void test_cycles(void);

#endif
