/*
 * Ways to hold on to a page
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PIN_H
#define PIN_H

#include <stdbool.h>
#include <stddef.h>

enum pin_kind { PIN_VMSPLICE, PIN_IO_URING, PIN_KINDS };

extern const char *const pin_names[];

struct pin {
    enum pin_kind kind;
    int fd[2];
};

bool pin(struct pin *p, enum pin_kind kind, void *addr, size_t npages);
/* io_uring lets go of pages some time later. */
void unpin(struct pin *p);

#endif
