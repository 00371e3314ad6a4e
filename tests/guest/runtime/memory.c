/*
 * Memory of bare-metal guests: conversion, and what is in it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "internal.h"

enum { HC_MAP_GPA_RANGE = 12, MAP_PRIVATE = 1 << 4 };

void check_pages(uint64_t gpa, uint64_t end, uint64_t seed)
{
    for (; gpa < end; gpa += PAGE) {
        if (*word(gpa) != pattern(gpa, seed)) {
            fail("page %x has %x, not what was written with %x", gpa,
                 *word(gpa), seed);
        }
    }
}

static bool is_marked(uint64_t gpa, uint64_t seed)
{
    return *word(gpa + 8) == pattern(gpa, seed);
}

void compare_states(uint64_t gpa, uint64_t end)
{
    /* Memory may keep its contents, so no mark comes twice. */
    static uint64_t seed = 0x10000;

    seed += 2;
    ask_host("mark %x %x %x", gpa, end, seed);
    print("host: states %x", gpa);
    for (bool marked = false; gpa < end; marked = !marked) {
        uint64_t start = gpa;

        while (gpa < end && is_marked(gpa, seed) == marked) {
            gpa += PAGE;
        }
        print(" %x", (gpa - start) / PAGE);
    }
    await_answer();
}

/* Asked once, as it is an exit. */
static bool is_amd(void)
{
    static enum { UNKNOWN, AMD, OTHER } vendor;
    uint32_t eax = 0, ebx, ecx, edx;

    if (vendor == UNKNOWN) {
        asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
        vendor = ecx == 0x444d4163 ? AMD : OTHER;       /* "cAMD" */
    }
    return vendor == AMD;
}

int64_t convert_pages(uint64_t gpa, uint64_t pages, bool private)
{
    uint64_t attributes = private ? MAP_PRIVATE : 0;
    int64_t ret = HC_MAP_GPA_RANGE;

    if (is_amd()) {
        asm volatile("vmmcall" : "+a"(ret) : "b"(gpa), "c"(pages),
                     "d"(attributes) : "memory");
    } else {
        asm volatile("vmcall" : "+a"(ret) : "b"(gpa), "c"(pages),
                     "d"(attributes) : "memory");
    }
    return ret;
}

int64_t convert(uint64_t gpa, uint64_t size, bool private)
{
    return convert_pages(gpa, size / PAGE, private);
}

void must_return(int64_t wanted, uint64_t gpa, uint64_t size, bool private)
{
    int64_t ret = convert(gpa, size, private);

    if (ret != wanted) {
        fail("%s at %x, size %x: %x", private ? "to private" : "to shared",
             gpa, size, ret);
    }
}

void must_convert(uint64_t gpa, uint64_t size, bool private)
{
    must_return(0, gpa, size, private);
}

bool find_whether_kept(uint64_t gpa)
{
    write_pages(gpa, gpa + PAGE, 0);
    must_convert(gpa, PAGE, false);
    must_convert(gpa, PAGE, true);
    return *word(gpa) == pattern(gpa, 0);
}

uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
