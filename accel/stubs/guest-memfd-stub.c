/*
 * KVM guest_memfd files: stub for builds without KVM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/kvm-guest-memfd.h"
#include "system/ram-guest-memfd.h"

int kvm_create_shared_guest_memfd(uint64_t size, uint64_t page_size,
                                  Error **errp)
{
    /* Callers ask kvm_enabled() first. */
    g_assert_not_reached();
}

bool ram_block_add_guest_memfd(RAMBlock *rb, Error **errp)
{
    error_setg(errp, "cannot set up private guest memory: KVM required");
    return false;
}

void ram_block_remove_guest_memfd(RAMBlock *rb)
{
    g_assert_not_reached();
}

RAMBlock *ram_alloc_guest_memfd(ram_addr_t size, uint32_t ram_flags,
                                MemoryRegion *mr, Error **errp)
{
    g_assert_not_reached();
}

int kvm_forget_memory(RAMBlock *rb)
{
    g_assert_not_reached();
}

int kvm_set_memory_state(RAMBlock *rb, uint64_t offset, uint64_t size,
                         bool private, uint64_t *done)
{
    g_assert_not_reached();
}
