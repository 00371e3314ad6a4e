/*
 * CPUID of guests that find out that their memory is private
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TARGET_I386_KVM_PRIVATE_MEMORY_CPUID_H
#define TARGET_I386_KVM_PRIVATE_MEMORY_CPUID_H

#include "../confidential-guest.h"

/**
 * kvm_add_private_memory_cpuid: tell a guest that its memory is private
 * @cg: the type of guest
 * @cs: whose CPUID it is
 * @features: the leaf KVM_CPUID_FEATURES, between that of KVM's signature and
 *            one that is free
 *
 * Adds the leaf KVM_CPUID_PRIVATE_MEMORY, see Documentation/virt/kvm/x86/
 * cpuid.rst in the lab's Linux.  Features for which KVM writes to memory are
 * in that leaf only, for guests that know it, but for what -cpu asks for: a
 * guest may share memory for them and not know the leaf.
 *
 * Returns: how many leaves it has added
 */
int kvm_add_private_memory_cpuid(X86ConfidentialGuest *cg, CPUState *cs,
                                 struct kvm_cpuid_entry2 *features);

#endif /* TARGET_I386_KVM_PRIVATE_MEMORY_CPUID_H */
