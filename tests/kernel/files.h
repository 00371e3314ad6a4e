/*
 * What the kernel says and takes in small files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FILES_H
#define FILES_H

#include <stdbool.h>

/* The number at the start of a file, or after a word in it, or -1. */
long read_number(const char *path, const char *word);
bool write_string(const char *path, const char *string);

#endif
