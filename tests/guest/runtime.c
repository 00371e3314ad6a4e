/*
 * What bare-metal guests have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdarg.h>
#include "runtime.h"

enum {
    SERIAL = 0x3f8, SERIAL_IRQ = 4, SERIAL_INTERRUPTS = SERIAL + 1,
    SERIAL_FIFO = SERIAL + 2, SERIAL_HAS_FIFO = 1, SERIAL_FIFO_SIZE = 16,
    SERIAL_STATUS = SERIAL + 5, HAS_INPUT = 1, CAN_SEND = 0x20,
    PIC_MASK = 0x21, IO_APIC_ENTRY = 0x10,
    DEBUG_EXIT = 0xf4, FW_CFG = 0x510, FW_CFG_NB_CPUS = 5,
    FW_CFG_DMA = 0x514,
    CMOS = 0x70, CMOS_FREE = 0x50,
    RESET_CONTROL = 0xcf9, KEYBOARD = 0x64, KEYBOARD_RESET = 0xfe,
    IB700_ENABLE = 0x443, IB700_AT_ONCE = 0xf, PVPANIC = 0x505, PANICKED = 1,
    APIC_BASE = 0x1b, X2APIC_EOI = 0x80b, X2APIC_SVR = 0x80f,
    X2APIC_ICR = 0x830,
    TRAMPOLINE = 0x8000,
    HC_MAP_GPA_RANGE = 12, MAP_PRIVATE = 1 << 4,
    PCI_ADDRESS = 0xcf8, PCI_DATA = 0xcfc, PCI_COMMAND = 4, PCI_BAR0 = 0x10,
    PCI_USES_MEMORY = 2, PCI_MASTER = 4,
    LPC = 31, LPC_POWER = 0x40, LPC_ACPI = 0x44, LPC_ACPI_ENABLED = 0x80,
    POWER = 0x600, POWER_CONTROL = POWER + 4, SLEEP_S3 = 1 << 13 | 1 << 10,
    HOTPLUG = 0xa00, HOTPLUG_FLAGS = HOTPLUG + 0x14,
    INSERTED = 2, REMOVE = 4, EJECT = 8,
    WAKE = 0x20, SPURIOUS, NR_VECTORS,
    CODE64 = 0x18, INTERRUPT_GATE = 0x8e00,
    /* QEMU ends with status 43 or 45, which it has for nothing else. */
    GOOD = 21, BAD = 22,
};

#define IO_APIC         0xfec00000u
#define PCI_MEMORY      0xc0000000u
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

static void pause(void)
{
    asm volatile("pause" : : : "memory");
}

unsigned int read_once(unsigned int *value)
{
    return __atomic_load_n(value, __ATOMIC_SEQ_CST);
}

static void out8(uint16_t port, uint8_t value)
{
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
    uint8_t value;

    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void out16(uint16_t port, uint16_t value)
{
    asm volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static void out32(uint16_t port, uint32_t value)
{
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static uint32_t in32(uint16_t port)
{
    uint32_t value;

    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
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

static void __attribute__((noreturn)) end(bool good)
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

/*
 * Interrupts are off but for here, so that one between a look at what is
 * awaited and the wait ends the wait.
 */
static void wait_for_interrupt(void)
{
    asm volatile("sti; hlt; cli" : : : "memory");
}

static void io_apic_write(unsigned int reg, uint32_t value)
{
    *(volatile uint32_t *)(uint64_t)IO_APIC = reg;      /* a device */
    *(volatile uint32_t *)(uint64_t)(IO_APIC + 0x10) = value;   /* likewise */
}

static void prepare_serial(void)
{
    out8(PIC_MASK, 0xff);
    io_apic_write(IO_APIC_ENTRY + 2 * SERIAL_IRQ, WAKE);
    out8(SERIAL_FIFO, SERIAL_HAS_FIFO);
    out8(SERIAL_INTERRUPTS, HAS_INPUT);
}

static void await_answer(void)
{
    print("\n");
    while (!(in8(SERIAL_STATUS) & HAS_INPUT)) {
        wait_for_interrupt();
    }
    in8(SERIAL);
}

void ask_host(const char *text, ...)
{
    va_list args;

    va_start(args, text);
    print("host: ");
    vprint(text, args);
    va_end(args);
    await_answer();
}

void check_pages(uint64_t gpa, uint64_t end, uint64_t seed)
{
    for (; gpa < end; gpa += PAGE) {
        if (*word(gpa) != pattern(gpa, seed)) {
            fail("page %x has %x, not what was written with %x", gpa,
                 *word(gpa), seed);
        }
    }
}

static bool is_marked(uint64_t gpa, uint64_t seed)
{
    return *word(gpa + 8) == pattern(gpa, seed);
}

void compare_states(uint64_t gpa, uint64_t end)
{
    /* Memory may keep its contents, so no mark comes twice. */
    static uint64_t seed = 0x10000;

    seed += 2;
    ask_host("mark %x %x %x", gpa, end, seed);
    print("host: states %x", gpa);
    for (bool marked = false; gpa < end; marked = !marked) {
        uint64_t start = gpa;

        while (gpa < end && is_marked(gpa, seed) == marked) {
            gpa += PAGE;
        }
        print(" %x", (gpa - start) / PAGE);
    }
    await_answer();
}

/* Asked once, as it is an exit. */
static bool is_amd(void)
{
    static enum { UNKNOWN, AMD, OTHER } vendor;
    uint32_t eax = 0, ebx, ecx, edx;

    if (vendor == UNKNOWN) {
        asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
        vendor = ecx == 0x444d4163 ? AMD : OTHER;       /* "cAMD" */
    }
    return vendor == AMD;
}

int64_t convert_pages(uint64_t gpa, uint64_t pages, bool private)
{
    uint64_t attributes = private ? MAP_PRIVATE : 0;
    int64_t ret = HC_MAP_GPA_RANGE;

    if (is_amd()) {
        asm volatile("vmmcall" : "+a"(ret) : "b"(gpa), "c"(pages),
                     "d"(attributes) : "memory");
    } else {
        asm volatile("vmcall" : "+a"(ret) : "b"(gpa), "c"(pages),
                     "d"(attributes) : "memory");
    }
    return ret;
}

int64_t convert(uint64_t gpa, uint64_t size, bool private)
{
    return convert_pages(gpa, size / PAGE, private);
}

static void pci_select(unsigned int device, unsigned int reg)
{
    out32(PCI_ADDRESS, 1u << 31 | device << 11 | (reg & ~3u));
}

uint32_t pci_read32(unsigned int device, unsigned int reg)
{
    pci_select(device, reg);
    return in32(PCI_DATA);
}

void pci_write32(unsigned int device, unsigned int reg, uint32_t value)
{
    pci_select(device, reg);
    out32(PCI_DATA, value);
}

void pci_write8(unsigned int device, unsigned int reg, uint8_t value)
{
    pci_select(device, reg);
    out8(PCI_DATA + (reg & 3), value);
}

unsigned int pci_find(uint32_t id)
{
    for (unsigned int device = 0; device < 32; device++) {
        if (pci_read32(device, 0) == id) {
            return device;
        }
    }
    fail("no device %x", id);
}

uint64_t pci_enable(unsigned int device, unsigned int bar)
{
    uint64_t gpa = PCI_MEMORY + device * MIB;

    pci_write32(device, PCI_BAR0 + 4 * bar, gpa);
    pci_write8(device, PCI_COMMAND, PCI_USES_MEMORY | PCI_MASTER);
    return gpa;
}

void fw_cfg_dma(uint64_t gpa)
{
    out32(FW_CFG_DMA, __builtin_bswap32(gpa >> 32));
    out32(FW_CFG_DMA + 4, __builtin_bswap32(gpa));
}

/* See QEMU's docs/specs/acpi_mem_hotplug.rst. */
void eject_memory(void)
{
    uint8_t flags;

    out32(HOTPLUG, 0);
    flags = in8(HOTPLUG_FLAGS);
    if (flags & INSERTED) {
        out8(HOTPLUG_FLAGS, INSERTED);
    }
    if (flags & REMOVE) {
        out8(HOTPLUG_FLAGS, REMOVE);
        out8(HOTPLUG_FLAGS, EJECT);
    }
}

unsigned int nr_cpus(void)
{
    out16(FW_CFG, FW_CFG_NB_CPUS);
    return in8(FW_CFG + 1);
}

unsigned int count_boots(void)
{
    uint8_t boots;

    /* The clock's memory outlives resets. */
    out8(CMOS, CMOS_FREE);
    boots = in8(CMOS + 1) + 1;
    out8(CMOS, CMOS_FREE);
    out8(CMOS + 1, boots);
    return boots;
}

void reset(unsigned int how)
{
    static const struct { uint16_t limit; uint64_t base; }
        __attribute__((packed)) no_handlers = { 0 };

    if (how == BY_CHIPSET) {
        out8(RESET_CONTROL, 2);
        out8(RESET_CONTROL, 6);
    } else if (how == BY_KEYBOARD) {
        out8(KEYBOARD, KEYBOARD_RESET);
    } else if (how == BY_WATCHDOG) {
        out8(IB700_ENABLE, IB700_AT_ONCE);
    } else if (how == BY_PANIC) {
        ask_host("panic");
        out8(PVPANIC, PANICKED);
    } else {
        asm volatile("lidt %0; ud2" : : "m"(no_handlers));
    }
    for (;;) {
        asm volatile("hlt");
    }
}

void suspend(void)
{
    pci_write32(LPC, LPC_POWER, POWER);
    pci_write8(LPC, LPC_ACPI, LPC_ACPI_ENABLED);
    out16(POWER_CONTROL, SLEEP_S3);
    for (;;) {
        asm volatile("hlt");
    }
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
