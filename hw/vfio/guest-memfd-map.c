/*
 * Private memory of a guest, of which devices get what is shared: mapping
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "system/kvm.h"
#include "system/ram-conversion.h"
#include "system/ramblock.h"
#include "guest-memfd-map.h"
#include "trace.h"

static uint64_t extent_max(MemoryRegion *mr)
{
    Object *owner = memory_region_owner(mr);

    if (owner && object_property_find(owner, "dma-extent-max")) {
        return object_property_get_uint(owner, "dma-extent-max", &error_abort);
    }
    return RAM_CONVERSION_STEP_MAPPED;
}

VFIOExtents *vfio_guest_memfd_new_extents(const VFIOContainer *bcontainer,
                                          MemoryRegion *mr,
                                          const VFIOExtentsOps *ops,
                                          void *opaque)
{
    uint64_t max = extent_max(mr);

    mr->ram_block->attributes->dma_extent_max = max;
    return vfio_extents_new(ops, opaque, max, bcontainer->can_cut);
}

/*
 * As many as listener.c wants to be free when a section is added, so that a
 * guest cannot take what its own BARs may need.
 */
static unsigned int kept_mappings(void)
{
    return kvm_enabled() ? kvm_get_max_memslots() : 512;
}

static bool is_full(VFIOContainer *bcontainer)
{
    unsigned int most = bcontainer->dma_max_mappings;

    bcontainer->max_extents = most - MIN(kept_mappings(), most);
    return most && bcontainer->nr_extents >= bcontainer->max_extents;
}

int vfio_guest_memfd_map(VFIOContainer *bcontainer, MemoryRegion *mr,
                         hwaddr iova, uint64_t size, hwaddr offset,
                         bool readonly)
{
    int ret;

    if (is_full(bcontainer)) {
        return -ENOSPC;
    }
    ret = vfio_container_dma_map(bcontainer, iova, size,
                                 memory_region_get_ram_ptr(mr) + offset,
                                 readonly, mr);
    if (!ret && !bcontainer->can_cut) {
        bcontainer->nr_extents++;
    }
    return ret;
}

int vfio_guest_memfd_unmap(VFIOContainer *bcontainer, hwaddr iova,
                           uint64_t size)
{
    int ret = vfio_container_dma_unmap(bcontainer, iova, size, NULL, false);

    if (!ret && !bcontainer->can_cut) {
        bcontainer->nr_extents--;
    }
    return ret;
}

void vfio_guest_memfd_tell_lost(MemoryRegion *mr, hwaddr iova, uint64_t size)
{
    qatomic_inc(&mr->ram_block->attributes->failures);
    warn_report_once("devices lose access to shared memory of '%s' at 0x%"
                     PRIx64 ", size 0x%" PRIx64 ": it cannot be mapped again",
                     memory_region_name(mr), iova, size);
}

void vfio_guest_memfd_tell_parted(MemoryRegion *mr, hwaddr iova, uint64_t size)
{
    trace_vfio_guest_memfd_parted(memory_region_name(mr), iova, size);
    qatomic_inc(&mr->ram_block->attributes->dma_splits);
}

/* The first is what a container says that has as many mappings as it may. */
static const char *hint_for(int err)
{
    switch (err) {
    case -ENOSPC:
        return "Raise the parameter dma_entry_limit of the host's module "
               "vfio_iommu_type1, or use iommufd.";
    case -ENOMEM:
        return "Raise the limit of locked memory.";
    default:
        return "The host's kernel may say more.";
    }
}

static void tell_error(VFIOContainer *bcontainer, MemoryRegion *mr,
                       const char *what, int err)
{
    const char *name = memory_region_name(mr);

    /* A vCPU may convert memory while a device is added. */
    if (bcontainer->initialized || !bql_locked()) {
        warn_report_once("shared memory '%s' cannot be %s for DMA: %s. %s",
                         name, what, strerror(-err), hint_for(err));
    } else if (!bcontainer->error) {
        error_setg_errno(&bcontainer->error, -err,
                         "shared memory '%s' cannot be %s for DMA", name, what);
        error_append_hint(&bcontainer->error, "%s\n", hint_for(err));
    }
}

void vfio_guest_memfd_count(MemoryRegion *mr, const VFIOExtents *extents,
                            size_t before)
{
    RamBlockAttributes *attr = mr->ram_block->attributes;

    qatomic_set(&attr->dma_extents, attr->dma_extents - before +
                                    vfio_extents_count(extents));
}

int vfio_guest_memfd_add(VFIOContainer *bcontainer, MemoryRegion *mr,
                         VFIOExtents *extents, uint64_t start, uint64_t size)
{
    size_t before = vfio_extents_count(extents);
    int ret = vfio_extents_add(extents, start, size);

    vfio_guest_memfd_count(mr, extents, before);
    if (ret) {
        tell_error(bcontainer, mr, "mapped", ret);
    }
    return ret;
}

int vfio_guest_memfd_remove(VFIOContainer *bcontainer, MemoryRegion *mr,
                            VFIOExtents *extents, uint64_t start,
                            uint64_t size)
{
    size_t before = vfio_extents_count(extents);
    int ret = vfio_extents_remove(extents, start, size);

    vfio_guest_memfd_count(mr, extents, before);
    if (ret) {
        tell_error(bcontainer, mr, "unmapped", ret);
    }
    return ret;
}

static bool listens(const VFIOContainer *bcontainer)
{
    VFIORamDiscardListener *vrdl;

    QLIST_FOREACH(vrdl, &bcontainer->vrdl_list, next) {
        if (vrdl->extents) {
            return true;
        }
    }
    return false;
}

bool vfio_guest_memfd_explain_limit(const VFIOContainer *bcontainer,
                                    Error **errp)
{
    ERRP_GUARD();

    if (!listens(bcontainer)) {
        return false;
    }
    error_setg(errp, "the host lets a device have %u mappings, of which %u are "
               "kept for memory that a guest does not share",
               bcontainer->dma_max_mappings, kept_mappings());
    error_append_hint(errp, "%s\n", hint_for(-ENOSPC));
    return true;
}
