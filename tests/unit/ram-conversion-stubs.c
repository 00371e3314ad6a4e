/*
 * What the code that converts memory asks QEMU, for its unit tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exec/ramlist.h"
#include "hw/boards.h"
#include "system/address-spaces.h"
#include "system/ram-private.h"
#include "ram-conversion-stubs.h"

RAMList ram_list;
MachineState *current_machine;
__thread CPUState *current_cpu;
bool stub_in_place;

static MemoryRegion system_memory;

bool machine_converts_in_place(MachineState *machine)
{
    return stub_in_place;
}

bool qemu_ram_fd_is_guest_memfd(RAMBlock *rb)
{
    return stub_in_place;
}

MemoryRegion *get_system_memory(void)
{
    return &system_memory;
}

bool memory_region_has_guest_memfd(MemoryRegion *mr)
{
    return true;
}

const char *memory_region_name(const MemoryRegion *mr)
{
    return "stub";
}

void memory_region_ref(MemoryRegion *mr)
{
}

void memory_region_unref(MemoryRegion *mr)
{
}
