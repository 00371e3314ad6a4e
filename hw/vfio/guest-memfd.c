/*
 * Private memory of a guest, of which devices get what is shared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "system/ram-conversion.h"
#include "system/ramblock.h"
#include "guest-memfd-map.h"
#include "pci.h"

static int extent_map(void *opaque, uint64_t start, uint64_t size)
{
    VFIORamDiscardListener *vrdl = opaque;
    const MemoryRegionSection *section = vrdl->listener.section;
    hwaddr offset = section->offset_within_region +
                    (start - section->offset_within_address_space);

    return vfio_guest_memfd_map(vrdl->bcontainer, vrdl->mr, start, size, offset,
                                section->readonly);
}

static int extent_unmap(void *opaque, uint64_t start, uint64_t size)
{
    VFIORamDiscardListener *vrdl = opaque;

    return vfio_guest_memfd_unmap(vrdl->bcontainer, start, size);
}

static void extent_lose(void *opaque, uint64_t start, uint64_t size)
{
    VFIORamDiscardListener *vrdl = opaque;

    vfio_guest_memfd_tell_lost(vrdl->mr, start, size);
}

static void extent_parted(void *opaque, uint64_t start, uint64_t size)
{
    VFIORamDiscardListener *vrdl = opaque;

    vfio_guest_memfd_tell_parted(vrdl->mr, start, size);
}

static const VFIOExtentsOps extent_ops = {
    .map = extent_map,
    .unmap = extent_unmap,
    .lose = extent_lose,
    .parted = extent_parted,
};

static int notify_populate(RamDiscardListener *rdl,
                           MemoryRegionSection *section)
{
    VFIORamDiscardListener *vrdl = container_of(rdl, VFIORamDiscardListener,
                                                listener);

    return vfio_guest_memfd_add(vrdl->bcontainer, vrdl->mr, vrdl->extents,
                                section->offset_within_address_space,
                                int128_get64(section->size));
}

static int notify_try_discard(RamDiscardListener *rdl,
                              MemoryRegionSection *section)
{
    VFIORamDiscardListener *vrdl = container_of(rdl, VFIORamDiscardListener,
                                                listener);

    return vfio_guest_memfd_remove(vrdl->bcontainer, vrdl->mr, vrdl->extents,
                                   section->offset_within_address_space,
                                   int128_get64(section->size));
}

static void notify_discard(RamDiscardListener *rdl,
                           MemoryRegionSection *section)
{
    notify_try_discard(rdl, section);
}

bool vfio_guest_memfd_init_listener(VFIORamDiscardListener *vrdl)
{
    if (!vrdl->mr->ram_block->attributes) {
        return false;
    }
    vrdl->extents = vfio_guest_memfd_new_extents(vrdl->bcontainer, vrdl->mr,
                                                 &extent_ops, vrdl);
    ram_discard_listener_init(&vrdl->listener, notify_populate, notify_discard,
                              true);
    vrdl->listener.notify_try_discard = notify_try_discard;
    return true;
}

static bool may_access_memory(VFIODevice *vbasedev)
{
    VFIOPCIDevice *vdev = container_of(vbasedev, VFIOPCIDevice, vbasedev);

    return vbasedev->type != VFIO_DEVICE_TYPE_PCI ||
           pci_get_word(vdev->parent_obj.config + PCI_COMMAND) &
           PCI_COMMAND_MASTER;
}

static bool any_may_access_memory(const VFIOContainer *bcontainer)
{
    VFIODevice *vbasedev;

    QLIST_FOREACH(vbasedev, &bcontainer->device_list, container_next) {
        if (may_access_memory(vbasedev)) {
            return true;
        }
    }
    return false;
}

/* No more than a conversion has in a step, as others wait for that. */
static void join_some(VFIOContainer *bcontainer)
{
    VFIOExtentsLimit left = {
        .count = RAM_CONVERSION_RUNS, .size = RAM_CONVERSION_STEP_MAPPED,
    };
    VFIORamDiscardListener *vrdl;

    QLIST_FOREACH(vrdl, &bcontainer->vrdl_list, next) {
        size_t before;

        if (vrdl->extents) {
            before = vfio_extents_count(vrdl->extents);
            vfio_extents_join(vrdl->extents, &left);
            vfio_guest_memfd_count(vrdl->mr, vrdl->extents, before);
        }
    }
}

void vfio_guest_memfd_prepare_write(VFIODevice *vbasedev, uint32_t addr,
                                    uint32_t val, int len)
{
    VFIOContainer *bcontainer = vbasedev->bcontainer;

    if (!ranges_overlap(addr, len, PCI_COMMAND, 1) ||
        !(val >> (PCI_COMMAND - addr) * 8 & PCI_COMMAND_MASTER) ||
        !bcontainer || any_may_access_memory(bcontainer)) {
        return;
    }
    ram_block_attributes_lock();
    if (bcontainer->max_extents &&
        bcontainer->nr_extents > bcontainer->max_extents / 2) {
        join_some(bcontainer);
    }
    ram_block_attributes_unlock();
}
