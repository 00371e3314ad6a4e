/*
 * The tests, by the file that they are in
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_H
#define TESTS_H

/* policy.c */
void test_arguments(void);
void test_policy(void);
void test_pinned(void);
void test_move_pages(void);

/* kernel.c */
void test_compaction(void);
void test_offline(void);
void test_cma(void);

/* race.c */
void test_race_policy(void);
void test_race_compaction(void);
void test_race_balancing(void);

#endif
