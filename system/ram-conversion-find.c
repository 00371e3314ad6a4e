/*
 * Conversion of guest memory: which memory a request is about
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "system/address-spaces.h"
#include "ram-conversion-find.h"

bool ram_conversion_is_range(hwaddr start, hwaddr size)
{
    const size_t page = qemu_real_host_page_size();

    return size && QEMU_IS_ALIGNED(start, page) &&
           QEMU_IS_ALIGNED(size, page) && size <= HWADDR_MAX - start;
}

/* A small BAR may hide a part of a page, which KVM has no memslot for then. */
static bool can_be_private(MemoryRegionSection *section)
{
    const size_t page = qemu_real_host_page_size();
    hwaddr start = section->offset_within_address_space;
    hwaddr end = QEMU_ALIGN_DOWN(start + int128_get64(section->size), page);
    hwaddr cut = QEMU_ALIGN_UP(start, page) - start;

    if (!memory_region_has_guest_memfd(section->mr) || start + cut >= end) {
        return false;
    }
    section->offset_within_address_space += cut;
    section->offset_within_region += cut;
    section->size = int128_make64(end - start - cut);
    return QEMU_IS_ALIGNED(section->offset_within_region, page);
}

int ram_conversion_find(hwaddr *at, hwaddr end, bool to_private,
                        MemoryRegionSection *section)
{
    while (*at < end) {
        hwaddr start = *at;
        bool ok;

        *section = memory_region_find(get_system_memory(), start, end - start);
        if (!section->mr) {
            *at = end;
            return to_private ? -EINVAL : 0;
        }
        *at = section->offset_within_address_space +
              int128_get64(section->size);
        ok = can_be_private(section);
        if (to_private &&
            (!ok || section->offset_within_address_space != start)) {
            memory_region_unref(section->mr);
            return -EINVAL;
        }
        if (ok) {
            return 1;
        }
        memory_region_unref(section->mr);
    }
    return 0;
}
