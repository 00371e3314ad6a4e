/*
 * A driver for QEMU's edu device, see QEMU's docs/specs/edu.rst
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GUEST_EDU_H
#define TESTS_GUEST_EDU_H

#include "runtime.h"

#define EDU 0x11e81234u

enum {
    EDU_SOURCE = 0x80, EDU_TARGET = 0x88, EDU_COUNT = 0x90, EDU_COMMAND = 0x98,
    EDU_BUFFER = 0x40000, EDU_RUN = 1, EDU_TO_MEMORY = 2,
};

static inline bool edu_is_busy(uint64_t base)
{
    return *reg32(base, EDU_COMMAND) & EDU_RUN;
}

/* Begins to copy to or from its buffer of 4 KiB. */
static inline void edu_begin(uint64_t base, uint64_t gpa, uint64_t size,
                             bool to_memory)
{
    *word(base + EDU_SOURCE) = to_memory ? EDU_BUFFER : gpa;
    *word(base + EDU_TARGET) = to_memory ? gpa : EDU_BUFFER;
    *word(base + EDU_COUNT) = size;
    *reg32(base, EDU_COMMAND) = EDU_RUN | (to_memory ? EDU_TO_MEMORY : 0);
}

static inline void edu(uint64_t base, uint64_t gpa, uint64_t size,
                       bool to_memory)
{
    edu_begin(base, gpa, size, to_memory);
    while (edu_is_busy(base)) {
        asm volatile("pause");
    }
}

#endif
