/*
 * KVM guest_memfd files: stub for builds without KVM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "system/kvm-guest-memfd.h"
#include "system/ram-private.h"

int kvm_create_shared_guest_memfd(uint64_t size, uint64_t page_size,
                                  Error **errp)
{
    /* Callers ask kvm_enabled() first. */
    g_assert_not_reached();
}

int kvm_forget_memory(RAMBlock *rb)
{
    g_assert_not_reached();
}

bool kvm_init_memory_state(RAMBlock *rb, Error **errp)
{
    g_assert_not_reached();
}

void ram_private_init(void)
{
}

MemoryRegion *ram_private_region(MemoryRegion *mr, uint64_t offset,
                                 hwaddr *size)
{
    g_assert_not_reached();
}

bool ram_private_stand_in(void *host)
{
    return false;
}
