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

/* of pictures */
enum { PER_ROW = 64, ROWS = 16 };

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
    if (info->dma_extents) {
        monitor_printf(mon, "  mapped for devices: %" PRIu64 " pieces, parted: "
                       "%" PRIu64 "\n", info->dma_extents, info->dma_splits);
    }
}

static char sign_of(uint64_t shared, uint64_t size, bool huge)
{
    if (shared) {
        return shared == size ? '.' : '+';
    }
    return huge ? 'H' : 'p';
}

/* In lines that fit on a terminal */
static void print_picture(Monitor *mon, const GuestMemfdInfo *info)
{
    const bool huge = info->page_size > qemu_real_host_page_size();
    g_autofree char *size = size_to_str(info->chunk_size);
    uint64_t at = 0, row = PER_ROW * info->chunk_size;
    struct sizeList *shared = info->chunks;

    monitor_printf(mon, "  each sign is %s: %s private, . shared, + both", size,
                   huge ? "H" : "p");
    for (; shared; shared = shared->next) {
        if (at % row == 0) {
            monitor_printf(mon, "\n  0x%010" PRIx64 " ", at);
        }
        monitor_printf(mon, "%c", sign_of(shared->value,
                                          MIN(info->chunk_size,
                                              info->size - at), huge));
        at += info->chunk_size;
    }
    monitor_printf(mon, "\n");
}

void hmp_info_guest_memfd(Monitor *mon, const QDict *qdict)
{
    bool map = qdict_get_try_bool(qdict, "map", false);
    g_autoptr(GuestMemfdInfoList) list =
        qmp_query_guest_memfd(NULL, false, false, false, 0, true,
                              map ? PER_ROW * ROWS : 0, &error_abort);

    for (GuestMemfdInfoList *each = list; each; each = each->next) {
        print_info(mon, each->value);
        if (each->value->has_chunks) {
            print_picture(mon, each->value);
        } else if (map && each->value->mode != GUEST_MEMFD_MODE_SHARED) {
            monitor_printf(mon, "  too much memory for a picture; see QMP's "
                           "query-guest-memfd\n");
        }
    }
}
