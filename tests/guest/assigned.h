/*
 * A guest's memory that becomes private and shared at random, and whether edu
 * devices reach of it what they must
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GUEST_ASSIGNED_H
#define TESTS_GUEST_ASSIGNED_H

#define MARK        (8 * MIB)           /* stay shared */
#define RESULT      (MARK + PAGE)

#include "probe.h"

#define AREA        (16 * MIB)
#define PAGES       (16 * MIB / PAGE)

/* Whether a device may miss a page beside one that becomes private. */
#ifndef PARTED
#define PARTED      0
#endif

enum { LONGEST = 600, DEVICES = 2 };

static uint64_t bases[DEVICES], state = 1;
static unsigned int devices;
static bool shared[PAGES];

/* What the first device writes to a page, while conversions go on. */
static struct {
    bool is_on;
    uint64_t number;                    /* of the page */
    enum { STAYS, PRIVATE, UNKNOWN } state;
    uint64_t sum;                       /* of a page that became private */
} flight;

static uint64_t page_at(uint64_t number)
{
    return AREA + number * PAGE;
}

static uint64_t sum_of(uint64_t gpa)
{
    uint64_t sum = 0;

    for (uint64_t at = 0; at < PAGE; at += 8) {
        sum = sum * 31 + *word(gpa + at);
    }
    return sum;
}

static void load_mark(void)
{
    edu(bases[0], MARK, PAGE, false);
}

/* Takes all that there are. */
static void find_devices(void)
{
    devices = 0;
    for (unsigned int slot = 0; slot < 32; slot++) {
        if (pci_read32(slot, 0) == EDU) {
            bases[devices++] = pci_enable(slot, 0);
        }
    }
    if (devices) {
        load_mark();
    }
}

/*
 * What a device writes when it misses a page may be as little as a word, and
 * the rest may find it again.
 */
static bool is_partly_marked(uint64_t gpa)
{
    for (uint64_t at = 0; at < PAGE; at += 8) {
        if (*word(gpa + at) != pattern(gpa + at, SEED) &&
            *word(gpa + at) != pattern(MARK + at, MARKED)) {
            return false;
        }
    }
    return true;
}

static void begin_flight(void)
{
    flight.number = next_random(&state) % PAGES;
    flight.state = STAYS;
    if (devices && shared[flight.number]) {
        fill(page_at(flight.number), SEED);
        flight.is_on = true;
        edu_begin(bases[0], page_at(flight.number), PAGE, true);
    }
}

/* What was shared all the time was written to, what is private was not. */
static void end_flight(void)
{
    uint64_t gpa = page_at(flight.number);

    if (!flight.is_on) {
        return;
    }
    while (edu_is_busy(bases[0])) {
        asm volatile("pause");
    }
    flight.is_on = false;
    if (flight.state == STAYS && !is_marked(gpa) &&
        !(PARTED && is_partly_marked(gpa))) {
        fail("a page that stayed shared has %x at %x", *word(gpa), gpa);
    }
    if (flight.state == PRIVATE && sum_of(gpa) != flight.sum) {
        fail("a page that was private has %x at %x", *word(gpa), gpa);
    }
}

static void note_conversion(uint64_t first, uint64_t count, bool to_shared)
{
    if (!flight.is_on || flight.number < first ||
        flight.number >= first + count) {
        return;
    }
    if (!to_shared && flight.state == STAYS) {
        flight.state = PRIVATE;
        flight.sum = sum_of(page_at(flight.number));
    } else if (to_shared && flight.state == PRIVATE) {
        flight.state = UNKNOWN;
    }
}

static void try_page(uint64_t number)
{
    end_flight();
    for (unsigned int i = 0; i < devices; i++) {
        probe(bases[i], page_at(number), shared[number]);
    }
    if (devices) {
        load_mark();
    }
}

static void set_shared(uint64_t first, uint64_t count, bool to_shared)
{
    must_convert(page_at(first), count * PAGE, !to_shared);
    note_conversion(first, count, to_shared);
    for (uint64_t i = first; i < first + count; i++) {
        shared[i] = to_shared;
    }
}

static void convert_some(void)
{
    uint64_t first = next_random(&state) % PAGES;
    uint64_t count = next_random(&state) % LONGEST + 1;
    bool to_shared = next_random(&state) & 1;

    if (!flight.is_on) {
        begin_flight();
    } else if (!edu_is_busy(bases[0])) {
        end_flight();
    }
    if (next_random(&state) & 1) {
        count = 1;
    }
    count = count < PAGES - first ? count : PAGES - first;
    set_shared(first, count, to_shared);
}

/* Tries a page, and has the host see how much devices have. */
static void try_some(void)
{
    uint64_t count = 0;

    try_page(next_random(&state) % PAGES);
    for (uint64_t i = 0; i < PAGES; i++) {
        count += shared[i];
    }
    ask_host("shared %x", count);
}

static void convert_randomly(unsigned int conversions, unsigned int probes)
{
    for (unsigned int i = 1; i <= conversions; i++) {
        convert_some();
        if (i % (conversions / probes) == 0) {
            try_some();
        }
    }
    end_flight();
}

#endif
