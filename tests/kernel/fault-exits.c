/*
 * Preloaded into QEMU, this gives any guest KVM_EXIT_MEMORY_FAULT
 *
 * With SEV-SNP and TDX, an access says what it takes a page for, and ends so if
 * the page is not that.  Of other guests KVM knows no such thing; so a guest
 * writes to a port of ours: the page's address, plus one if it is to be
 * private, in 32 bits.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "kvm-abi.h"
#include "next-ioctl.h"

#define PAGE    4096ul

enum {
    PORT = 0xf8,                        /* tests/guest/implicit.c knows, too */
    RUN_SIZE = 2 * PAGE,                /* the second has what is written */
    MAX_FILES = 1024,
};

static struct kvm_run *runs[MAX_FILES];

static int create_vcpu(int fd, unsigned long request, void *id)
{
    int vcpu = next_ioctl(fd, request, id);

    if (vcpu < 0) {
        return vcpu;
    }
    if (vcpu >= MAX_FILES) {
        abort();
    }
    runs[vcpu] = mmap(NULL, RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu,
                      0);
    if (runs[vcpu] == MAP_FAILED) {
        abort();
    }
    return vcpu;
}

static int run_vcpu(int fd, unsigned long request, void *arg)
{
    struct kvm_run *run = runs[fd];
    int ret = next_ioctl(fd, request, arg);
    struct memory_fault fault = { .size = PAGE };
    uint32_t written;

    if (ret || run->exit_reason != KVM_EXIT_IO || run->io.port != PORT) {
        return ret;
    }
    memcpy(&written, (char *)run + run->io.data_offset, sizeof(written));
    fault.flags = written & 1 ? EXIT_FLAG_PRIVATE : 0;
    fault.gpa = written & ~1u;
    run->exit_reason = EXIT_MEMORY_FAULT;
    memcpy(run->padding, &fault, sizeof(fault));
    errno = EFAULT;
    return -1;
}

static int own_ioctl(int fd, unsigned long request, void *arg)
{
    switch (request) {
    case KVM_CREATE_VCPU:
        return create_vcpu(fd, request, arg);
    case KVM_RUN:
        return run_vcpu(fd, request, arg);
    default:
        return next_ioctl(fd, request, arg);
    }
}
