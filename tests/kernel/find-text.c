/*
 * Find a text in a file that has no lines
 *
 * usage: find-text TEXT FILE
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE

#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static bool has_text(int fd, const char *text)
{
    static char buffer[1 << 16];
    size_t length = strlen(text), kept = 0;
    ssize_t got;

    while ((got = read(fd, buffer + kept, sizeof(buffer) - kept)) > 0) {
        size_t size = kept + got;

        if (memmem(buffer, size, text, length)) {
            return true;
        }
        /* It may begin at the end of this piece. */
        kept = size < length - 1 ? size : length - 1;
        memmove(buffer, buffer + size - kept, kept);
    }
    if (got < 0) {
        err(2, "cannot read");
    }
    return false;
}

int main(int argc, char **argv)
{
    int fd = argc == 3 ? open(argv[2], O_RDONLY) : -1;

    if (fd < 0 || !*argv[1]) {
        errx(2, "usage: find-text TEXT FILE");
    }
    return !has_text(fd, argv[1]);
}
