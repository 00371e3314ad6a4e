/*
 * TDX: sections of the firmware, in memory that is converted in place
 *
 * Written from reading the interfaces of Linux and of the TDX module; never run
 * on hardware.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/loader.h"
#include "system/address-spaces.h"
#include "system/memory.h"
#include "tdx-in-place.h"

/* Returns QEMU's pointer to guest memory, or NULL with @errp set. */
static void *find_memory(hwaddr start, uint64_t size, Error **errp)
{
    MemoryRegionSection section = memory_region_find(get_system_memory(),
                                                     start, size);
    void *memory = NULL;

    if (section.mr && memory_region_has_guest_memfd(section.mr) &&
        section.offset_within_address_space == start &&
        int128_eq(section.size, int128_make64(size))) {
        memory = memory_region_get_ram_ptr(section.mr) +
                 section.offset_within_region;
    } else {
        error_setg(errp, "firmware for TDX has a section at 0x%" HWADDR_PRIx
                   ", size 0x%" PRIx64 ": no RAM is there", start, size);
    }
    memory_region_unref(section.mr);
    return memory;
}

static bool is_of_image(const TdxFirmwareEntry *entry)
{
    return entry->type == TDVF_SECTION_TYPE_BFV ||
           entry->type == TDVF_SECTION_TYPE_CFV;
}

static bool find_data(const TdxFirmwareEntry *entry, MemoryRegion *image,
                      void **data, Error **errp)
{
    uint64_t size = memory_region_size(image);

    if (entry->size > size || entry->data_offset > size - entry->size) {
        error_setg(errp, "firmware for TDX has a section with data at 0x%x, "
                   "size 0x%" PRIx64 ": the file ends before that",
                   entry->data_offset, entry->size);
        return false;
    }
    *data = memory_region_get_ram_ptr(image) + entry->data_offset;
    return true;
}

bool tdx_load_in_place(TdxFirmwareEntry *entry, MemoryRegion *image,
                       Error **errp)
{
    void *data = NULL;

    if (is_of_image(entry) && !find_data(entry, image, &data, errp)) {
        return false;
    }
    entry->mem_ptr = find_memory(entry->address, entry->size, errp);
    if (!entry->mem_ptr) {
        return false;
    }
    if (!data) {
        memset(entry->mem_ptr, 0, entry->size);
    } else if (data != entry->mem_ptr) {
        memmove(entry->mem_ptr, data, entry->size);
    }
    return true;
}

bool tdx_check_images(Error **errp)
{
    ERRP_GUARD();
    hwaddr start, end;

    if (!rom_find_next(0, &start, &end)) {
        return true;
    }
    error_setg(errp, "image at 0x%" HWADDR_PRIx ", size 0x%" HWADDR_PRIx
               ", cannot be loaded: a guest of TDX starts with nothing but its "
               "firmware", start, end - start);
    error_append_hint(errp, "Leave out its -device loader, or give it to the "
                      "firmware with -fw_cfg.\n");
    return false;
}
