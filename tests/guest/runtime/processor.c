/*
 * The processors of bare-metal guests: start, interrupts, and work for all
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "internal.h"

enum {
    APIC_BASE = 0x1b, X2APIC_EOI = 0x80b, X2APIC_SVR = 0x80f,
    X2APIC_ICR = 0x830,
    TRAMPOLINE = 0x8000,
    SPURIOUS = WAKE + 1, NR_VECTORS,
    CODE64 = 0x18, INTERRUPT_GATE = 0x8e00,
};

#define APIC_ENABLED    0xc00u          /* as x2APIC */
#define SVR_ENABLED     0x100u
#define TO_OTHERS       0xc0000u
#define INIT            0x4500u
#define STARTUP         0x4600u
#define FIXED           0x4000u

/* See the AMD64 manual, volume 2, 4.8.4. */
static struct gate {
    uint16_t low, selector, type, middle;
    uint32_t high, reserved;
} gates[NR_VECTORS];

struct frame;

static void (*todo)(unsigned int cpu);
static unsigned int round_nr, ended;

unsigned int read_once(unsigned int *value)
{
    return __atomic_load_n(value, __ATOMIC_SEQ_CST);
}

static uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;

    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return low | (uint64_t)high << 32;
}

static void wrmsr(uint32_t msr, uint64_t value)
{
    asm volatile("wrmsr" : : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)),
                 "c"(msr) : "memory");
}

static void __attribute__((interrupt)) wake(struct frame *frame)
{
    wrmsr(X2APIC_EOI, 0);
}

static void __attribute__((interrupt)) spurious(struct frame *frame)
{
}

static void set_gate(unsigned int vector, void (*handler)(struct frame *))
{
    uint64_t address = (uint64_t)handler;

    gates[vector] = (struct gate) {
        .low = address, .middle = address >> 16, .high = address >> 32,
        .selector = CODE64, .type = INTERRUPT_GATE,
    };
}

static void load_gates(void)
{
    struct { uint16_t limit; uint64_t base; } __attribute__((packed))
        pointer = { sizeof(gates) - 1, (uint64_t)gates };

    asm volatile("lidt %0" : : "m"(pointer));
}

void wait_for_interrupt(void)
{
    asm volatile("sti; hlt; cli" : : : "memory");
}

static void enable_apic(void)
{
    wrmsr(APIC_BASE, rdmsr(APIC_BASE) | APIC_ENABLED);
    wrmsr(X2APIC_SVR, SVR_ENABLED | SPURIOUS);
}

static void serve(unsigned int cpu)
{
    unsigned int done = 0;

    for (;;) {
        while (read_once(&round_nr) == done) {
            wait_for_interrupt();
        }
        done++;
        todo(cpu);
        __atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
        wrmsr(X2APIC_ICR, FIXED | WAKE);        /* to processor 0 */
    }
}

void run_on_all(unsigned int cpus, void (*fn)(unsigned int cpu))
{
    todo = fn;
    ended = 0;
    __atomic_add_fetch(&round_nr, 1, __ATOMIC_SEQ_CST);
    wrmsr(X2APIC_ICR, TO_OTHERS | FIXED | WAKE);
    fn(0);
    while (read_once(&ended) < cpus - 1) {
        wait_for_interrupt();
    }
}

static void start_others(void)
{
    char *to = (char *)TRAMPOLINE;

    for (const char *from = trampoline; from < trampoline_end; from++) {
        *to++ = *from;
    }
    wrmsr(X2APIC_ICR, TO_OTHERS | INIT);
    wrmsr(X2APIC_ICR, TO_OTHERS | STARTUP | TRAMPOLINE / PAGE);
}

void runtime_main(unsigned int cpu)
{
    int status;

    load_gates();
    enable_apic();
    if (cpu) {
        serve(cpu);
    }
    set_gate(WAKE, wake);
    set_gate(SPURIOUS, spurious);
    prepare_serial();
    start_others();
    status = guest_main();
    ask_host("map");
    end(!status);
}
