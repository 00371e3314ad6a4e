/*
 * A copy of what the tests need of KVM's interface, as the system's headers may
 * be older than the kernel that is tested
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef KVM_ABI_H
#define KVM_ABI_H

#include <stdint.h>
#include <linux/kvm.h>

#define CAP_EXIT_HYPERCALL              201
#define CAP_VM_TYPES                    235
#define CAP_MEMORY_ATTRIBUTES           233
#define CAP_GUEST_MEMFD_FLAGS           244
#define CAP_GUEST_MEMFD_PAGE_ORDERS     7301
#define CAP_GMEM_MEMORY_ATTRIBUTES      7300    /* the lab's own */

#define VM_TYPE_DEFAULT                 0
#define VM_TYPE_SW_PROTECTED            1

#define MEM_GUEST_MEMFD                 (1u << 2)
#define ATTRIBUTE_PRIVATE               (1ull << 3)
#define FLAG_MMAP                       (1ull << 0)
#define FLAG_INIT_SHARED                (1ull << 1)
#define FLAG_HUGETLB                    (1ull << 2)

#define EXIT_MEMORY_FAULT               39
#define EXIT_FLAG_PRIVATE               (1ull << 3)

struct create_guest_memfd {
    uint64_t size;
    uint64_t flags;
    uint8_t page_order;
    uint8_t pad[7];
    uint64_t reserved[5];
};

struct region2 {
    uint32_t slot;
    uint32_t flags;
    uint64_t guest_phys_addr;
    uint64_t memory_size;
    uint64_t userspace_addr;
    uint64_t guest_memfd_offset;
    uint32_t guest_memfd;
    uint32_t pad1;
    uint64_t pad2[14];
};

struct attributes {
    uint64_t address;
    uint64_t size;
    uint64_t attributes;
    uint64_t flags;
};

struct attributes2 {
    union {
        uint64_t address;
        uint64_t offset;
    };
    uint64_t size;
    uint64_t attributes;
    uint64_t flags;
    uint64_t error_offset;
    uint64_t reserved[11];
};

struct pre_fault {
    uint64_t gpa;
    uint64_t size;
    uint64_t flags;
    uint64_t padding[5];
};

struct guest_memfd_move {
    uint64_t offset;
    uint64_t size;
    uint64_t flags;
    uint64_t moved;
    uint64_t failed;
    uint64_t reserved[3];
};

struct memory_fault {
    uint64_t flags;
    uint64_t gpa;
    uint64_t size;
};

#define SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct region2)
#define SET_ATTRIBUTES          _IOW(KVMIO, 0xd2, struct attributes)
#define SET_ATTRIBUTES2         _IOWR(KVMIO, 0xd2, struct attributes2)
#define CREATE_GUEST_MEMFD      _IOWR(KVMIO, 0xd4, struct create_guest_memfd)
#define PRE_FAULT_MEMORY        _IOWR(KVMIO, 0xd5, struct pre_fault)
#define MOVE_GUEST_MEMFD        _IOWR(KVMIO, 0xd6, struct guest_memfd_move)

_Static_assert(SET_ATTRIBUTES2 == 0xc080aed2, "ioctl number");
_Static_assert(CREATE_GUEST_MEMFD == 0xc040aed4, "ioctl number");
_Static_assert(sizeof(struct attributes2) == 128, "struct size");

#endif
