/*
 * Private memory of a guest, of which devices get what is shared: mapping
 *
 * What sections of memory and windows of a guest's IOMMU have in common.
 * Everything here needs ram_block_attributes_lock().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_GUEST_MEMFD_MAP_H
#define HW_VFIO_GUEST_MEMFD_MAP_H

#include "guest-memfd.h"
#include "guest-memfd-extents.h"

/**
 * vfio_guest_memfd_new_extents: begin with nothing mapped
 * @bcontainer: whose devices are to have memory
 * @mr: the memory, or some of it
 * @ops: how to map
 * @opaque: for @ops
 *
 * Return: extents, which can be cut if @bcontainer's can
 */
VFIOExtents *vfio_guest_memfd_new_extents(const VFIOContainer *bcontainer,
                                          MemoryRegion *mr,
                                          const VFIOExtentsOps *ops,
                                          void *opaque);

/**
 * vfio_guest_memfd_map: map memory for devices
 * @bcontainer: of the devices
 * @mr: the memory
 * @iova: address for devices
 * @size: in bytes
 * @offset: within @mr
 * @readonly: whether devices must not write
 *
 * A part of what a container can have mapped is kept for other memory.
 *
 * Return: 0, or a negative errno
 */
int vfio_guest_memfd_map(VFIOContainer *bcontainer, MemoryRegion *mr,
                         hwaddr iova, uint64_t size, hwaddr offset,
                         bool readonly);

/**
 * vfio_guest_memfd_unmap: unmap memory
 * @bcontainer: as vfio_guest_memfd_map() had it
 * @iova: likewise
 * @size: likewise
 *
 * Return: 0, or a negative errno
 */
int vfio_guest_memfd_unmap(VFIOContainer *bcontainer, hwaddr iova,
                           uint64_t size);

/* What is in memory that a device lost, or lost for a moment: for people. */
void vfio_guest_memfd_tell_lost(MemoryRegion *mr, hwaddr iova, uint64_t size);
void vfio_guest_memfd_tell_parted(MemoryRegion *mr, hwaddr iova, uint64_t size);

/**
 * vfio_guest_memfd_add: let devices have memory, or say why they cannot
 * @bcontainer: of the devices; one that is just added is refused with that
 * @mr: the memory
 * @extents: of it
 * @start: address for devices
 * @size: in bytes
 *
 * Return: as vfio_extents_add()
 */
int vfio_guest_memfd_add(VFIOContainer *bcontainer, MemoryRegion *mr,
                         VFIOExtents *extents, uint64_t start, uint64_t size);

/**
 * vfio_guest_memfd_remove: take memory from devices, or say why it stays
 * @bcontainer: as vfio_guest_memfd_add() has it
 * @mr: likewise
 * @extents: likewise
 * @start: likewise
 * @size: likewise
 *
 * Return: as vfio_extents_remove()
 */
int vfio_guest_memfd_remove(VFIOContainer *bcontainer, MemoryRegion *mr,
                            VFIOExtents *extents, uint64_t start,
                            uint64_t size);

/**
 * vfio_guest_memfd_count: keep books for query-guest-memfd
 * @mr: memory
 * @extents: of it
 * @before: how many extents there were before something was done
 */
void vfio_guest_memfd_count(MemoryRegion *mr, const VFIOExtents *extents,
                            size_t before);

#endif
