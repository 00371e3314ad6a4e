/*
 * TDX: sections of the firmware, in memory that is converted in place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TARGET_I386_KVM_TDX_IN_PLACE_H
#define TARGET_I386_KVM_TDX_IN_PLACE_H

#include "hw/i386/tdvf.h"
#include "system/memory.h"

/**
 * tdx_load_in_place: write a section to the memory where the guest has it
 * @entry: the section; its mem_ptr is set to that memory
 * @image: the firmware's image, as it was loaded
 * @errp: set if the section is not within guest memory, or its data not within
 *     the image
 *
 * A section with data usually is where the image is, and nothing is copied.
 * One without becomes zeros.
 *
 * Context: the memory is shared.
 *
 * Return: false with @errp set, or true.
 */
bool tdx_load_in_place(TdxFirmwareEntry *entry, MemoryRegion *image,
                       Error **errp);

/**
 * tdx_check_images: find images that would be loaded when it is too late
 * @errp: set if there is one
 *
 * The machine's first reset, which loads them, comes after the launch, by which
 * all memory has become private.
 *
 * Return: false with @errp set, or true.
 */
bool tdx_check_images(Error **errp);

#endif
