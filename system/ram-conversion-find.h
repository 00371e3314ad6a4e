/*
 * Which memory a request to convert memory is about
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_RAM_CONVERSION_FIND_H
#define SYSTEM_RAM_CONVERSION_FIND_H

#include "system/memory.h"

/**
 * ram_conversion_is_range: say whether guests may ask for a range
 * @start: guest-physical address
 * @size: in bytes
 *
 * Return: whether both are multiples of the host's page size, and it has an end
 */
bool ram_conversion_is_range(hwaddr start, hwaddr size);

/**
 * ram_conversion_find: find the first memory of a range that can be private
 * @at: where the range begins; set to where to go on behind what is found
 * @end: of the range
 * @to_private: what the memory is to be
 * @section: set to what is found, with a reference to its region
 *
 * What cannot be private is shared already, so that guests may ask for that:
 * some do with all addresses of devices.
 *
 * Context: RCU read lock.
 *
 * Return: 1; 0 if there is none, and @section is not to be used; or -EINVAL if
 * it is to become private, and what is at @at cannot
 */
int ram_conversion_find(hwaddr *at, hwaddr end, bool to_private,
                        MemoryRegionSection *section);

#endif
