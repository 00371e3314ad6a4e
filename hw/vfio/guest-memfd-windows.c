/*
 * Private memory of a guest behind an IOMMU of the guest
 *
 * A window is what that IOMMU shows devices of memory that can be private.
 * They have what is shared of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/interval-tree.h"
#include "qemu/lockable.h"
#include "system/address-spaces.h"
#include "system/ramblock.h"
#include "guest-memfd-map.h"

/* Of one page at most, as each is unmapped before the page becomes private */
#define MOST_OF_A_PAGE  1024

/* All windows of a container, which are no more than one for an address. */
typedef struct VFIOWindows {
    VFIOContainer *bcontainer;
    IntervalTreeRoot by_iova;
    QLIST_HEAD(, Shown) shown;
} VFIOWindows;

/*
 * A RAMBlock of which there are windows.  If it is unplugged meanwhile the
 * listener loses its section, and nothing is mapped any more.
 */
typedef struct Shown {
    VFIOWindows *windows;
    MemoryRegion *mr;
    VFIOExtents *extents;           /* by addresses for devices */
    RamDiscardListener listener;
    IntervalTreeRoot by_offset;
    unsigned int most;              /* windows that there were of a page */
    QLIST_ENTRY(Shown) next;
} Shown;

typedef struct Window {
    IntervalTreeNode iova;
    IntervalTreeNode offset;        /* within the RAMBlock, of the same size */
    Shown *shown;
    bool readonly;
} Window;

/* Part of a window, by addresses for devices */
typedef struct Part {
    hwaddr start;
    uint64_t size;
} Part;

static int extent_map(void *opaque, uint64_t start, uint64_t size)
{
    Shown *shown = opaque;
    VFIOWindows *windows = shown->windows;
    Window *window = container_of(
        interval_tree_iter_first(&windows->by_iova, start, start), Window,
        iova);

    return vfio_guest_memfd_map(windows->bcontainer, shown->mr, start, size,
                                window->offset.start +
                                (start - window->iova.start), window->readonly);
}

static int extent_unmap(void *opaque, uint64_t start, uint64_t size)
{
    Shown *shown = opaque;

    return vfio_guest_memfd_unmap(shown->windows->bcontainer, start, size);
}

static void extent_lose(void *opaque, uint64_t start, uint64_t size)
{
    Shown *shown = opaque;

    vfio_guest_memfd_tell_lost(shown->mr, start, size);
}

static void extent_parted(void *opaque, uint64_t start, uint64_t size)
{
    Shown *shown = opaque;

    vfio_guest_memfd_tell_parted(shown->mr, start, size);
}

static const VFIOExtentsOps extent_ops = {
    .map = extent_map,
    .unmap = extent_unmap,
    .lose = extent_lose,
    .parted = extent_parted,
};

static int add_part(Shown *shown, const Part *part)
{
    return vfio_guest_memfd_add(shown->windows->bcontainer, shown->mr,
                                shown->extents, part->start, part->size);
}

static int remove_part(Shown *shown, const Part *part)
{
    return vfio_guest_memfd_remove(shown->windows->bcontainer, shown->mr,
                                   shown->extents, part->start, part->size);
}

/* What a window shows of a section. */
static Part part_of(const Window *window, const MemoryRegionSection *section)
{
    uint64_t first = MAX(window->offset.start, section->offset_within_region);
    uint64_t last = MIN(window->offset.last, section->offset_within_region +
                                             int128_get64(section->size) - 1);

    return (Part) {
        .start = window->iova.start + first - window->offset.start,
        .size = last - first + 1,
    };
}

static int for_each_part(RamDiscardListener *rdl,
                         const MemoryRegionSection *section,
                         int (*fn)(Shown *shown, const Part *part))
{
    Shown *shown = container_of(rdl, Shown, listener);
    uint64_t start = section->offset_within_region;
    uint64_t last = start + int128_get64(section->size) - 1;
    IntervalTreeNode *node = interval_tree_iter_first(&shown->by_offset, start,
                                                      last);
    int ret = 0;

    for (; node && !ret; node = interval_tree_iter_next(node, start, last)) {
        Part part = part_of(container_of(node, Window, offset), section);

        ret = fn(shown, &part);
    }
    return ret;
}

static int notify_try_discard(RamDiscardListener *rdl,
                              MemoryRegionSection *section)
{
    return for_each_part(rdl, section, remove_part);
}

static int remove_or_go_on(Shown *shown, const Part *part)
{
    remove_part(shown, part);
    return 0;
}

static void notify_discard(RamDiscardListener *rdl,
                           MemoryRegionSection *section)
{
    for_each_part(rdl, section, remove_or_go_on);
}

static int notify_populate(RamDiscardListener *rdl,
                           MemoryRegionSection *section)
{
    int ret = for_each_part(rdl, section, add_part);

    if (ret) {
        notify_discard(rdl, section);
    }
    return ret;
}

static Shown *find_shown(VFIOWindows *windows, const MemoryRegion *mr)
{
    Shown *shown;

    QLIST_FOREACH(shown, &windows->shown, next) {
        if (shown->mr == mr && shown->listener.section) {
            return shown;
        }
    }
    return NULL;
}

/*
 * Listens to all conversions of the memory.  No window shows any of it yet, so
 * that nothing is to be told at first, and no look at all states be taken.
 */
static Shown *add_shown(VFIOWindows *windows, MemoryRegion *mr)
{
    Shown *shown = g_new0(Shown, 1);
    MemoryRegionSection nothing = { .mr = mr };

    shown->windows = windows;
    shown->mr = mr;
    shown->extents = vfio_guest_memfd_new_extents(windows->bcontainer, mr,
                                                  &extent_ops, shown);
    ram_discard_listener_init(&shown->listener, notify_populate, notify_discard,
                              true);
    shown->listener.notify_try_discard = notify_try_discard;
    ram_discard_manager_register_listener(
        memory_region_get_ram_discard_manager(mr), &shown->listener, &nothing);
    shown->listener.section->size = int128_make64(memory_region_size(mr));
    QLIST_INSERT_HEAD(&windows->shown, shown, next);
    return shown;
}

/* A step of a conversion has the less the more often devices have a page. */
static void note_most(Shown *shown, unsigned int most)
{
    shown->mr->ram_block->attributes->dma_windows += most - shown->most;
    shown->most = most;
}

static void remove_shown(Shown *shown)
{
    if (shown->listener.section) {
        note_most(shown, 0);
        ram_discard_manager_unregister_listener(
            memory_region_get_ram_discard_manager(shown->mr), &shown->listener);
    }
    QLIST_REMOVE(shown, next);
    vfio_extents_free(shown->extents);
    g_free(shown);
}

static VFIOWindows *windows_of(VFIOContainer *bcontainer)
{
    VFIOWindows *windows = bcontainer->windows;

    if (!windows) {
        windows = g_new0(VFIOWindows, 1);
        windows->bcontainer = bcontainer;
        bcontainer->windows = windows;
    }
    return windows;
}

static void free_if_empty(VFIOWindows *windows)
{
    Shown *shown;

    if (!interval_tree_is_empty(&windows->by_iova)) {
        return;
    }
    while ((shown = QLIST_FIRST(&windows->shown))) {
        remove_shown(shown);
    }
    windows->bcontainer->windows = NULL;
    g_free(windows);
}

static Window *insert_window(Shown *shown, Part part, uint64_t offset,
                             bool readonly)
{
    Window *window = g_new0(Window, 1);

    window->iova.start = part.start;
    window->iova.last = part.start + part.size - 1;
    window->offset.start = offset;
    window->offset.last = offset + part.size - 1;
    window->shown = shown;
    window->readonly = readonly;
    interval_tree_insert(&window->iova, &shown->windows->by_iova);
    interval_tree_insert(&window->offset, &shown->by_offset);
    return window;
}

static void remove_window(Window *window)
{
    interval_tree_remove(&window->iova, &window->shown->windows->by_iova);
    interval_tree_remove(&window->offset, &window->shown->by_offset);
    g_free(window);
}

/* Takes a range out of a window, of which parts may stay at both ends. */
static void cut_window(Window *window, hwaddr iova, hwaddr last)
{
    hwaddr start = MAX(iova, window->iova.start);
    hwaddr end = MIN(last, window->iova.last) + 1;
    Part gone = { start, end - start };
    Part before = { window->iova.start, start - window->iova.start };
    Part behind = { end, window->iova.last + 1 - end };
    Window was = *window;

    /* Of memory that is gone nothing is mapped. */
    if (window->shown->listener.section) {
        remove_part(window->shown, &gone);
    }
    remove_window(window);
    if (before.size) {
        insert_window(was.shown, before, was.offset.start, was.readonly);
    }
    if (behind.size) {
        insert_window(was.shown, behind,
                      was.offset.last + 1 - behind.size, was.readonly);
    }
}

void vfio_guest_memfd_unmap_iova(VFIOContainer *bcontainer, hwaddr iova,
                                 hwaddr last)
{
    VFIOWindows *windows = bcontainer->windows;
    IntervalTreeNode *node;

    if (!windows) {
        return;
    }
    ram_block_attributes_lock();
    while ((node = interval_tree_iter_first(&windows->by_iova, iova, last))) {
        cut_window(container_of(node, Window, iova), iova, last);
    }
    ram_block_attributes_unlock();
    free_if_empty(windows);
}

/* Of a range, no more than there may be. */
static unsigned int count_windows(Shown *shown, uint64_t offset, uint64_t size)
{
    uint64_t last = offset + size - 1;
    IntervalTreeNode *node = interval_tree_iter_first(&shown->by_offset, offset,
                                                      last);
    unsigned int count;

    for (count = 0; node && count < MOST_OF_A_PAGE; count++) {
        node = interval_tree_iter_next(node, offset, last);
    }
    return count;
}

/* Returns 0, so that all parts are tried, and the manager says nothing. */
static int replay_part(MemoryRegionSection *section, void *opaque)
{
    Window *window = opaque;
    Part part = part_of(window, section);

    add_part(window->shown, &part);
    return 0;
}

static void add_window(Shown *shown, MemoryRegionSection *section, hwaddr iova,
                       bool readonly)
{
    Part part = { iova, int128_get64(section->size) };
    uint64_t offset = section->offset_within_region;
    unsigned int others;
    Window *window;

    ram_block_attributes_lock();
    others = count_windows(shown, offset, part.size);
    if (others < MOST_OF_A_PAGE) {
        note_most(shown, MAX(shown->most, others + 1));
        window = insert_window(shown, part, offset, readonly);
        ram_discard_manager_replay_populated(
            memory_region_get_ram_discard_manager(shown->mr), section,
            replay_part, window);
    } else {
        warn_report_once("an IOMMU of the guest shows a page of '%s' to "
                         "devices more than %d times",
                         memory_region_name(shown->mr), MOST_OF_A_PAGE);
    }
    ram_block_attributes_unlock();
}

static bool can_be_private(const MemoryRegionSection *section)
{
    return section->mr && memory_region_is_ram(section->mr) &&
           section->mr->ram_block->attributes;
}

static bool is_whole(const MemoryRegionSection *section, hwaddr gpa,
                     uint64_t size)
{
    return section->offset_within_address_space == gpa &&
           int128_get64(section->size) == size;
}

bool vfio_guest_memfd_map_iova(VFIOContainer *bcontainer, hwaddr iova,
                               uint64_t size, hwaddr gpa, bool readonly)
{
    MemoryRegionSection section = {};
    bool is_ours;

    /* Nothing is at the end of what 64 bits can tell. */
    if (iova + size > iova && gpa + size > gpa) {
        section = memory_region_find(get_system_memory(), gpa, size);
    }
    is_ours = can_be_private(&section);
    if (is_ours) {
        vfio_guest_memfd_unmap_iova(bcontainer, iova, iova + size - 1);
        if (is_whole(&section, gpa, size)) {
            VFIOWindows *windows = windows_of(bcontainer);

            add_window(find_shown(windows, section.mr) ?:
                       add_shown(windows, section.mr), &section, iova,
                       readonly || section.readonly);
            free_if_empty(windows);
        }
    }
    memory_region_unref(section.mr);
    return is_ours;
}
