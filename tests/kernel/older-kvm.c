/*
 * Preloaded into QEMU, this makes KVM look like one that can do less: the
 * environment variable GUEST_MEMFD_FLAGS is the sum of the flags that it takes
 * for a guest_memfd, or "none" if it has no guest_memfd, and WITHOUT_CAPABILITY
 * the number of one that it lacks.  With OTHER_PAGES it takes flag 4 to mean
 * something else than huge pages.
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

static bool lacks(uintptr_t capability)
{
    const char *unwanted = getenv("WITHOUT_CAPABILITY");
    unsigned long number;

    return unwanted && sscanf(unwanted, "%lu", &number) == 1 &&
           capability == number;
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
    if (request == KVM_CHECK_EXTENSION && lacks((uintptr_t)arg)) {
        return 0;
    }
    if (request == CREATE_GUEST_MEMFD) {
        if (!takes(arg)) {
            return -1;
        }
        mistake(arg);
    }
    return next_ioctl(fd, request, arg);
}
