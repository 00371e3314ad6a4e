/*
 * CPUID of guests that find out that their memory is private
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include "qemu/error-report.h"
#include "cpu.h"
#include "private-memory-cpuid.h"

#define KVM_CPUID_PRIVATE_MEMORY    0x40000002
#define KVM_MEMORY_IS_PRIVATE       BIT(0)

/* KVM writes to guests' memory for these, as if it were shared. */
#define WRITING_FEATURES \
    (CPUID_KVM_CLOCK | CPUID_KVM_CLOCK2 | CPUID_KVM_ASYNCPF | \
     CPUID_KVM_ASYNCPF_INT | CPUID_KVM_STEAL_TIME | CPUID_KVM_PV_EOI)

int kvm_add_private_memory_cpuid(X86ConfidentialGuest *cg, CPUState *cs,
                                 struct kvm_cpuid_entry2 *features)
{
    X86CPU *cpu = X86_CPU(cs);
    CPUX86State *env = &cpu->env;
    struct kvm_cpuid_entry2 *signature = features - 1, *added = features + 1;

    if (!(env->features[FEAT_1_ECX] & CPUID_EXT_RDRAND)) {
        warn_report_once("the guest's processor has no RDRAND, without which "
                         "Linux stops in such a guest; use -cpu host");
    }
    features->eax &= ~WRITING_FEATURES | env->user_features[FEAT_KVM];
    added->function = signature->function | KVM_CPUID_PRIVATE_MEMORY;
    /* With this, KVM asks only the leaf that every guest knows. */
    added->eax = cpu->kvm_pv_enforce_cpuid
        ? 0 : env->features[FEAT_KVM] & WRITING_FEATURES;
    added->ebx = KVM_MEMORY_IS_PRIVATE;
    signature->eax = added->function;
    return 1;
}
