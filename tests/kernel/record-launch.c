/*
 * Preloaded into QEMU, this makes KVM look as if it had VMs with SEV-SNP and
 * TDX, and records how QEMU launches one
 *
 * Such a VM really is a KVM_X86_SW_PROTECTED_VM, whose memory keeps its
 * contents when it becomes private.  What tells KVM about memory is passed on;
 * what tells SEV or TDX something always works.  The file LAUNCH_RECORD gets a
 * line for each, in order: its name, its arguments, and what came of it.
 *
 * With CORRECT_CPUID in the environment, the firmware finds fault with the page
 * of CPUID values, and corrects the first one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kvm-abi.h"
#include "next-ioctl.h"

#define PAGE            4096ul
#define MOST_AT_ONCE    (8 * PAGE)

enum {
    VM_TYPE_SNP = 4, VM_TYPE_TDX = 5,
    GRP_SEV = 1,                        /* of attributes of /dev/kvm */
    SNP_LAUNCH_UPDATE = 101, SNP_PAGE_CPUID = 6, SEV_INVALID_PARAM = 0x16,
    SNP_CPUID_FIRST_EAX = 40,           /* offset in the page */
    TDX_CAPABILITIES = 0, TDX_INIT_MEM_REGION = 3, TDX_GET_CPUID = 5,
    MAX_SLOTS = 64,
};

struct sev_cmd {
    uint32_t id, pad;
    uint64_t data;
    uint32_t error, sev_fd;
};

struct snp_launch_update {
    uint64_t gfn_start, uaddr, len;
    uint8_t type, pad0;
    uint16_t flags;
    uint32_t pad1;
    uint64_t pad2[4];
};

struct tdx_cmd {
    uint32_t id, flags;
    uint64_t data, hw_error;
};

struct tdx_capabilities {
    uint64_t attributes, xfam, calls[4], reserved[250];
    uint32_t nr_cpuid, pad;
};

struct tdx_mem_region {
    uint64_t source_addr, gpa, nr_pages;
};

/* of /dev/sev, which can be any file */
#define SEV_ISSUE_CMD _IOWR('S', 0, char[16])

#define NAME(list, id) ((id) < sizeof(list) / sizeof(*(list)) && (list)[id] ? \
                        (list)[id] : "unknown")

static const char *const snp_names[] = {
    [22] = "KVM_SEV_INIT2",
    [100] = "KVM_SEV_SNP_LAUNCH_START",
    [SNP_LAUNCH_UPDATE] = "KVM_SEV_SNP_LAUNCH_UPDATE",
    [102] = "KVM_SEV_SNP_LAUNCH_FINISH",
};

static const char *const tdx_names[] = {
    [TDX_CAPABILITIES] = "KVM_TDX_CAPABILITIES",
    [1] = "KVM_TDX_INIT_VM",
    [2] = "KVM_TDX_INIT_VCPU",
    [TDX_INIT_MEM_REGION] = "KVM_TDX_INIT_MEM_REGION",
    [4] = "KVM_TDX_FINALIZE_VM",
    [TDX_GET_CPUID] = "KVM_TDX_GET_CPUID",
};

static struct region2 slots[MAX_SLOTS];
static unsigned long vm_type;

static void __attribute__((format(printf, 1, 2))) record(const char *text, ...)
{
    static int fd = -1;
    int err = errno;
    va_list args;

    if (fd < 0) {
        fd = open(getenv("LAUNCH_RECORD"),
                  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    va_start(args, text);
    if (vdprintf(fd, text, args) < 0) {
        perror("LAUNCH_RECORD");
        abort();
    }
    va_end(args);
    errno = err;
}

static int create_vm(int fd, unsigned long request, unsigned long type)
{
    if (type != VM_TYPE_SNP && type != VM_TYPE_TDX) {
        return next_ioctl(fd, request, (void *)type);
    }
    vm_type = type;
    return next_ioctl(fd, request, (void *)VM_TYPE_SW_PROTECTED);
}

static int create_file(int fd, unsigned long request,
                       struct create_guest_memfd *args)
{
    int ret = next_ioctl(fd, request, args);

    record("KVM_CREATE_GUEST_MEMFD size=0x%lx flags=0x%lx fd=%d\n", args->size,
           args->flags, ret);
    return ret;
}

static int set_slot(int fd, unsigned long request, struct region2 *args)
{
    int ret = next_ioctl(fd, request, args);

    if (ret || !(args->flags & MEM_GUEST_MEMFD)) {
        return ret;
    }
    slots[args->slot % MAX_SLOTS] = *args;
    record("KVM_SET_USER_MEMORY_REGION2 gpa=0x%lx size=0x%lx fd=%d "
           "offset=0x%lx\n", args->guest_phys_addr, args->memory_size,
           (int)args->guest_memfd, args->guest_memfd_offset);
    return ret;
}

static int set_attributes(int fd, unsigned long request,
                          struct attributes *args)
{
    int ret = next_ioctl(fd, request, args);

    record("KVM_SET_MEMORY_ATTRIBUTES gpa=0x%lx size=0x%lx attributes=0x%lx "
           "ret=%d\n", args->address, args->size, args->attributes, ret);
    return ret;
}

static int set_attributes2(int fd, unsigned long request,
                           struct attributes2 *args)
{
    int ret = next_ioctl(fd, request, args);

    record("KVM_SET_MEMORY_ATTRIBUTES2 fd=%d offset=0x%lx size=0x%lx "
           "attributes=0x%lx ret=%d\n", fd, args->offset, args->size,
           args->attributes, ret);
    return ret;
}

static struct region2 *find_slot(uint64_t gpa)
{
    for (int i = 0; i < MAX_SLOTS; i++) {
        if (gpa - slots[i].guest_phys_addr < slots[i].memory_size) {
            return &slots[i];
        }
    }
    abort();
}

static void set_private(uint64_t gpa, bool private)
{
    struct region2 *slot = find_slot(gpa);
    struct attributes2 args = {
        .offset = slot->guest_memfd_offset + gpa - slot->guest_phys_addr,
        .size = PAGE,
        .attributes = private ? ATTRIBUTE_PRIVATE : 0,
    };

    if (next_ioctl(slot->guest_memfd, SET_ATTRIBUTES2, &args)) {
        abort();
    }
}

/* Where KVM had a source to copy, it copies the page back. */
static void correct_cpuid(const struct snp_launch_update *update)
{
    uint64_t gpa = update->gfn_start * PAGE;
    struct region2 *slot = find_slot(gpa);
    uint64_t page = slot->userspace_addr + gpa - slot->guest_phys_addr;

    if (update->uaddr) {
        ((char *)update->uaddr)[SNP_CPUID_FIRST_EAX] ^= 1;
        return;
    }
    set_private(gpa, false);
    ((char *)page)[SNP_CPUID_FIRST_EAX] ^= 1;
    set_private(gpa, true);
}

static int launch_update(struct sev_cmd *cmd)
{
    struct snp_launch_update *update = (void *)cmd->data;
    uint64_t done;

    record("KVM_SEV_SNP_LAUNCH_UPDATE gpa=0x%lx size=0x%lx type=%d "
           "source=0x%lx\n", update->gfn_start * PAGE, update->len,
           update->type, update->uaddr);
    if (update->type == SNP_PAGE_CPUID && getenv("CORRECT_CPUID")) {
        correct_cpuid(update);
        cmd->error = SEV_INVALID_PARAM;
        errno = EIO;
        return -1;
    }
    /* KVM may do but a part, and is asked again. */
    done = update->len < MOST_AT_ONCE ? update->len : MOST_AT_ONCE;
    update->gfn_start += done / PAGE;
    update->len -= done;
    if (update->uaddr) {
        update->uaddr += done;
    }
    return 0;
}

static int tell_sev(struct sev_cmd *cmd)
{
    cmd->error = 0;
    if (cmd->id == SNP_LAUNCH_UPDATE) {
        return launch_update(cmd);
    }
    record("%s\n", NAME(snp_names, cmd->id));
    return 0;
}

/* All that is asked for can be had; values of CPUID are QEMU's to choose. */
static int tell_tdx(struct tdx_cmd *cmd)
{
    struct tdx_capabilities *capabilities = (void *)cmd->data;
    struct tdx_mem_region *region = (void *)cmd->data;
    uint32_t *nr_cpuid = (void *)cmd->data;

    if (cmd->id == TDX_INIT_MEM_REGION) {
        record("KVM_TDX_INIT_MEM_REGION gpa=0x%lx size=0x%lx flags=0x%x "
               "source=0x%lx\n", region->gpa,
               (unsigned long)(region->nr_pages * PAGE), cmd->flags,
               region->source_addr);
        return 0;
    }
    record("%s\n", NAME(tdx_names, cmd->id));
    if (cmd->id == TDX_CAPABILITIES) {
        capabilities->attributes = capabilities->xfam = UINT64_MAX;
        capabilities->nr_cpuid = 0;
    } else if (cmd->id == TDX_GET_CPUID) {
        *nr_cpuid = 0;
    }
    return 0;
}

static int get_attribute(int fd, unsigned long request,
                         struct kvm_device_attr *args)
{
    if (args->group != GRP_SEV) {
        return next_ioctl(fd, request, args);
    }
    *(uint64_t *)args->addr = 0;
    return 0;
}

static int check_extension(int fd, unsigned long request, long capability)
{
    int ret = next_ioctl(fd, request, (void *)capability);

    if (capability == CAP_VM_TYPES) {
        ret |= 1 << VM_TYPE_SNP | 1 << VM_TYPE_TDX;
    }
    return ret;
}

static int own_ioctl(int fd, unsigned long request, void *arg)
{
    switch (request) {
    case KVM_CREATE_VM:
        return create_vm(fd, request, (unsigned long)arg);
    case KVM_CHECK_EXTENSION:
        return check_extension(fd, request, (long)arg);
    case KVM_GET_DEVICE_ATTR:
        return get_attribute(fd, request, arg);
    case CREATE_GUEST_MEMFD:
        return create_file(fd, request, arg);
    case SET_USER_MEMORY_REGION2:
        return set_slot(fd, request, arg);
    case SET_ATTRIBUTES:
        return set_attributes(fd, request, arg);
    case SET_ATTRIBUTES2:
        return set_attributes2(fd, request, arg);
    case KVM_MEMORY_ENCRYPT_OP:
        return vm_type == VM_TYPE_TDX ? tell_tdx(arg) : tell_sev(arg);
    case SEV_ISSUE_CMD:
        return 0;
    default:
        return next_ioctl(fd, request, arg);
    }
}
