/*
 * What the parts of the runtime of bare-metal guests have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GUEST_RUNTIME_INTERNAL_H
#define TESTS_GUEST_RUNTIME_INTERNAL_H

#include "runtime.h"

/* what the serial console and other processors interrupt the guest by */
enum { WAKE = 0x20 };

static inline void pause(void)
{
    asm volatile("pause" : : : "memory");
}

static inline void out8(uint16_t port, uint8_t value)
{
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;

    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void out16(uint16_t port, uint16_t value)
{
    asm volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;

    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* Ends QEMU. */
void end(bool good) __attribute__((noreturn));

/* Has the host's answers interrupt the guest. */
void prepare_serial(void);

/* Ends a line, and waits until the host has answered it. */
void await_answer(void);

/**
 * wait_for_interrupt() - wait, with interrupts on
 *
 * They are off but for here, so that one between a look at what is awaited and
 * the wait ends the wait.
 */
void wait_for_interrupt(void);

#endif
