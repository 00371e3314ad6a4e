/*
 * A guest that tells what conversions cost it
 *
 * All of its memory was written to before it is converted, and is written to
 * again afterwards, from private to shared and back.  Figures are printed when
 * all is done, as who reads them would cost something, too.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "port.h"
#include "runtime.h"
#include "../../bench/instructions.h"

#define AREA        (64 * MIB)
#define AREA_SIZE   (64 * MIB)

/* How often a page is converted of what was shared at once */
#ifndef PARTED
#define PARTED      0
#endif

/* bench/least-vmm.c answers it with the ticks of the last ioctl. */
enum { LAST_IOCTL = 0x1c0 };

struct cost {
    uint64_t ticks, instructions, user;
};

struct sample {
    uint64_t range, private;
    struct cost conversion, touch;
    uint64_t ioctl;
};

static struct sample samples[512];
static unsigned int nr_samples;

static uint64_t ticks(void)
{
    uint32_t low, high;

    asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return low | (uint64_t)high << 32;
}

/* Begins and ends with the ticks, the one of them that others disturb. */
static struct cost begin(void)
{
    struct cost cost;

    cost.user = user_instructions_run();
    cost.instructions = instructions_run();
    cost.ticks = ticks();
    return cost;
}

static struct cost since(const struct cost *before)
{
    struct cost cost;

    cost.ticks = ticks() - before->ticks;
    cost.instructions = instructions_run() - before->instructions;
    cost.user = user_instructions_run() - before->user;
    return cost;
}

static void measure(uint64_t gpa, uint64_t range, bool private)
{
    struct sample *sample = &samples[nr_samples++];
    struct cost before;

    sample->range = range;
    sample->private = private;
    before = begin();
    must_convert(gpa, range, private);
    sample->conversion = since(&before);
    sample->ioctl = in32(LAST_IOCTL);
    before = begin();
    write_pages(gpa, gpa + range, private);
    sample->touch = since(&before);
}

/* As in bench/convert-memory.c, each range meets a huge page that is whole. */
static void measure_range(uint64_t range)
{
    uint64_t stride = range < 2 * MIB ? 2 * MIB : range;

    for (int private = 0; private <= 1; private++) {
        for (uint64_t at = 0; at < AREA_SIZE; at += stride) {
            measure(AREA + at, range, private);
        }
    }
}

/* A page of what was shared at once; samples say that their range is 0. */
static void measure_parts(void)
{
    for (int i = 0; i < PARTED; i++) {
        measure_range(4 * MIB);
        must_convert(AREA, AREA_SIZE, false);
        ask_host("mapped");
        for (int private = 1; private >= 0; private--) {
            measure(AREA + MIB, PAGE, private);
            samples[nr_samples - 1].range = 0;
        }
        must_convert(AREA, AREA_SIZE, true);
    }
}

static void print_cost(const struct cost *cost)
{
    print(" %x %x %x", cost->ticks, cost->instructions, cost->user);
}

static void print_samples(void)
{
    for (unsigned int i = 0; i < nr_samples; i++) {
        print("sample %x %x %x", samples[i].range, samples[i].private,
              samples[i].ioctl);
        print_cost(&samples[i].conversion);
        print_cost(&samples[i].touch);
        print("\n");
    }
}

/* Nothing but conversions of 4 KiB, to find out where QEMU spends them. */
static void convert_for_profile(void)
{
    for (unsigned int i = 0; i < PROFILED; i++) {
        must_convert(AREA, PAGE, i & 1);
    }
}

int guest_main(void)
{
    write_pages(AREA, AREA + AREA_SIZE, 1);
    convert_for_profile();
    profile_mark();
    convert_for_profile();
    profile_mark();
    measure_range(PAGE);
    measure_range(2 * MIB);
    for (int i = 0; i < 3; i++) {
        measure_range(AREA_SIZE);
    }
    measure_parts();
    print_samples();
    return 0;
}
