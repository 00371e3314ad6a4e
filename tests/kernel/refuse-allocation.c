/*
 * Preloaded into QEMU, this refuses to allocate memory of files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>

/* as programs with large files know fallocate() */
int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    errno = ENOMEM;
    return -1;
}
