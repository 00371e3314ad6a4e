/*
 * Preloaded into QEMU, this refuses once to map a page of a file in the place
 * of another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE    4096

/* as programs with large files know mmap() */
void *mmap64(void *address, size_t size, int protection, int flags, int fd,
             off64_t offset)
{
    static bool refused;

    if (!refused && fd >= 0 && flags & MAP_FIXED && size == PAGE) {
        refused = true;
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd,
                           offset);
}
