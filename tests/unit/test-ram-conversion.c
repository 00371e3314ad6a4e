/*
 * Unit tests: conversion of guest memory, against a naive model
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qemu/units.h"
#include "hw/core/cpu.h"
#include "system/ram-conversion.h"
#include "fuzz-ram-conversion.h"
#include "ram-conversion-model.h"

enum { ROUNDS = 2000, THREADS = 4, INPUTS = 500, INPUT_SIZE = 200 };

static uint64_t page_size(void)
{
    return qemu_real_host_page_size();
}

static int convert(hwaddr first, hwaddr count, bool to_private)
{
    hwaddr start = first * page_size(), size = count * page_size();
    int ret = ram_conversion_try(start, size, to_private);

    if (ret != -EAGAIN) {
        return ret;
    }
    return ram_conversion_run(ram_conversion_begin(start, size, to_private),
                              false);
}

/* A range that may go over several RAMBlocks, and over the hole. */
static void choose_range(hwaddr *first, hwaddr *count)
{
    *first = g_test_rand_int_range(0, MODEL_ALL - 1);
    *count = g_test_rand_int_range(0, 4)
        ? g_test_rand_int_range(1, MIN(MODEL_ALL - *first, 40) + 1)
        : g_test_rand_int_range(1, MODEL_ALL - *first + 1);
}

static void try_one(ModelStates before)
{
    bool to_private = g_test_rand_bit();
    hwaddr first, count;
    int ret;

    model_copy(before);
    choose_range(&first, &count);
    model_refuse_after(g_test_rand_int_range(0, 8), g_test_rand_bit(), -ENOMEM);
    ret = convert(first, count, to_private);
    if (ret) {
        g_assert_true(model_refused() || ret == -EINVAL);
        model_check_unchanged(before);
    } else {
        g_assert_false(model_refused());
        model_check_converted(before, first, count, !to_private);
    }
    model_check_equal(true);
}

static void test_refused_once(const void *opaque)
{
    static ModelStates before;

    model_set_up(opaque);
    for (int i = 0; i < ROUNDS; i++) {
        try_one(before);
    }
    model_tear_down();
}

/* Nothing can be put back, but all who know a state agree on it. */
static void test_refused_always(const void *opaque)
{
    model_set_up(opaque);
    for (int i = 0; i < ROUNDS; i++) {
        hwaddr first, count;

        choose_range(&first, &count);
        model_refuse_after(g_test_rand_int_range(0, 8),
                     g_test_rand_int_range(0, 20), -ENOMEM);
        convert(first, count, g_test_rand_bit());
        model_check_equal(false);
    }
    model_tear_down();
}

static void test_busy(const void *opaque)
{
    /* Then comes a block that no device has, which would be refused, too. */
    const int steps = DIV_ROUND_UP(MODEL_PAGES * page_size(),
                                   RAM_CONVERSION_STEP_MAPPED);
    static ModelStates before;

    model_set_up(opaque);
    model_copy(before);
    model_refuse_after(3, 9, -EAGAIN);
    g_assert_cmpint(convert(0, 2 * MODEL_PAGES, false), ==, 0);
    model_check_converted(before, 0, 2 * MODEL_PAGES, true);
    model_copy(before);
    model_refuse_after(steps + 1, 10, -EAGAIN);
    g_assert_cmpint(convert(0, 2 * MODEL_PAGES, true), ==, -EAGAIN);
    model_check_unchanged(before);
    model_check_equal(true);
    model_tear_down();
}

/* Devices that cannot give up a part keep all that they have. */
static void test_kept(const void *opaque)
{
    static ModelStates before;

    model_set_up(opaque);
    model_refuse_after(0, 0, 0);
    g_assert_cmpint(convert(0, 2 * MODEL_PAGES, false), ==, 0);
    for (int at = 0; at < MODEL_PAGES; at += 2) {
        g_assert_cmpint(convert(at, 1, true), ==, 0);
    }
    model_copy(before);
    for (int piece = 1; piece <= MODEL_PAGES / 2; piece++) {
        model_keeps = piece;
        g_assert_cmpint(convert(0, 2 * MODEL_PAGES, true), ==, -ENOSPC);
        g_assert_cmpint(model_keeps, ==, 0);
        model_check_unchanged(before);
        model_check_equal(true);
    }
    g_assert_cmpint(convert(0, 2 * MODEL_PAGES, true), ==, 0);
    model_tear_down();
}

/* What cannot be shown to QEMU again stays private, and devices lose it. */
static void test_hidden(const void *opaque)
{
    const bool in_place = opaque;

    model_set_up(in_place);
    model_refuse_after(0, 0, 0);
    g_assert_cmpint(convert(0, 2 * MODEL_PAGES, false), ==, 0);
    model_hides = true;
    model_refuse_after(2, 1, -ENOMEM);
    g_assert_cmpint(convert(0, 2 * MODEL_PAGES, true), ==, -ENOMEM);
    model_hides = false;
    g_assert_true(model_is_shared(&model_blocks[0], 0) != in_place);
    for (int at = 0; at < MODEL_PAGES; at++) {
        g_assert_false(model_is_shared(&model_blocks[0], at) &&
                       model_blocks[0].hidden[at]);
    }
    model_check_equal(false);
    model_tear_down();
}

/* A RAMBlock is moved away while it is converted. */
static void test_moved(const void *opaque)
{
    static ModelStates before;

    for (int after = 0; after < 12; after++) {
        model_set_up(opaque);
        model_copy(before);
        model_lose_after(after, &model_blocks[1], false);
        model_refuse_after(0, 0, 0);
        if (convert(0, 2 * MODEL_PAGES, true)) {
            model_check_unchanged(before);
        }
        model_refuse_after(6, 1, -ENOMEM);
        convert(0, 2 * MODEL_PAGES, false);
        model_check_equal(true);
        model_lose_after(0, NULL, false);
        model_tear_down();
    }
}

/* What is unplugged is not touched any more. */
static void test_unplugged(const void *opaque)
{
    model_set_up(opaque);
    model_lose_after(2, &model_blocks[0], true);
    model_refuse_after(4, 1, -ENOMEM);
    g_assert_cmpint(convert(0, 2 * MODEL_PAGES, false), ==, -ENOMEM);
    g_assert_true(model_is_shared(&model_blocks[0], 0));
    g_assert_false(model_is_shared(&model_blocks[1], 0));
    model_tear_down();
}

static void test_pauses(const void *opaque)
{
    static ModelStates before;
    RamConversion *request;
    CPUState cpu = { .exit_request = true };
    int pauses = 0, ret;

    model_set_up(opaque);
    model_copy(before);
    model_refuse_after(0, 0, 0);
    current_cpu = &cpu;
    request = ram_conversion_begin(0, 2 * MODEL_PAGES * page_size(), false);
    while ((ret = ram_conversion_run(request, true)) == -EINPROGRESS) {
        model_check_equal(true);
        pauses++;
    }
    g_assert_cmpint(ret, ==, 0);
    /* after each step but the last */
    g_assert_cmpint((pauses + 1) * RAM_CONVERSION_STEP_MAPPED, >=,
                    2 * MODEL_PAGES * page_size());
    model_check_converted(before, 0, 2 * MODEL_PAGES, true);

    request = ram_conversion_begin(0, 2 * MODEL_PAGES * page_size(), true);
    g_assert_cmpint(ram_conversion_run(request, true), ==, -EINPROGRESS);
    ram_conversion_abandon_all();
    g_assert_cmpint(ram_conversion_run(request, true), ==, -ECANCELED);
    model_check_equal(true);
    current_cpu = NULL;
    /* Nobody waits for it. */
    g_assert_cmpint(convert(0, MODEL_PAGES, true), ==, 0);
    model_tear_down();
}

/* What was done in large steps for a device is undone without it. */
static void test_device_unplugged(const void *opaque)
{
    static ModelStates before;
    RamConversion *request;
    CPUState cpu = { .exit_request = true };
    int ret;

    model_set_up(opaque);
    model_refuse_after(0, 0, 0);
    g_assert_cmpint(convert(1, 1, false), ==, 0);
    model_copy(before);
    current_cpu = &cpu;
    request = ram_conversion_begin(0, MODEL_PAGES * page_size(), false);
    g_assert_cmpint(ram_conversion_run(request, true), ==, -EINPROGRESS);
    model_lose_device(&model_blocks[0]);
    model_refuse_after(0, 1, -ENOMEM);
    do {
        ret = ram_conversion_run(request, true);
    } while (ret == -EINPROGRESS);
    current_cpu = NULL;
    g_assert_cmpint(ret, ==, -ENOMEM);
    model_check_unchanged(before);
    model_check_equal(true);
    model_tear_down();
}

/* Devices take no more than some calls in a step. */
static void test_many_runs(const void *opaque)
{
    static ModelStates before;

    model_set_up(opaque);
    model_refuse_after(0, 0, 0);
    for (int at = 0; at < MODEL_PAGES; at += 2) {
        g_assert_cmpint(convert(at, 1, false), ==, 0);
    }
    model_copy(before);
    /* in the second step */
    model_refuse_after(RAM_CONVERSION_RUNS + 50, 1, -ENOMEM);
    g_assert_cmpint(convert(0, MODEL_PAGES, false), ==, -ENOMEM);
    model_check_unchanged(before);
    model_check_equal(true);
    model_refuse_after(0, 0, 0);
    model_keeps = RAM_CONVERSION_RUNS + 50;
    g_assert_cmpint(convert(0, MODEL_PAGES, true), ==, -ENOSPC);
    g_assert_cmpint(model_keeps, ==, 0);
    model_check_unchanged(before);
    model_check_equal(true);
    model_most_calls = 0;
    g_assert_cmpint(convert(0, MODEL_PAGES, false), ==, 0);
    model_check_converted(before, 0, MODEL_PAGES, true);
    g_assert_cmpint(model_most_calls, ==, RAM_CONVERSION_RUNS);
    model_tear_down();
}

/* What devices have more than once costs as much as so much more memory. */
static void test_many_windows(const void *opaque)
{
    enum { WINDOWS = 100, AT_MOST = 128 };

    model_set_up(opaque);
    model_refuse_after(0, 0, 0);
    model_blocks[0].attr.dma_windows = WINDOWS;
    model_most_bytes = model_most_calls = 0;
    g_assert_cmpint(convert(0, MODEL_PAGES, false), ==, 0);
    g_assert_cmpuint(model_most_bytes, ==,
                     RAM_CONVERSION_STEP_MAPPED / AT_MOST);
    for (int at = 0; at < MODEL_PAGES; at += 2) {
        g_assert_cmpint(convert(at, 1, true), ==, 0);
    }
    model_most_calls = 0;
    g_assert_cmpint(convert(0, MODEL_PAGES, false), ==, 0);
    g_assert_cmpint(model_most_calls, ==, RAM_CONVERSION_RUNS / AT_MOST);
    model_check_equal(true);
    model_tear_down();
}

typedef struct Often {
    QemuThread thread;
    hwaddr first;
    hwaddr count;
    bool to_private;
} Often;

static void *convert_often(void *opaque)
{
    const Often *often = opaque;

    rcu_register_thread();
    for (int i = 0; i < 100; i++) {
        g_assert_cmpint(convert(often->first, often->count, often->to_private),
                        ==, 0);
    }
    rcu_unregister_thread();
    return NULL;
}

/* Some threads want a range to be private, some to be shared. */
static void convert_in_threads(hwaddr first, hwaddr count)
{
    Often often[THREADS];

    for (int i = 0; i < THREADS; i++) {
        often[i].first = first;
        often[i].count = count;
        often[i].to_private = i % 2;
        qemu_thread_create(&often[i].thread, "convert", convert_often,
                           &often[i], QEMU_THREAD_JOINABLE);
    }
    for (int i = 0; i < THREADS; i++) {
        qemu_thread_join(&often[i].thread);
    }
}

/* What is given back of a page is not what others have made it meanwhile. */
static void test_overlapping_pages(const void *opaque)
{
    model_set_up(opaque);
    model_refuse_after(0, 0, 0);
    for (int i = 0; i < 20; i++) {
        convert_in_threads(7, 3);
        g_assert_true(model_is_shared(&model_blocks[0], 7) ==
                      model_is_shared(&model_blocks[0], 9));
    }
    model_check_equal(true);
    model_tear_down();
}

/* Whoever is the last, all of the range is what it wants. */
static void test_overlapping(const void *opaque)
{
    model_set_up(opaque);
    model_refuse_after(0, 0, 0);
    convert_in_threads(MODEL_PAGES / 2, MODEL_PAGES);
    for (int at = MODEL_PAGES / 2; at < MODEL_PAGES; at++) {
        g_assert_true(model_is_shared(&model_blocks[0], at) ==
                      model_is_shared(&model_blocks[1], at - MODEL_PAGES / 2));
    }
    model_check_equal(true);
    model_tear_down();
}

static void test_bad_ranges(const void *opaque)
{
    static const struct {
        hwaddr start;
        uint64_t size;
    } ranges[] = {
        { 0, 0 }, { 1, 4 * KiB }, { 0, 4 * KiB + 1 }, { 4 * KiB, 1 },
        { 4 * KiB, UINT64_MAX - 4 * KiB + 1 }, { UINT64_MAX - 4095, 8 * KiB },
    };

    model_set_up(opaque);
    for (int i = 0; i < ARRAY_SIZE(ranges); i++) {
        RamConversion *request = ram_conversion_begin(ranges[i].start,
                                                      ranges[i].size, false);

        g_assert_cmpint(ram_conversion_run(request, false), ==, -EINVAL);
    }
    model_tear_down();
}

static void test_fuzzed(void)
{
    uint8_t input[INPUT_SIZE];

    for (int i = 0; i < INPUTS; i++) {
        for (int at = 0; at < INPUT_SIZE; at++) {
            input[at] = g_test_rand_int();
        }
        LLVMFuzzerTestOneInput(input, INPUT_SIZE);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(const void *in_place);
    } tests[] = {
        { "refused-once", test_refused_once },
        { "refused-always", test_refused_always },
        { "busy", test_busy },
        { "kept", test_kept },
        { "hidden", test_hidden },
        { "moved", test_moved },
        { "unplugged", test_unplugged },
        { "pauses", test_pauses },
        { "device-unplugged", test_device_unplugged },
        { "many-runs", test_many_runs },
        { "many-windows", test_many_windows },
        { "overlapping", test_overlapping },
        { "overlapping-pages", test_overlapping_pages },
        { "bad-ranges", test_bad_ranges },
    };

    g_test_init(&argc, &argv, NULL);
    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        for (int where = 0; where < 2; where++) {
            g_autofree char *path =
                g_strdup_printf("/ram-conversion/%s/%s",
                                where ? "in-place" : "separate",
                                tests[i].name);

            g_test_add_data_func(path, (void *)(uintptr_t)where,
                                 tests[i].test);
        }
    }
    g_test_add_func("/ram-conversion/fuzzed", test_fuzzed);
    return g_test_run();
}
