/*
 * QMP's view of guest memory in guest_memfds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-guest-memfd.h"
#include "qemu/bitmap.h"
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "exec/cpu-common.h"
#include "system/ramblock.h"

/*
 * Of all maps in one answer, as QMP waits: a guest can make millions of ranges,
 * and finding the end of one takes some ten million instructions for so much.
 */
enum { MAX_RANGES = 512 };
#define MAX_SEARCH (256 * GiB)

/* The same for chunks, which are counted by the word. */
enum { MAX_CHUNKS = 4096, MAX_CHUNKS_OF_ALL = 16384 };
#define MAX_COUNTED (2 * TiB)

typedef struct Query {
    GuestMemfdInfoList **tail;
    const char *id;                 /* or NULL, for all */
    bool map;
    uint64_t from;
    unsigned int chunks;            /* of each memory at most */
    unsigned int ranges;            /* that the answer may still have */
    uint64_t search;                /* how much it may still look at */
    unsigned int chunks_of_all;     /* the same for chunks */
    uint64_t count;
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

/* The pages of a chunk are whole words of the bitmap. */
static uint64_t chunk_size_of(const RAMBlock *rb, unsigned int chunks)
{
    uint64_t least = MAX(rb->page_size,
                         BITS_PER_LONG * qemu_real_host_page_size());

    return pow2ceil(MAX(DIV_ROUND_UP(rb->max_length, chunks), least));
}

static void add_chunks(GuestMemfdInfo *info, RAMBlock *rb, Query *query)
{
    const size_t page = qemu_real_host_page_size();
    unsigned long pages = rb->max_length / page;
    sizeList **tail = &info->chunks;
    unsigned long step;

    info->chunk_size = chunk_size_of(rb, query->chunks);
    step = info->chunk_size / page;
    if (rb->max_length > query->count ||
        DIV_ROUND_UP(pages, step) > query->chunks_of_all) {
        return;
    }
    query->count -= rb->max_length;
    query->chunks_of_all -= DIV_ROUND_UP(pages, step);
    info->has_chunks = info->has_chunk_size = true;
    for (unsigned long at = 0; at < pages; at += step) {
        const unsigned long *shared = rb->attributes->bitmap + BIT_WORD(at);

        QAPI_LIST_APPEND(tail, page * (uint64_t)
                         bitmap_count_one(shared, MIN(step, pages - at)));
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
    info->dma_extents = qatomic_read(&attr->dma_extents);
    info->dma_splits = qatomic_read(&attr->dma_splits);
    if (query->map) {
        add_map(info, rb, query);
    }
    if (query->chunks) {
        add_chunks(info, rb, query);
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
                                          uint64_t map_start, bool has_chunks,
                                          uint16_t chunks, Error **errp)
{
    GuestMemfdInfoList *list = NULL;
    Query query = {
        .tail = &list, .id = id, .map = map, .from = map_start,
        .chunks = chunks, .ranges = MAX_RANGES, .search = MAX_SEARCH,
        .chunks_of_all = MAX_CHUNKS_OF_ALL, .count = MAX_COUNTED,
    };

    if (chunks > MAX_CHUNKS) {
        error_setg(errp, "parameter 'chunks' takes values up to %d, not %u",
                   MAX_CHUNKS, chunks);
        return NULL;
    }
    qemu_ram_foreach_block(add_info, &query);
    if (id && !list) {
        error_setg(errp, "no memory in a guest_memfd has the id '%s'; ask "
                   "without 'id' for all that there is", id);
    }
    return list;
}
