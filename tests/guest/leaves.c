/*
 * A guest that tells the host what KVM's leaves of CPUID say
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define KVM_SIGNATURE       0x40000000
#define KVM_FEATURES        0x40000001
#define KVM_PRIVATE_MEMORY  0x40000002

typedef struct Leaf {
    uint32_t eax;
    uint32_t ebx;
} Leaf;

static Leaf cpuid(uint32_t number)
{
    uint32_t ecx = 0, edx;
    Leaf leaf;

    asm volatile("cpuid" : "=a"(leaf.eax), "=b"(leaf.ebx), "+c"(ecx), "=d"(edx)
                 : "a"(number));
    return leaf;
}

int guest_main(void)
{
    Leaf added = cpuid(KVM_PRIVATE_MEMORY);

    ask_host("leaves %x %x %x %x", (uint64_t)cpuid(KVM_SIGNATURE).eax,
             (uint64_t)cpuid(KVM_FEATURES).eax, (uint64_t)added.eax,
             (uint64_t)added.ebx);
    return 0;
}
