/*
 * What the parts of the runtime of bare-metal guests have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GUEST_RUNTIME_INTERNAL_H
#define TESTS_GUEST_RUNTIME_INTERNAL_H

#include "port.h"
#include "runtime.h"

/* what the serial console and other processors interrupt the guest by */
enum { WAKE = 0x20 };

static inline void pause(void)
{
    asm volatile("pause" : : : "memory");
}

/* Ends QEMU. */
void end(bool good) __attribute__((noreturn));

/* Has the host's answers interrupt the guest. */
void prepare_serial(void);

/* Ends a line, and waits for the answer: whether the host wants more of it. */
bool await_answer(void);

/**
 * wait_for_interrupt() - wait, with interrupts on
 *
 * They are off but for here, so that one between a look at what is awaited and
 * the wait ends the wait.
 */
void wait_for_interrupt(void);

#endif
