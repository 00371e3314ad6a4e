/*
 * Fuzzing: conversion of guest memory, against a naive model
 *
 * An input says which requests begin, in which order they go on step by step,
 * what kernel and devices refuse meanwhile, and which memory comes and goes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "system/ram-conversion.h"
#include "fuzz-ram-conversion.h"
#include "ram-conversion-model.h"

enum { REQUESTS = 4 };

typedef struct Input {
    const uint8_t *data;
    size_t size;
} Input;

/* A request that has begun; @request is NULL otherwise. */
typedef struct Pending {
    RamConversion *request;
    hwaddr first, count;
    bool to_private;
} Pending;

static Pending pending[REQUESTS];
static ModelStates expected;
/* Whether states are those expected, not only the same for all. */
static bool is_exact;
/* Whether devices have all that is shared; what they lost, they may not get. */
static bool has_access;

static unsigned int take(Input *input, unsigned int limit)
{
    unsigned int value = 0;

    for (int i = 0; i < 2 && input->size; i++) {
        value = value << 8 | *input->data++;
        input->size--;
    }
    return value % limit;
}

static bool is_idle(void)
{
    for (int i = 0; i < REQUESTS; i++) {
        if (pending[i].request) {
            return false;
        }
    }
    return true;
}

/* What is expected of the memory that the guest sees now. */
static void expect_converted(const Pending *each)
{
    for (int i = 0; i < MODEL_BLOCKS; i++) {
        hwaddr page = model_blocks[i].page;

        for (int at = 0; model_blocks[i].is_mapped && at < MODEL_PAGES; at++) {
            if (page + at >= each->first &&
                page + at < each->first + each->count) {
                expected[i][at] = !each->to_private;
            }
        }
    }
}

static void check_states(void)
{
    if (!is_idle()) {
        return;
    }
    /* Less than all can be put back if more than one call is refused. */
    is_exact = is_exact && model_refused() < 2;
    if (is_exact) {
        model_check_unchanged(expected);
    }
    has_access = has_access && is_exact;
    model_check_equal(has_access);
    model_copy(expected);
    is_exact = true;
    model_refuse_after(0, 0, 0);
    model_lose_after(0, NULL, false);
}

static void go_on(Pending *each)
{
    int ret;

    if (!each->request) {
        return;
    }
    ret = ram_conversion_run(each->request, true);
    if (ret == -EINPROGRESS) {
        return;
    }
    each->request = NULL;
    if (!ret) {
        expect_converted(each);
    } else if (ret == -ECANCELED) {
        is_exact = false;
    }
    check_states();
}

static void begin(Input *input)
{
    const uint64_t page = qemu_real_host_page_size();
    Pending *each = &pending[take(input, REQUESTS)];
    int ret;

    if (each->request) {
        return;
    }
    each->first = take(input, MODEL_ALL - 1);
    each->count = 1 + take(input, take(input, 2) ? 40 : MODEL_ALL);
    each->count = MIN(each->count, MODEL_ALL - each->first);
    each->to_private = take(input, 2);
    ret = ram_conversion_try(each->first * page, each->count * page,
                             each->to_private);
    if (ret != -EAGAIN) {
        if (!ret) {
            expect_converted(each);
        }
        check_states();
        return;
    }
    each->request = ram_conversion_begin(each->first * page,
                                         each->count * page, each->to_private);
}

static void refuse(Input *input)
{
    static const int errors[] = { -EAGAIN, -ENOMEM, -EINVAL, -EIO };
    int after = take(input, 16), times = take(input, 4);

    /* What is refused now may be what would undo what was refused before. */
    is_exact = is_exact && !model_refused();
    model_refuse_after(after, times, errors[take(input, ARRAY_SIZE(errors))]);
}

static void lose(Input *input)
{
    int after = take(input, 16);
    ModelBlock *block = &model_blocks[take(input, MODEL_BLOCKS)];

    if (block->is_mapped) {
        model_lose_after(after, block, take(input, 2));
        is_exact = false;
    }
}

static void find(Input *input)
{
    ModelBlock *block = &model_blocks[take(input, MODEL_BLOCKS)];

    if (!block->is_mapped) {
        model_find(block);
        is_exact = false;
    }
}

static void finish(void)
{
    while (!is_idle()) {
        for (int i = 0; i < REQUESTS; i++) {
            go_on(&pending[i]);
        }
    }
    check_states();
}

static void do_next(Input *input)
{
    switch (take(input, 16)) {
    case 0 ... 4:
        begin(input);
        break;
    case 5 ... 11:
        go_on(&pending[take(input, REQUESTS)]);
        break;
    case 12:
        refuse(input);
        break;
    case 13:
        lose(input);
        break;
    case 14:
        find(input);
        break;
    default:
        if (take(input, 4)) {
            finish();
        } else {
            ram_conversion_abandon_all();
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input input = { .data = data, .size = size };
    CPUState cpu = { .exit_request = true };

    current_cpu = &cpu;
    model_set_up(take(&input, 2));
    model_refuse_after(0, 0, 0);
    model_lose_after(0, NULL, false);
    model_copy(expected);
    is_exact = has_access = true;
    while (input.size) {
        do_next(&input);
    }
    finish();
    model_tear_down();
    current_cpu = NULL;
    return 0;
}
