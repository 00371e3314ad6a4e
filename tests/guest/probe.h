/*
 * Whether an edu device reaches pages
 *
 * Before this is included, MARK and RESULT are pages that it reaches.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GUEST_PROBE_H
#define TESTS_GUEST_PROBE_H

#include "edu.h"

enum { SEED = 0x71, MARKED = 0x72 };

/* Each word tells which page it is of. */
static void fill(uint64_t gpa, uint64_t seed)
{
    for (uint64_t at = gpa; at < gpa + PAGE; at += 8) {
        *word(at) = pattern(at, seed);
    }
}

/* Whether a page is what another was filled with. */
static bool has(uint64_t gpa, uint64_t from, uint64_t seed)
{
    for (uint64_t at = 0; at < PAGE; at += 8) {
        if (*word(gpa + at) != pattern(from + at, seed)) {
            return false;
        }
    }
    return true;
}

static bool is_marked(uint64_t gpa)
{
    return has(gpa, MARK, MARKED);
}

static bool is_untouched(uint64_t gpa)
{
    return has(gpa, gpa, SEED);
}

static void probe_begin(void)
{
    fill(MARK, MARKED);
}

/* What the device writes to a page is there, or else the page is as it was. */
static void probe_write(uint64_t base, uint64_t iova, uint64_t gpa,
                        bool reaches)
{
    fill(gpa, SEED);
    edu(base, MARK, PAGE, false);
    edu(base, iova, PAGE, true);
    if (reaches ? !is_marked(gpa) : !is_untouched(gpa)) {
        fail("a device wrote %x at %x", *word(gpa), gpa);
    }
}

/* What the device reads is the page, or else not. */
static void probe_read(uint64_t base, uint64_t iova, uint64_t gpa, bool reaches)
{
    fill(gpa, SEED);
    edu(base, MARK, PAGE, false);
    edu(base, iova, PAGE, false);
    edu(base, RESULT, PAGE, true);
    if (has(RESULT, gpa, SEED) != reaches) {
        fail("a device read %x at %x", *word(RESULT), gpa);
    }
}

/* Ends the guest if the device reaches a page that it must not, or the like. */
static void probe(uint64_t base, uint64_t gpa, bool reaches)
{
    probe_write(base, gpa, gpa, reaches);
    probe_read(base, gpa, gpa, reaches);
}

#endif
