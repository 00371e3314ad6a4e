/*
 * Preloaded into QEMU, this makes KVM look like one of an older kernel: the
 * environment variable GUEST_MEMFD_FLAGS is the sum of the flags that it takes
 * for a guest_memfd, or "none" if it has no guest_memfd.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include "kvm-abi.h"
#include "next-ioctl.h"

static bool takes(const struct create_guest_memfd *args)
{
    unsigned long flags;

    if (sscanf(getenv("GUEST_MEMFD_FLAGS"), "%lu", &flags) != 1) {
        errno = ENOTTY;
        return false;
    }
    errno = EINVAL;
    return !(args->flags & ~flags);
}

static int own_ioctl(int fd, unsigned long request, void *arg)
{
    if (request == CREATE_GUEST_MEMFD && !takes(arg)) {
        return -1;
    }
    return next_ioctl(fd, request, arg);
}
