/*
 * QMP's view of guest memory in guest_memfds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qapi-commands-guest-memfd.h"
#include "qemu/bitmap.h"
#include "exec/cpu-common.h"
#include "system/ramblock.h"

typedef struct Query {
    GuestMemfdInfoList **tail;
    bool map;
} Query;

static GuestMemfdMode mode_of(RAMBlock *rb)
{
    if (rb->guest_memfd < 0) {
        return GUEST_MEMFD_MODE_SHARED;
    }
    return qemu_ram_fd_is_guest_memfd(rb) ? GUEST_MEMFD_MODE_IN_PLACE
                                          : GUEST_MEMFD_MODE_SEPARATE;
}

static GuestMemfdRangeList *map_of(const unsigned long *shared,
                                   unsigned long pages)
{
    const size_t page = qemu_real_host_page_size();
    GuestMemfdRangeList *map = NULL, **tail = &map;
    unsigned long at = 0, end;

    while (at < pages) {
        bool is_shared = test_bit(at, shared);
        GuestMemfdRange *range = g_new0(GuestMemfdRange, 1);

        end = is_shared ? find_next_zero_bit(shared, pages, at)
                        : find_next_bit(shared, pages, at);
        range->offset = at * page;
        range->size = (end - at) * page;
        range->q_private = !is_shared;
        QAPI_LIST_APPEND(tail, range);
        at = end;
    }
    return map;
}

static uint64_t count_whole_pages(const unsigned long *shared,
                                  unsigned long pages, unsigned long each)
{
    uint64_t whole = 0;

    for (unsigned long at = 0; at + each <= pages; at += each) {
        whole += find_next_bit(shared, at + each, at) == at + each;
    }
    return whole;
}

static void add_states(GuestMemfdInfo *info, RAMBlock *rb, bool map)
{
    const size_t page = qemu_real_host_page_size();
    RamBlockAttributes *attr = rb->attributes;
    unsigned long pages = rb->max_length / page;

    ram_block_attributes_lock();
    info->shared = bitmap_count_one(attr->bitmap, pages) * page;
    info->q_private = rb->max_length - info->shared;
    info->whole_pages = count_whole_pages(attr->bitmap, pages,
                                          rb->page_size / page);
    info->conversions = attr->conversions;
    info->retries = attr->retries;
    info->failures = attr->failures;
    info->stand_ins = attr->nr_stand_ins;
    info->has_map = map;
    info->map = map ? map_of(attr->bitmap, pages) : NULL;
    ram_block_attributes_unlock();
}

static int add_info(RAMBlock *rb, void *opaque)
{
    Query *query = opaque;
    GuestMemfdInfo *info;

    if (rb->guest_memfd < 0 && !qemu_ram_fd_is_guest_memfd(rb)) {
        return 0;
    }
    info = g_new0(GuestMemfdInfo, 1);
    /* Memory that nothing uses yet has no other name. */
    info->id = g_strdup(*qemu_ram_get_idstr(rb) ? qemu_ram_get_idstr(rb)
                                                : memory_region_name(rb->mr));
    info->mode = mode_of(rb);
    info->size = rb->max_length;
    info->page_size = rb->page_size;
    info->shared = rb->max_length;
    if (rb->guest_memfd >= 0) {
        add_states(info, rb, query->map);
    }
    QAPI_LIST_APPEND(query->tail, info);
    return 0;
}

GuestMemfdInfoList *qmp_query_guest_memfd(bool has_map, bool map, Error **errp)
{
    GuestMemfdInfoList *list = NULL;
    Query query = { .tail = &list, .map = map };

    qemu_ram_foreach_block(add_info, &query);
    return list;
}
