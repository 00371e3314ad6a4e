/*
 * The serial console of bare-metal guests, by which they talk with the host
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdarg.h>
#include "internal.h"

enum {
    SERIAL = 0x3f8, SERIAL_IRQ = 4, SERIAL_INTERRUPTS = SERIAL + 1,
    SERIAL_FIFO = SERIAL + 2, SERIAL_HAS_FIFO = 1, SERIAL_FIFO_SIZE = 16,
    SERIAL_STATUS = SERIAL + 5, HAS_INPUT = 1, CAN_SEND = 0x20,
    PIC_MASK = 0x21, IO_APIC_ENTRY = 0x10, DEBUG_EXIT = 0xf4,
    /* QEMU ends with status 43 or 45, which it has for nothing else. */
    GOOD = 21, BAD = 22,
};

#define IO_APIC         0xfec00000u

static void put(char c)
{
    static unsigned int sent;

    /* Each look is an exit, and what was sent before leaves room for this. */
    while (sent % SERIAL_FIFO_SIZE == 0 &&
           !(in8(SERIAL_STATUS) & CAN_SEND)) {
        pause();
    }
    sent++;
    out8(SERIAL, c);
}

static void put_string(const char *text)
{
    while (*text) {
        put(*text++);
    }
}

static void put_number(uint64_t value)
{
    int shift = 60;

    while (shift && !(value >> shift)) {
        shift -= 4;
    }
    put_string("0x");
    for (; shift >= 0; shift -= 4) {
        put("0123456789abcdef"[value >> shift & 15]);
    }
}

static void vprint(const char *text, va_list args)
{
    for (; *text; text++) {
        if (*text != '%') {
            put(*text);
        } else if (*++text == 'x') {
            put_number(va_arg(args, uint64_t));
        } else {
            put_string(va_arg(args, const char *));
        }
    }
}

void print(const char *text, ...)
{
    va_list args;

    va_start(args, text);
    vprint(text, args);
    va_end(args);
}

void end(bool good)
{
    out8(DEBUG_EXIT, good ? GOOD : BAD);
    for (;;) {
        asm volatile("hlt");
    }
}

void fail(const char *text, ...)
{
    va_list args;

    va_start(args, text);
    print("guest: failed: ");
    vprint(text, args);
    print("\n");
    va_end(args);
    end(false);
}

static void io_apic_write(unsigned int reg, uint32_t value)
{
    *(volatile uint32_t *)(uint64_t)IO_APIC = reg;      /* a device */
    *(volatile uint32_t *)(uint64_t)(IO_APIC + 0x10) = value;   /* likewise */
}

void prepare_serial(void)
{
    out8(PIC_MASK, 0xff);
    io_apic_write(IO_APIC_ENTRY + 2 * SERIAL_IRQ, WAKE);
    out8(SERIAL_FIFO, SERIAL_HAS_FIFO);
    out8(SERIAL_INTERRUPTS, HAS_INPUT);
}

bool await_answer(void)
{
    print("\n");
    while (!(in8(SERIAL_STATUS) & HAS_INPUT)) {
        wait_for_interrupt();
    }
    return in8(SERIAL) == 'y';
}

bool ask_host(const char *text, ...)
{
    va_list args;

    va_start(args, text);
    print("host: ");
    vprint(text, args);
    va_end(args);
    return await_answer();
}
