/*
 * Private memory of a RAMBlock
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_RAM_GUEST_MEMFD_H
#define SYSTEM_RAM_GUEST_MEMFD_H

#include "system/memory.h"
#include "system/ramblock.h"

/**
 * ram_block_add_guest_memfd: let pages of a RAMBlock be private
 * @rb: RAMBlock that is not mapped
 * @errp: set on failure
 *
 * Context: BQL.
 *
 * Return: false with @errp set, or true.
 */
bool ram_block_add_guest_memfd(RAMBlock *rb, Error **errp);

/**
 * ram_block_remove_guest_memfd: undo ram_block_add_guest_memfd()
 * @rb: RAMBlock that is not mapped
 *
 * Context: BQL.
 */
void ram_block_remove_guest_memfd(RAMBlock *rb);

/**
 * ram_alloc_guest_memfd: allocate RAM that is a guest_memfd
 * @size: in bytes, rounded up to the host's page size
 * @ram_flags: as those of qemu_ram_alloc()
 * @mr: the region that it is of
 * @errp: set on failure
 *
 * For memory that belongs to no object of the user's, as that of firmware does.
 *
 * Context: BQL.
 *
 * Return: the RAMBlock, or NULL with @errp set.
 */
RAMBlock *ram_alloc_guest_memfd(ram_addr_t size, uint32_t ram_flags,
                                MemoryRegion *mr, Error **errp);

#endif
