/*
 * What of a guest's memory a container has mapped for DMA
 *
 * An extent is what one call has mapped. Neither interface of VFIO takes back a
 * part of that, but iommufd if it maps no huge pages, so extents are kept.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_GUEST_MEMFD_EXTENTS_H
#define HW_VFIO_GUEST_MEMFD_EXTENTS_H

/**
 * struct VFIOExtentsOps - how a container maps memory
 * @map: map it; return 0, or a negative errno, and nothing is mapped
 * @unmap: unmap it; return 0, or a negative errno, and it is mapped still
 * @lose: devices have lost this memory, though they should have it
 * @parted: devices had no access for a moment to what is left of this extent,
 * as a part of it had to go
 *
 * Start and size are in bytes, and multiples of the host's page size.
 */
typedef struct VFIOExtentsOps {
    int (*map)(void *opaque, uint64_t start, uint64_t size);
    int (*unmap)(void *opaque, uint64_t start, uint64_t size);
    void (*lose)(void *opaque, uint64_t start, uint64_t size);
    void (*parted)(void *opaque, uint64_t start, uint64_t size);
} VFIOExtentsOps;

typedef struct VFIOExtents VFIOExtents;

/**
 * vfio_extents_new: begin with nothing mapped
 * @ops: how to map
 * @opaque: for @ops
 * @max: largest size of an extent in bytes, a power of two; none goes over a
 * multiple of it
 * @can_cut: whether @unmap may be tried for a part of what a call of @map has
 * mapped; if that fails once it is not tried again
 *
 * Context: this and all below need what keeps other threads off @opaque.
 *
 * Return: extents, for vfio_extents_free()
 */
VFIOExtents *vfio_extents_new(const VFIOExtentsOps *ops, void *opaque,
                              uint64_t max, bool can_cut);

/**
 * vfio_extents_free: forget extents
 * @extents: what to forget, or NULL; nothing is unmapped
 */
void vfio_extents_free(VFIOExtents *extents);

/**
 * vfio_extents_add: map memory
 * @extents: what is mapped before
 * @start: in bytes
 * @size: in bytes; what of it is mapped stays as it is
 *
 * Return: 0; or the negative errno of a call, and what is mapped is what was
 * before
 */
int vfio_extents_add(VFIOExtents *extents, uint64_t start, uint64_t size);

/**
 * vfio_extents_remove: unmap memory
 * @extents: what is mapped before
 * @start: in bytes
 * @size: in bytes; not all of it has to be mapped
 *
 * If that parts an extent which cannot be cut, the rest of it is mapped anew:
 * a device that accesses it in between gets an error.
 *
 * Return: 0; or the negative errno of a call, and all is mapped that was
 * before, but for what was told to @lose
 */
int vfio_extents_remove(VFIOExtents *extents, uint64_t start, uint64_t size);

/**
 * struct VFIOExtentsLimit - how much may be joined
 * @count: by how many extents there may be fewer
 * @size: how much may be mapped anew for that, in bytes
 */
typedef struct VFIOExtentsLimit {
    size_t count;
    uint64_t size;
} VFIOExtentsLimit;

/**
 * vfio_extents_join: map what lies side by side by one call
 * @extents: what is mapped; no device may access it meanwhile
 * @left: how much may be joined; made less by what was
 *
 * What a container then fails to map again is told to @lose.
 */
void vfio_extents_join(VFIOExtents *extents, VFIOExtentsLimit *left);

/**
 * vfio_extents_count: how many calls it takes to unmap all
 * @extents: what is mapped
 *
 * Return: how many extents there are
 */
size_t vfio_extents_count(const VFIOExtents *extents);

#endif
