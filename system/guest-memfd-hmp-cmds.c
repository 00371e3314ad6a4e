/*
 * HMP's view of guest memory in guest_memfds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-guest-memfd.h"
#include "qobject/qdict.h"
#include "qemu/cutils.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"

static void print_info(Monitor *mon, const GuestMemfdInfo *info)
{
    g_autofree char *size = size_to_str(info->size);
    g_autofree char *page_size = size_to_str(info->page_size);
    g_autofree char *private = size_to_str(info->q_private);
    g_autofree char *shared = size_to_str(info->shared);

    monitor_printf(mon, "%s: %s, pages of %s, %s\n", info->id, size, page_size,
                   GuestMemfdMode_str(info->mode));
    monitor_printf(mon, "  private: %s (%" PRIu64 " whole pages)\n", private,
                   info->whole_pages);
    monitor_printf(mon, "  shared: %s\n", shared);
    monitor_printf(mon, "  conversions: %" PRIu64 ", retried: %" PRIu64
                   ", failed: %" PRIu64 "\n", info->conversions, info->retries,
                   info->failures);
    if (info->stand_ins) {
        monitor_printf(mon, "  private, but accessed by QEMU: %" PRIu64
                       " pages\n", info->stand_ins);
    }
}

static void print_map(Monitor *mon, const GuestMemfdRangeList *map)
{
    for (; map; map = map->next) {
        monitor_printf(mon, "  0x%016" PRIx64 "-0x%016" PRIx64 " %s\n",
                       map->value->offset,
                       map->value->offset + map->value->size - 1,
                       map->value->q_private ? "private" : "shared");
    }
}

void hmp_info_guest_memfd(Monitor *mon, const QDict *qdict)
{
    g_autoptr(GuestMemfdInfoList) list =
        qmp_query_guest_memfd(NULL, true,
                              qdict_get_try_bool(qdict, "map", false),
                              false, 0, &error_abort);

    for (GuestMemfdInfoList *each = list; each; each = each->next) {
        print_info(mon, each->value);
        print_map(mon, each->value->map);
        if (each->value->has_map_end) {
            monitor_printf(mon, "  more behind 0x%016" PRIx64 "\n",
                           each->value->map_end);
        }
    }
}
