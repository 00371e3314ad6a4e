/*
 * Flash of a PC as ROM, for guests whose memory is private
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_FLASH_ROM_H
#define HW_I386_FLASH_ROM_H

#include "exec/hwaddr.h"
#include "qemu/typedefs.h"

/**
 * flash_is_rom: whether a machine's confidential guest has flash as ROM
 * @machine: the machine
 */
bool flash_is_rom(const MachineState *machine);

/**
 * flash_rom_init: make a ROM of what is in a flash
 * @blk: the flash's block device, which must be read-only
 * @parent: where the ROM is to be
 * @gpa: address within @parent, in bytes
 * @size: of the flash, in bytes, a multiple of 4 KiB
 * @errp: set on failure
 *
 * Context: while the machine is built.
 *
 * Return: false with @errp set, or true.
 */
bool flash_rom_init(BlockBackend *blk, MemoryRegion *parent, hwaddr gpa,
                    uint64_t size, Error **errp);

#endif
