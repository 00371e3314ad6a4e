/*
 * QMP's view of guest memory in guest_memfds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-guest-memfd.h"
#include "qemu/bitmap.h"
#include "qemu/units.h"
#include "exec/cpu-common.h"
#include "system/ramblock.h"

/*
 * Of all maps in one answer, as QMP waits: a guest can make millions of ranges,
 * and finding the end of one takes some ten million instructions for so much.
 */
enum { MAX_RANGES = 512 };
#define MAX_SEARCH (256 * GiB)

typedef struct Query {
    GuestMemfdInfoList **tail;
    const char *id;                 /* or NULL, for all */
    bool map;
    uint64_t from;
    unsigned int ranges;            /* that the answer may still have */
    uint64_t search;                /* how much it may still look at */
} Query;

static GuestMemfdMode mode_of(RAMBlock *rb)
{
    if (rb->guest_memfd < 0) {
        return GUEST_MEMFD_MODE_SHARED;
    }
    return qemu_ram_fd_is_guest_memfd(rb) ? GUEST_MEMFD_MODE_IN_PLACE
                                          : GUEST_MEMFD_MODE_SEPARATE;
}

/* Returns the ranges from @at on, and goes on to what is behind them. */
static GuestMemfdRangeList *map_of(const unsigned long *shared,
                                   unsigned long *at_page, unsigned long pages,
                                   unsigned int *ranges)
{
    const size_t page = qemu_real_host_page_size();
    GuestMemfdRangeList *map = NULL, **tail = &map;
    unsigned long at = *at_page, end;

    for (; *ranges && at < pages; (*ranges)--) {
        bool is_shared = test_bit(at, shared);
        GuestMemfdRange *range = g_new0(GuestMemfdRange, 1);

        /* The page itself may have changed meanwhile. */
        end = is_shared ? find_next_zero_bit(shared, pages, at + 1)
                        : find_next_bit(shared, pages, at + 1);
        range->offset = at * page;
        range->size = (end - at) * page;
        range->q_private = !is_shared;
        QAPI_LIST_APPEND(tail, range);
        at = end;
    }
    *at_page = at;
    return map;
}

static void add_map(GuestMemfdInfo *info, RAMBlock *rb, Query *query)
{
    const size_t page = qemu_real_host_page_size();
    unsigned long first = MIN(query->from, rb->max_length) / page;
    unsigned long pages = rb->max_length / page, at = first;
    unsigned long end = MIN(pages, first + query->search / page);

    info->has_map = true;
    info->map = map_of(rb->attributes->bitmap, &at, end, &query->ranges);
    query->search -= (at - first) * page;
    if (at < pages) {
        info->has_map_end = true;
        info->map_end = at * page;
    }
}

/*
 * Without the lock of states, as a guest decides how many there are; if it
 * converts memory meanwhile, the answer has some of that.
 */
static void add_states(GuestMemfdInfo *info, RAMBlock *rb, Query *query)
{
    const size_t page = qemu_real_host_page_size();
    RamBlockAttributes *attr = rb->attributes;

    info->shared = qatomic_read(&attr->nr_shared) * page;
    info->q_private = rb->max_length - info->shared;
    info->whole_pages = attr->nr_shared_in ? qatomic_read(&attr->nr_whole)
                                           : info->q_private / page;
    info->conversions = qatomic_read(&attr->conversions);
    info->retries = qatomic_read(&attr->retries);
    info->failures = qatomic_read(&attr->failures);
    info->stand_ins = qatomic_read(&attr->nr_stand_ins);
    if (query->map) {
        add_map(info, rb, query);
    }
}

/* Memory that nothing uses yet has no other name. */
static const char *name_of(RAMBlock *rb)
{
    const char *id = qemu_ram_get_idstr(rb);

    return *id ? id : memory_region_name(rb->mr);
}

static int add_info(RAMBlock *rb, void *opaque)
{
    Query *query = opaque;
    GuestMemfdInfo *info;

    if (rb->guest_memfd < 0 && !qemu_ram_fd_is_guest_memfd(rb)) {
        return 0;
    }
    if (query->id && strcmp(query->id, name_of(rb))) {
        return 0;
    }
    info = g_new0(GuestMemfdInfo, 1);
    info->id = g_strdup(name_of(rb));
    info->mode = mode_of(rb);
    info->size = rb->max_length;
    info->page_size = rb->page_size;
    info->shared = rb->max_length;
    if (rb->guest_memfd >= 0) {
        add_states(info, rb, query);
    }
    QAPI_LIST_APPEND(query->tail, info);
    return 0;
}

GuestMemfdInfoList *qmp_query_guest_memfd(const char *id, bool has_map,
                                          bool map, bool has_map_start,
                                          uint64_t map_start, Error **errp)
{
    GuestMemfdInfoList *list = NULL;
    Query query = {
        .tail = &list, .id = id, .map = map, .from = map_start,
        .ranges = MAX_RANGES, .search = MAX_SEARCH,
    };

    qemu_ram_foreach_block(add_info, &query);
    if (id && !list) {
        error_setg(errp, "no memory in a guest_memfd has the id '%s'; ask "
                   "without 'id' for all that there is", id);
    }
    return list;
}
