/*
 * Accesses of QEMU itself to private memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_RAM_PRIVATE_H
#define SYSTEM_RAM_PRIVATE_H

#include "exec/cpu-common.h"
#include "system/memory.h"
#include "system/hostmem.h"
#include "system/ramblock.h"

/**
 * ram_converts_in_place: whether private and shared memory are the same file
 * @rb: RAMBlock of any kind
 *
 * If not, it has no private memory, or that has a backing of its own.
 */
static inline bool ram_converts_in_place(RAMBlock *rb)
{
    return rb->guest_memfd >= 0 && qemu_ram_fd_is_guest_memfd(rb);
}

/**
 * backend_of_ram: find the memory backend that a region is of
 * @mr: region with a RAMBlock
 *
 * Return: the backend; or NULL for firmware, ROMs and devices' own memory,
 * which have none.
 */
static inline HostMemoryBackend *backend_of_ram(MemoryRegion *mr)
{
    return (HostMemoryBackend *)object_dynamic_cast(mr->owner,
                                                    TYPE_MEMORY_BACKEND);
}

/**
 * ram_private_init: set up what stands for private memory
 *
 * Context: once, before anything accesses guest memory.
 */
void ram_private_init(void);

/**
 * ram_private_region: find what an access to memory by its address meets
 * @mr: region of RAM with RAMBlock.attributes
 * @offset: within the RAMBlock, in bytes
 * @size: of the access, in bytes; cut where memory begins that is private while
 *     that at @offset is shared, or the other way round
 *
 * Whatever translates an address to a region asks this, so private memory is
 * the same for every access: it reads as zeros, what is written to it is lost,
 * and both give MEMTX_ACCESS_ERROR.
 *
 * Context: RCU read lock.  The answer may be out of date at once.
 *
 * Return: @mr, or a region for I/O in the place of private memory.
 */
MemoryRegion *ram_private_region(MemoryRegion *mr, uint64_t offset,
                                 hwaddr *size);

/**
 * ram_access_region: find the region for an access to memory of any kind
 * @mr: region that is accessed
 * @offset: as that of ram_private_region()
 * @size: likewise
 *
 * Context: as ram_private_region().
 *
 * Return: likewise.
 */
static inline MemoryRegion *ram_access_region(MemoryRegion *mr, uint64_t offset,
                                              hwaddr *size)
{
    if (likely(!mr->ram_block || !mr->ram_block->attributes)) {
        return mr;
    }
    return ram_private_region(mr, offset, size);
}

/**
 * ram_private_found: tell people that a device meets private memory
 * @mr: what a translation of an address has found
 * @as: address space of the device
 *
 * If it is private memory, this is a warning, once for each kind of device: the
 * guest goes on, but it may wait for the device for ever.
 *
 * Context: any thread.
 */
void ram_private_found(const MemoryRegion *mr, const AddressSpace *as);

/**
 * ram_private_look: the same, for what a device accesses or is going to
 * @as: address space of the device
 * @addr: address in it
 * @size: in bytes
 *
 * Nothing is accessed.
 *
 * Context: any thread, not while memory regions change, as this may ask a
 * virtual IOMMU; takes the RCU read lock.
 */
void ram_private_look(AddressSpace *as, hwaddr addr, hwaddr size);

/**
 * ram_private_stand_in: let an access to private memory go on
 * @host: address that caused a SIGBUS
 *
 * A page of zeros stands in for the private page, so that what is read is zero
 * and what is written is lost, as for a device whose access to memory fails.
 * ram_private_end() ends that.
 *
 * Context: handler of a SIGBUS that the thread caused itself; must not be
 * within ram_block_attributes_lock().
 *
 * Return: whether the access can be tried again.
 */
bool ram_private_stand_in(void *host);

/**
 * ram_private_end: let QEMU see memory that is shared now
 * @rb: RAMBlock that is converted in place
 * @offset: within @rb, in bytes, a multiple of the host's page size
 * @size: in bytes, likewise
 *
 * Context: within ram_block_attributes_lock().
 *
 * Return: 0, or a negative errno if the file cannot be mapped; what stands in
 * for its pages stays, then.
 */
int ram_private_end(RAMBlock *rb, uint64_t offset, uint64_t size);

#endif
