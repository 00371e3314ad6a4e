/*
 * Fuzzing: extents of memory that devices have, against a naive container
 *
 * An input says how the container maps memory, what it refuses, and what is
 * added, removed and joined.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/vfio/guest-memfd-extents.h"
#include "fuzz-vfio-extents.h"

enum { PAGES = 200, PAGE = 4096, MAX_PAGES = 32 };

typedef struct Input {
    const uint8_t *data;
    size_t size;
} Input;

/* As the kernel has it: who is mapped, and by which call */
typedef struct Container {
    Input input;
    bool can_cut;
    unsigned int call[PAGES];       /* 0 if it is not mapped */
    bool wanted[PAGES];
    unsigned int calls;
    size_t count;                   /* of mappings */
    size_t limit;
    bool refuses;                   /* some calls */
    bool stays;                     /* what was to be unmapped */
    bool parted;                    /* an extent */
} Container;

static unsigned int take(Container *container, unsigned int limit)
{
    Input *input = &container->input;

    if (!input->size) {
        return 0;
    }
    input->size--;
    return *input->data++ % limit;
}

static bool refuse(Container *container)
{
    return container->refuses && take(container, 16) == 1;
}

static void check_range(uint64_t start, uint64_t size)
{
    g_assert_cmpuint(start % PAGE, ==, 0);
    g_assert_cmpuint(size % PAGE, ==, 0);
    g_assert_cmpuint(size, >, 0);
    g_assert_cmpuint(start + size, <=, PAGES * PAGE);
}

static int container_map(void *opaque, uint64_t start, uint64_t size)
{
    Container *container = opaque;
    unsigned int first = start / PAGE, end = (start + size) / PAGE;

    check_range(start, size);
    g_assert_cmpuint(first / MAX_PAGES, ==, (end - 1) / MAX_PAGES);
    for (int i = first; i < end; i++) {
        if (container->call[i]) {
            g_assert_true(container->stays);
            return -EEXIST;
        }
    }
    if (container->count == container->limit) {
        return -ENOSPC;
    }
    if (refuse(container)) {
        return -ENOMEM;
    }
    container->calls++;
    container->count++;
    for (int i = first; i < end; i++) {
        container->call[i] = container->calls;
    }
    return 0;
}

static size_t count_mappings(const Container *container)
{
    size_t count = 0;

    for (int i = 0; i < PAGES; i++) {
        count += container->call[i] &&
                 (!i || container->call[i] != container->call[i - 1]);
    }
    return count;
}

/* All of a mapping is unmapped, if it cannot be cut. */
static void check_whole(const Container *container, int first, int end)
{
    const unsigned int *call = container->call;

    g_assert_true(!first || call[first - 1] != call[first]);
    g_assert_true(end == PAGES || call[end] != call[first]);
}

static int container_unmap(void *opaque, uint64_t start, uint64_t size)
{
    Container *container = opaque;
    unsigned int first = start / PAGE, end = (start + size) / PAGE;
    unsigned int call = container->call[first];

    check_range(start, size);
    g_assert_cmpuint(call, !=, 0);
    for (int i = first; i < end; i++) {
        g_assert_cmpuint(container->call[i], ==, call);
    }
    if (!container->can_cut) {
        check_whole(container, first, end);
    }
    if (refuse(container)) {
        container->stays = true;
        return -EINVAL;
    }
    /* What is cut off behind is another mapping. */
    container->calls++;
    for (int i = end; i < PAGES && container->call[i] == call; i++) {
        container->call[i] = container->calls;
    }
    memset(&container->call[first], 0, (end - first) * sizeof(int));
    container->count = count_mappings(container);
    return 0;
}

static void container_lose(void *opaque, uint64_t start, uint64_t size)
{
    Container *container = opaque;

    g_assert_true(container->refuses);
    for (int i = start / PAGE; i < (start + size) / PAGE; i++) {
        container->wanted[i] = container->call[i];
    }
}

static void container_parted(void *opaque, uint64_t start, uint64_t size)
{
    Container *container = opaque;

    check_range(start, size);
    container->parted = true;
}

static void check_states(const Container *container, const VFIOExtents *extents)
{
    for (int i = 0; i < PAGES; i++) {
        g_assert_true(!!container->call[i] == container->wanted[i]);
    }
    g_assert_cmpuint(vfio_extents_count(extents), ==,
                     count_mappings(container));
}

/* Whether only a part of a mapping is in a range. */
static bool parts(const Container *container, int first, int end)
{
    const unsigned int *call = container->call;

    return (first && call[first] && call[first - 1] == call[first]) ||
           (end < PAGES && call[end] && call[end - 1] == call[end]);
}

static void change(Container *container, VFIOExtents *extents)
{
    int first = take(container, PAGES);
    int count = 1 + take(container, take(container, 2) ? 3 : PAGES);
    bool add = take(container, 2);
    bool should_part;
    int ret;

    count = MIN(count, PAGES - first);
    should_part = !add && !container->can_cut &&
                  parts(container, first, first + count);
    ret = add ? vfio_extents_add(extents, first * PAGE, count * PAGE) :
                vfio_extents_remove(extents, first * PAGE, count * PAGE);
    if (!ret) {
        memset(&container->wanted[first], add, count);
        /* What was once refused to be cut is parted from then on. */
        g_assert_true(container->parted == should_part || container->refuses);
        return;
    }
    g_assert_true(container->refuses || ret == -ENOSPC);
    for (int i = first; add && container->stays && i < first + count; i++) {
        container->wanted[i] = container->call[i];
    }
}

/* Neighbours become one, as far as an extent may go, if there are few. */
static void join(Container *container, VFIOExtents *extents)
{
    const unsigned int *call = container->call;
    bool all = take(container, 2);
    VFIOExtentsLimit left = {
        .count = all ? PAGES : 3,
        .size = all ? UINT64_MAX : 4 * PAGE,
    };
    size_t before = vfio_extents_count(extents);

    vfio_extents_join(extents, &left);
    g_assert_true(all || container->refuses ||
                  before - vfio_extents_count(extents) <= 3);
    for (int i = 1; i < PAGES && all && !container->refuses; i++) {
        g_assert_true(!call[i - 1] || !call[i] || i % MAX_PAGES == 0 ||
                      call[i - 1] == call[i]);
    }
}

static const VFIOExtentsOps container_ops = {
    .map = container_map,
    .unmap = container_unmap,
    .lose = container_lose,
    .parted = container_parted,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Container container = { .input = { .data = data, .size = size } };
    VFIOExtents *extents;

    container.can_cut = take(&container, 2);
    container.refuses = take(&container, 2);
    container.limit = PAGES;
    extents = vfio_extents_new(&container_ops, &container, MAX_PAGES * PAGE,
                               container.can_cut);
    while (container.input.size) {
        container.stays = container.parted = false;
        switch (take(&container, 64)) {
        case 0:
            container.limit = container.can_cut ? PAGES :
                MAX(container.count, take(&container, PAGES));
            break;
        case 1:
            join(&container, extents);
            break;
        default:
            change(&container, extents);
            break;
        }
        check_states(&container, extents);
    }
    vfio_extents_free(extents);
    return 0;
}
