/*
 * Ways to hold on to a page
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "pin.h"
#include "vm.h"

const char *const pin_names[] = { "vmsplice", "io_uring" };

bool pin(struct pin *p, enum pin_kind kind, void *addr, size_t npages)
{
    struct iovec iov = { .iov_base = addr, .iov_len = npages * PAGE };
    uint32_t params[120 / 4] = { 0 };

    p->kind = kind;
    p->fd[0] = p->fd[1] = -1;
    switch (kind) {
    case PIN_VMSPLICE:
        return !pipe(p->fd) &&
               vmsplice(p->fd[1], &iov, 1, 0) == (ssize_t)iov.iov_len;
    case PIN_IO_URING:
        p->fd[0] = syscall(425 /* io_uring_setup */, 4, params);
        return p->fd[0] >= 0 &&
               !syscall(427 /* io_uring_register */, p->fd[0],
                        0 /* IORING_REGISTER_BUFFERS */, &iov, 1);
    default:
        return false;
    }
}

void unpin(struct pin *p)
{
    if (p->kind == PIN_IO_URING) {
        syscall(427, p->fd[0], 1 /* IORING_UNREGISTER_BUFFERS */, NULL, 0);
    }
    close(p->fd[0]);
    if (p->fd[1] >= 0) {
        close(p->fd[1]);
    }
}
