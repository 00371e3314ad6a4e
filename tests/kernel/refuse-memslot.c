/*
 * Preloaded into QEMU, this refuses a memslot, as KVM does if a guest asks for
 * the same memory in two places
 *
 * QEMU asks for it again, as what is in its way may go at once.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include "kvm-abi.h"
#include "next-ioctl.h"

/* tests/guest/missing.c knows, too */
#define SEGMENT (800ull << 10)
#define SIZE    (16ull << 10)

static int own_ioctl(int fd, unsigned long request, void *arg)
{
    static int left = 2;
    const struct region2 *what = arg;

    if (left && request == SET_USER_MEMORY_REGION2 &&
        what->guest_phys_addr == SEGMENT && what->memory_size == SIZE) {
        left--;
        errno = EEXIST;
        return -1;
    }
    return next_ioctl(fd, request, arg);
}
