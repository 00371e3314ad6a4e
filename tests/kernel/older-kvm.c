/*
 * Preloaded into QEMU, this makes KVM look like one that can do less: the
 * environment variable GUEST_MEMFD_FLAGS is the sum of the flags that it takes
 * for a guest_memfd, or "none" if it has no guest_memfd.  With OTHER_PAGES it
 * takes flag 4 to mean something else than huge pages.
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
    const char *wanted = getenv("GUEST_MEMFD_FLAGS");
    unsigned long flags;

    if (!wanted) {
        return true;
    }
    if (sscanf(wanted, "%lu", &flags) != 1) {
        errno = ENOTTY;
        return false;
    }
    errno = EINVAL;
    return !(args->flags & ~flags);
}

/* The order of the pages is one byte, and not looked at by who knows it not. */
static void mistake(struct create_guest_memfd *args)
{
    if (getenv("OTHER_PAGES")) {
        args->flags &= ~4ull;
        args->page_order = 0;
    }
}

static int own_ioctl(int fd, unsigned long request, void *arg)
{
    if (request == CREATE_GUEST_MEMFD) {
        if (!takes(arg)) {
            return -1;
        }
        mistake(arg);
    }
    return next_ioctl(fd, request, arg);
}
