/*
 * What the kernel says and takes in small files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "files.h"

long read_number(const char *path, const char *word)
{
    FILE *f = fopen(path, "r");
    size_t len = strlen(word);
    long value = -1;
    char line[128];

    while (f && value < 0 && fgets(line, sizeof(line), f)) {
        if (!strncmp(line, word, len)) {
            value = atol(line + len);
        }
    }
    if (f) {
        fclose(f);
    }
    return value;
}

bool write_string(const char *path, const char *string)
{
    int fd = open(path, O_WRONLY);
    bool done = fd >= 0 &&
                write(fd, string, strlen(string)) == (ssize_t)strlen(string);

    if (fd >= 0) {
        close(fd);
    }
    return done;
}
