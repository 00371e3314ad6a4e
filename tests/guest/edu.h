/*
 * A driver for QEMU's edu device, see QEMU's docs/specs/edu.rst
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GUEST_EDU_H
#define TESTS_GUEST_EDU_H

#include "runtime.h"

#define EDU 0x11e81234u

/* Copies to or from its buffer of 4 KiB. */
static void edu(uint64_t base, uint64_t gpa, uint64_t size, bool to_memory)
{
    enum {
        SOURCE = 0x80, TARGET = 0x88, COUNT = 0x90, COMMAND = 0x98,
        BUFFER = 0x40000, RUN = 1, TO_MEMORY = 2,
    };

    *word(base + SOURCE) = to_memory ? BUFFER : gpa;
    *word(base + TARGET) = to_memory ? gpa : BUFFER;
    *word(base + COUNT) = size;
    *reg32(base, COMMAND) = RUN | (to_memory ? TO_MEMORY : 0);
    while (*reg32(base, COMMAND) & RUN) {
        asm volatile("pause");
    }
}

#endif
