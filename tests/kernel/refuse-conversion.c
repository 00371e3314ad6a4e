/*
 * Preloaded into QEMU, this refuses a conversion, and to undo a part of it
 *
 * A guest asks for memory of two backends to become shared.  What it asks of
 * the second one is refused, and so is to put back the first one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include "kvm-abi.h"
#include "next-ioctl.h"

#define MIB     (1ull << 20)
/* tests/guest/stuck.c knows, too */
#define AT      (20 * MIB)
#define SIZE    MIB

static int left;

/* In place, memory is named by where it is in its backend. */
static bool is_refused(unsigned long request, const struct attributes *what)
{
    uint64_t at = request == SET_ATTRIBUTES ? AT : 0;

    if (!left && what->address == at && what->size == SIZE &&
        !what->attributes) {
        left = 2;
    }
    return left && left--;
}

static int own_ioctl(int fd, unsigned long request, void *arg)
{
    if ((request == SET_ATTRIBUTES || request == SET_ATTRIBUTES2) &&
        is_refused(request, arg)) {
        errno = EIO;
        return -1;
    }
    return next_ioctl(fd, request, arg);
}
