/*
 * QTest: memory-backend-guest-memfd, what its tests share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_GUEST_MEMFD_HELPERS_H
#define TESTS_QTEST_GUEST_MEMFD_HELPERS_H

#include "libqtest.h"

#define TYPE "memory-backend-guest-memfd"
#define REFUSES(property, value) \
    "property '" property "' of " TYPE " doesn't take value '" value "': "

#define MACHINE_NONE "-machine none -nodefaults -accel kvm"

/**
 * host_has: find out whether the host's KVM creates such a guest_memfd
 * @flags: GUEST_MEMFD_FLAG_*
 * @page_order: 0, or log2 of how many small pages its pages are as large as
 */
bool host_has(uint64_t flags, uint8_t page_order);

/**
 * skip_without_guest_memfd: skip a test where there is no such memory
 *
 * Return: whether the test is skipped.
 */
bool skip_without_guest_memfd(void);

/**
 * object_json: describe a backend for -object and object-add
 * @id: its id
 * @props: its properties, as in JSON, but without braces
 */
char *object_json(const char *id, const char *props);

/**
 * object_add: create a backend
 * @qts: the QEMU
 * @id: its id
 * @props: its properties, as in JSON, but without braces
 *
 * Return: the response, which the caller owns.
 */
QDict *object_add(QTestState *qts, const char *id, const char *props);

/* The same, and nothing is wrong with it. */
void object_add_ok(QTestState *qts, const char *id, const char *props);

void object_del_ok(QTestState *qts, const char *id);

/**
 * assert_refused: check that a response is an error
 * @response: the response; freed
 * @text: what its description must match, for g_pattern_match_simple()
 */
void assert_refused(QDict *response, const char *text);

/**
 * assert_hmp_refused: check that the human monitor refuses a command
 * @qts: the QEMU
 * @line: the command
 * @text: what it must say
 * @hint: the hint that must follow, which QMP does not show
 */
void assert_hmp_refused(QTestState *qts, const char *line, const char *text,
                        const char *hint);

/* How many file descriptors a QEMU has. */
int count_fds(QTestState *qts);

/**
 * assert_fds_go_back_to: wait until a QEMU has so many file descriptors
 * @qts: the QEMU
 * @count: their number
 *
 * A RAMBlock is freed by the RCU thread, which tells nobody.
 */
void assert_fds_go_back_to(QTestState *qts, int count);

/* The first file descriptor of a QEMU that is a guest_memfd, or NULL. */
char *find_guest_memfd(QTestState *qts);

/**
 * resident_guest_memfd: count the bytes of guest_memfd that are allocated
 * @qts: the QEMU
 *
 * Return: the sum over all mappings.  The kernel does not count a guest_memfd's
 * blocks in st_blocks.
 */
uint64_t resident_guest_memfd(QTestState *qts);

#endif
