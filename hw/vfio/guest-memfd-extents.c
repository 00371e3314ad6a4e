/*
 * What of a guest's memory a container has mapped for DMA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/interval-tree.h"
#include "qemu/range.h"
#include "guest-memfd-extents.h"

typedef IntervalTreeNode Extent;

struct VFIOExtents {
    IntervalTreeRoot root;
    size_t count;
    const VFIOExtentsOps *ops;
    void *opaque;
    uint64_t max;
    bool can_cut;
};

VFIOExtents *vfio_extents_new(const VFIOExtentsOps *ops, void *opaque,
                              uint64_t max, bool can_cut)
{
    VFIOExtents *extents = g_new0(VFIOExtents, 1);

    extents->ops = ops;
    extents->opaque = opaque;
    extents->max = max;
    extents->can_cut = can_cut;
    return extents;
}

size_t vfio_extents_count(const VFIOExtents *extents)
{
    return extents->count;
}

static void remember(VFIOExtents *extents, uint64_t start, uint64_t end)
{
    Extent *extent = g_new0(Extent, 1);

    extent->start = start;
    extent->last = end - 1;
    interval_tree_insert(extent, &extents->root);
    extents->count++;
}

static void forget(VFIOExtents *extents, Extent *extent)
{
    interval_tree_remove(extent, &extents->root);
    g_free(extent);
    extents->count--;
}

void vfio_extents_free(VFIOExtents *extents)
{
    Extent *extent;

    if (!extents) {
        return;
    }
    while ((extent = interval_tree_iter_first(&extents->root, 0, UINT64_MAX))) {
        forget(extents, extent);
    }
    g_free(extents);
}

static int map(VFIOExtents *extents, uint64_t start, uint64_t end)
{
    int ret = extents->ops->map(extents->opaque, start, end - start);

    if (!ret) {
        remember(extents, start, end);
    }
    return ret;
}

/* Unmaps an extent, or a part of one that can be cut. */
static int unmap(VFIOExtents *extents, Extent *extent, uint64_t start,
                 uint64_t end)
{
    uint64_t left = extent->start, right = extent->last + 1;
    int ret = extents->ops->unmap(extents->opaque, start, end - start);

    if (ret) {
        return ret;
    }
    forget(extents, extent);
    if (left < start) {
        remember(extents, left, start);
    }
    if (end < right) {
        remember(extents, end, right);
    }
    return 0;
}

/* Unmaps what was mapped just now. If some stays, so does its extent. */
static void unmap_again(VFIOExtents *extents, GArray *mapped)
{
    for (int i = 0; i < mapped->len; i++) {
        Range *part = &g_array_index(mapped, Range, i);
        uint64_t start = range_lob(part), last = range_upb(part);

        unmap(extents, interval_tree_iter_first(&extents->root, start, last),
              start, last + 1);
    }
}

static int map_part(VFIOExtents *extents, uint64_t start, uint64_t end,
                    GArray *mapped)
{
    int ret = map(extents, start, end);
    Range part;

    if (!ret) {
        range_set_bounds(&part, start, end - 1);
        g_array_append_val(mapped, part);
    }
    return ret;
}

int vfio_extents_add(VFIOExtents *extents, uint64_t start, uint64_t size)
{
    g_autoptr(GArray) mapped = g_array_new(false, false, sizeof(Range));
    uint64_t end = start + size, next;

    for (uint64_t at = start; at < end; at = next) {
        Extent *extent = interval_tree_iter_first(&extents->root, at, end - 1);
        int ret;

        if (extent && extent->start <= at) {
            next = extent->last + 1;
            continue;
        }
        next = MIN(extent ? extent->start : end,
                   QEMU_ALIGN_DOWN(at, extents->max) + extents->max);
        ret = map_part(extents, at, next, mapped);
        if (ret) {
            unmap_again(extents, mapped);
            return ret;
        }
    }
    return 0;
}

/* Unmaps all of each extent that a range touches, or only that if it can. */
static int unmap_range(VFIOExtents *extents, uint64_t start, uint64_t end,
                       GArray *unmapped)
{
    Extent *extent;

    while ((extent = interval_tree_iter_first(&extents->root, start,
                                              end - 1))) {
        uint64_t first = extent->start, past = extent->last + 1;
        Range part;
        int ret;

        if (extents->can_cut) {
            first = MAX(first, start);
            past = MIN(past, end);
        }
        ret = unmap(extents, extent, first, past);
        if (ret && past - first <= extent->last - extent->start) {
            /* Once more, as a whole */
            extents->can_cut = false;
            continue;
        }
        if (ret) {
            return ret;
        }
        range_set_bounds(&part, first, past - 1);
        g_array_append_val(unmapped, part);
    }
    return 0;
}

/* Maps what a range has not, of what was unmapped for it. */
static int map_rest(VFIOExtents *extents, uint64_t start, uint64_t end,
                    GArray *unmapped)
{
    g_autoptr(GArray) mapped = g_array_new(false, false, sizeof(Range));
    uint64_t first = range_lob(&g_array_index(unmapped, Range, 0));
    uint64_t past = range_upb(&g_array_index(unmapped, Range,
                                             unmapped->len - 1)) + 1;
    int ret;

    if (first >= start && past <= end) {
        return 0;
    }
    extents->ops->parted(extents->opaque, first, past - first);
    ret = first < start ? map_part(extents, first, start, mapped) : 0;
    if (!ret && past > end) {
        ret = map_part(extents, end, past, mapped);
    }
    if (ret) {
        unmap_again(extents, mapped);
    }
    return ret;
}

static void restore(VFIOExtents *extents, GArray *unmapped)
{
    for (int i = 0; i < unmapped->len; i++) {
        Range *part = &g_array_index(unmapped, Range, i);

        if (map(extents, range_lob(part), range_upb(part) + 1)) {
            extents->ops->lose(extents->opaque, range_lob(part),
                               range_size(part));
        }
    }
}

int vfio_extents_remove(VFIOExtents *extents, uint64_t start, uint64_t size)
{
    g_autoptr(GArray) unmapped = g_array_new(false, false, sizeof(Range));
    uint64_t end = start + size;
    int ret = unmap_range(extents, start, end, unmapped);

    if (!ret && unmapped->len) {
        ret = map_rest(extents, start, end, unmapped);
    }
    if (ret) {
        restore(extents, unmapped);
    }
    return ret;
}

/* Finds how far extents lie side by side from one on, as far as one may go. */
static uint64_t find_end(VFIOExtents *extents, const Extent *extent,
                         const VFIOExtentsLimit *left)
{
    uint64_t start = extent->start, end = extent->last + 1;
    uint64_t most = MIN(QEMU_ALIGN_DOWN(start, extents->max) + extents->max -
                        start, left->size);

    for (size_t count = 0; count < left->count; count++) {
        extent = interval_tree_iter_first(&extents->root, end, end);
        if (!extent || extent->last - start >= most) {
            break;
        }
        end = extent->last + 1;
    }
    return end;
}

static void join_range(VFIOExtents *extents, uint64_t start, uint64_t end)
{
    g_autoptr(GArray) unmapped = g_array_new(false, false, sizeof(Range));

    if (unmap_range(extents, start, end, unmapped) ||
        map(extents, start, end)) {
        restore(extents, unmapped);
    }
}

void vfio_extents_join(VFIOExtents *extents, VFIOExtentsLimit *left)
{
    uint64_t at = 0;
    Extent *extent;

    while (left->count &&
           (extent = interval_tree_iter_first(&extents->root, at,
                                              UINT64_MAX))) {
        uint64_t start = extent->start, past = extent->last + 1;
        size_t before = extents->count;

        at = find_end(extents, extent, left);
        if (at > past) {
            join_range(extents, start, at);
            left->count -= MIN(left->count, before - extents->count);
            left->size -= at - start;
        }
    }
}
