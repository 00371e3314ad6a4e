/*
 * What the code that converts memory asks QEMU, for its unit tests
 *
 * Memory and kernel are the test's: memory_region_find(), and all that changes
 * states or contents.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RAM_CONVERSION_STUBS_H
#define RAM_CONVERSION_STUBS_H

/* Whether private and shared memory are the same file. */
extern bool stub_in_place;

#endif
