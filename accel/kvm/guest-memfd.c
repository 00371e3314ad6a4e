/*
 * KVM guest_memfd files: creation, and conversion in place
 *
 * All that is to be known about how the kernel's interface encodes a
 * guest_memfd is in this file.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include "qapi/error.h"
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "system/kvm.h"
#include "system/kvm-guest-memfd.h"
#include "trace.h"

/*
 * The lab kernel's huge pages: their order in base pages is one byte behind
 * the flags.  No released kernel has them, and Linux may give the flag another
 * meaning: so it has a name of its own here, and what was made is looked at.
 */
#define LAB_FLAG_HUGETLB (1ULL << 2)

/* Not in any released kernel, either: conversion in place, by the file. */
#ifndef KVM_SET_MEMORY_ATTRIBUTES2
struct kvm_memory_attributes2 {
    uint64_t offset;
    uint64_t size;
    uint64_t attributes;
    uint64_t flags;
    uint64_t error_offset;
    uint64_t reserved[11];
};
#define KVM_SET_MEMORY_ATTRIBUTES2 \
    _IOWR(KVMIO, 0xd2, struct kvm_memory_attributes2)
#endif

/* Nor moving memory, by the file. */
#ifndef KVM_GUEST_MEMFD_MOVE
struct kvm_guest_memfd_move {
    uint64_t offset;
    uint64_t size;
    uint64_t flags;
    uint64_t moved;
    uint64_t failed;
    uint64_t reserved[3];
};
#define KVM_GUEST_MEMFD_MOVE _IOWR(KVMIO, 0xd6, struct kvm_guest_memfd_move)
#endif

/*
 * Pages of any size are converted all at once or not at all, by the lab kernel
 * only if no multiple of this is between them.
 */
#define CONVERTED_AT_ONCE (64 * MiB)

#define FLAGS_SHARED (GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

/*
 * All that says what pages a file is made of, and of which pool.  Upstream
 * discusses to take that from the file descriptor of a mount.
 */
static void ask_for_pages(struct kvm_create_guest_memfd *request,
                          uint64_t page_size)
{
    uint8_t order = ctz64(page_size / qemu_real_host_page_size());

    if (order) {
        request->flags |= LAB_FLAG_HUGETLB;
        *(uint8_t *)request->reserved = order;
    }
}

static int punch_file(int fd, uint64_t size)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                     size) ? -errno : 0;
}

/*
 * Holes are made of whole pages, and an empty file doesn't change by them.
 * Returns 0, -EINVAL if it has other pages, or another negative errno.
 */
static int check_pages(int fd, uint64_t page_size)
{
    int ret;

    if (page_size == qemu_real_host_page_size()) {
        return 0;
    }
    ret = punch_file(fd, page_size / 2);
    if (ret == -EINVAL) {
        return punch_file(fd, page_size);
    }
    return ret ?: -EINVAL;
}

static int refuse_pages(int err, Error **errp)
{
    ERRP_GUARD();

    if (err != EINVAL) {
        error_setg_errno(errp, err, "cannot punch a hole into the guest_memfd");
        return -err;
    }
    error_setg(errp, "KVM on this host makes a guest_memfd of other pages");
    error_append_hint(errp, "Use hugetlb=off: the kernel means something else "
                      "by what QEMU asks it for.\n");
    return -ENOTSUP;
}

/* Returns a file descriptor or a negative errno. */
static int create_file(uint64_t size, uint64_t flags, uint64_t page_size)
{
    struct kvm_create_guest_memfd request = {
        .size = size,
        .flags = flags,
    };
    int ret;

    ask_for_pages(&request, page_size);
    ret = kvm_vm_ioctl(kvm_state, KVM_CREATE_GUEST_MEMFD, &request);
    if (ret >= 0) {
        qemu_set_cloexec(ret);
    }
    trace_kvm_create_guest_memfd(size, request.flags,
                                 *(uint8_t *)request.reserved, ret);
    return ret;
}

/* Whether KVM knows the flags, even if it lacks the memory for one page. */
static bool kvm_takes(uint64_t flags, uint64_t page_size)
{
    int fd = create_file(page_size, flags, page_size);

    if (fd >= 0) {
        close(fd);
    }
    return fd != -EINVAL && fd != -ENOTTY;
}

/*
 * KVM answers EINVAL to all that it does not know.  Ask for less, one thing at
 * a time, to find out which thing it is.
 */
static void explain_refusal(uint64_t page_size, int err, Error **errp)
{
    ERRP_GUARD();
    uint64_t base = qemu_real_host_page_size();

    if (!kvm_takes(0, base)) {
        error_setg(errp, "KVM on this host has no guest_memfd");
        error_append_hint(errp, "Linux has it since 6.8, and lets QEMU map it "
                          "since 6.18.\n");
    } else if (!kvm_takes(GUEST_MEMFD_FLAG_MMAP, base)) {
        error_setg(errp, "KVM on this host has guest_memfd, but cannot map it "
                   "(no GUEST_MEMFD_FLAG_MMAP)");
        error_append_hint(errp, "This needs Linux 6.18 or newer.\n");
    } else if (!kvm_takes(FLAGS_SHARED, base)) {
        error_setg(errp, "KVM cannot share guest_memfd memory with this type "
                   "of VM (no GUEST_MEMFD_FLAG_INIT_SHARED)");
        error_append_hint(errp, "A VM with private memory needs another "
                          "memory backend for its shared memory, for example "
                          "memory-backend-memfd.\n");
    } else if (page_size != base && !kvm_takes(FLAGS_SHARED, page_size)) {
        error_setg_errno(errp, err, "KVM on this host has no huge pages for "
                         "guest_memfd");
        error_append_hint(errp, "Use hugetlb=off; no released kernel has "
                          "them yet.\n");
    } else {
        error_setg_errno(errp, err, "KVM refuses the guest_memfd");
        error_append_hint(errp, "Use a smaller 'size'.\n");
    }
}

int kvm_create_shared_guest_memfd(uint64_t size, uint64_t page_size,
                                  Error **errp)
{
    int fd = create_file(size, FLAGS_SHARED, page_size);
    int ret;

    if (fd == -EINVAL || fd == -ENOTTY) {
        explain_refusal(page_size, -fd, errp);
        return fd;
    }
    if (fd < 0) {
        error_setg_errno(errp, -fd, "KVM cannot create the guest_memfd");
        return fd;
    }
    ret = check_pages(fd, page_size);
    if (ret) {
        close(fd);
        return refuse_pages(-ret, errp);
    }
    return fd;
}

static int convert_piece(int fd, uint64_t offset, uint64_t size,
                         bool to_private)
{
    struct kvm_memory_attributes2 request = {
        .offset = offset,
        .size = size,
        .attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
        .error_offset = offset,
    };
    int ret = ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &request) ? -errno : 0;

    trace_kvm_guest_memfd_convert(fd, offset, size, request.attributes, ret,
                                  request.error_offset);
    return ret;
}

int kvm_guest_memfd_convert(int fd, uint64_t offset, uint64_t size,
                            bool to_private, uint64_t *done)
{
    uint64_t at, end;

    for (at = offset; at < offset + size; at = end) {
        int ret;

        end = MIN(offset + size, QEMU_ALIGN_UP(at + 1, CONVERTED_AT_ONCE));
        ret = convert_piece(fd, at, end - at, to_private);
        if (ret) {
            *done = at - offset;
            /* Who gets nowhere should let others do something in between. */
            return ret == -EINTR ? -EAGAIN : ret;
        }
    }
    *done = size;
    return 0;
}

int kvm_guest_memfd_move(int fd, uint64_t offset, uint64_t size,
                         uint64_t *moved, uint64_t *failed)
{
    struct kvm_guest_memfd_move request = { .offset = offset, .size = size };
    int ret;

    /* KVM counts pages anew each time, and says what is left. */
    do {
        request.moved = request.failed = 0;
        ret = ioctl(fd, KVM_GUEST_MEMFD_MOVE, &request) ? -errno : 0;
        *moved += request.moved * qemu_real_host_page_size();
        *failed += request.failed * qemu_real_host_page_size();
    } while (ret == -EINTR);

    return ret;
}

int kvm_can_move_guest_memfd(int fd)
{
    struct kvm_guest_memfd_move nothing = {};

    if (RETRY_ON_EINTR(ioctl(fd, KVM_GUEST_MEMFD_MOVE, &nothing))) {
        return -errno;
    }
    return 0;
}

static int convert_a_page(void)
{
    uint64_t page_size = qemu_real_host_page_size(), done;
    int fd = create_file(page_size, FLAGS_SHARED, page_size);
    int ret;

    if (fd < 0) {
        return fd;
    }
    ret = kvm_guest_memfd_convert(fd, 0, page_size, true, &done);
    close(fd);
    return ret;
}

int kvm_can_convert_guest_memfd(void)
{
    int ret = convert_a_page();

    /* what KVM answers to all that it does not know */
    return ret == -EINVAL || ret == -ENOTTY ? 0 : ret ?: 1;
}
