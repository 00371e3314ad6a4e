/*
 * Memslots that KVM refuses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_KVM_GUEST_MEMFD_SLOTS_H
#define ACCEL_KVM_GUEST_MEMFD_SLOTS_H

#include "system/kvm_int.h"

/**
 * kvm_memslot_failed: end QEMU, as KVM cannot change a memslot
 * @what: what it was to do: "map" or "unmap"
 * @mr: memory that the memslot is of
 * @err: a negative errno
 *
 * By exit(1) until the machine was reset for the first time, then by abort();
 * it does not return.
 */
void kvm_memslot_failed(const char *what, const MemoryRegion *mr, int err);

/**
 * kvm_memslot_refused: deal with memory that KVM cannot map into a guest
 * @kml: whose memslot it is
 * @section: RAM or ROM that the memslot is of
 * @start: guest-physical address
 * @size: in bytes
 * @err: a negative errno
 *
 * A guest that runs goes on without what is in a guest_memfd; the RAMBlock
 * keeps @err for who plugs it.  In all other cases this ends QEMU, as
 * kvm_memslot_failed().
 *
 * Context: BQL.
 */
void kvm_memslot_refused(KVMMemoryListener *kml,
                         const MemoryRegionSection *section, hwaddr start,
                         hwaddr size, int err);

/**
 * kvm_memslots_try_again: let KVM map what it has refused
 * @kml: whose memslots these are
 * @add: maps a section, or has it refused again
 *
 * KVM takes memory of a guest_memfd in one place only.  A guest that asks for
 * more gets the other when the first is gone.
 *
 * Context: BQL.
 */
void kvm_memslots_try_again(KVMMemoryListener *kml,
                            void (*add)(KVMMemoryListener *,
                                        MemoryRegionSection *, bool));

/**
 * kvm_memslots_forget: no longer miss what is unmapped
 * @kml: whose memslots these are
 * @section: what is no longer there for the guest
 *
 * Context: BQL.
 */
void kvm_memslots_forget(KVMMemoryListener *kml,
                         const MemoryRegionSection *section);

#endif
