/*
 * Preloaded into QEMU, this lets a guest_memfd's memory be busy for a moment,
 * twice for each hole that is to be punched
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* as programs with large files know fallocate() */
int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    static unsigned int calls;

    if (mode & FALLOC_FL_PUNCH_HOLE && calls++ % 3 < 2) {
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_fallocate, fd, mode, offset, size);
}
