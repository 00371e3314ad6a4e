/*
 * What files that are preloaded into QEMU call in their ioctl()
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NEXT_IOCTL_H
#define NEXT_IOCTL_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE first, for RTLD_NEXT"
#endif

#include <dlfcn.h>

/* Calls the ioctl() behind this one: of the C library, or preloaded, too. */
static inline int next_ioctl(int fd, unsigned long request, void *arg)
{
    static int (*next)(int, unsigned long, ...);

    if (!next) {
        next = dlsym(RTLD_NEXT, "ioctl");
    }
    return next(fd, request, arg);
}

#endif
