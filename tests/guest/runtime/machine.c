/*
 * What bare-metal guests do with the machine around them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "internal.h"

enum {
    FW_CFG = 0x510, FW_CFG_NB_CPUS = 5, FW_CFG_DMA = 0x514,
    CMOS = 0x70, CMOS_FREE = 0x50,
    RESET_CONTROL = 0xcf9, KEYBOARD = 0x64, KEYBOARD_RESET = 0xfe,
    IB700_ENABLE = 0x443, IB700_AT_ONCE = 0xf, PVPANIC = 0x505, PANICKED = 1,
    PCI_ADDRESS = 0xcf8, PCI_DATA = 0xcfc, PCI_COMMAND = 4, PCI_BAR0 = 0x10,
    PCI_USES_MEMORY = 2, PCI_MASTER = 4,
    LPC = 31, LPC_POWER = 0x40, LPC_ACPI = 0x44, LPC_ACPI_ENABLED = 0x80,
    POWER = 0x600, POWER_CONTROL = POWER + 4, SLEEP_S3 = 1 << 13 | 1 << 10,
    HOTPLUG = 0xa00, HOTPLUG_FLAGS = HOTPLUG + 0x14,
    INSERTED = 2, REMOVE = 4, EJECT = 8,
};

#define PCI_MEMORY      0xc0000000u

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
