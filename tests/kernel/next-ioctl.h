/*
 * What files that are preloaded into QEMU have in common: an ioctl() that asks
 * their own, which may go on to the next one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NEXT_IOCTL_H
#define NEXT_IOCTL_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE first, for RTLD_NEXT"
#endif

#include <dlfcn.h>
#include <stdarg.h>

/* Calls the ioctl() behind this one: of the C library, or preloaded, too. */
static inline int next_ioctl(int fd, unsigned long request, void *arg)
{
    static int (*next)(int, unsigned long, ...);

    if (!next) {
        next = dlsym(RTLD_NEXT, "ioctl");
    }
    return next(fd, request, arg);
}

/* Each file has its own. */
static int own_ioctl(int fd, unsigned long request, void *arg);

int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    void *arg;

    va_start(list, request);
    arg = va_arg(list, void *);
    va_end(list);
    return own_ioctl(fd, request, arg);
}

#endif
