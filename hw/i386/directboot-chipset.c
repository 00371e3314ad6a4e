/*
 * Booting a kernel in place: what firmware does to the chipset
 *
 * QEMU does it itself, as it builds the ACPI tables before the guest runs, and
 * these name the addresses that the chipset was given.  Linux does the rest:
 * it assigns bus numbers and BARs that are not assigned yet.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "hw/acpi/piix4.h"
#include "hw/ide/piix.h"
#include "hw/pci-host/i440fx.h"
#include "hw/pci-host/q35.h"
#include "hw/pci/pci_host.h"
#include "hw/southbridge/ich9.h"
#include "target/i386/cpu.h"
#include "e820_memory_layout.h"
#include "directboot-internal.h"

#define PM_BASE         0x600
#define SMBUS_BASE      0x700
#define ECAM_BASE       0xb0000000u
#define ECAM_SIZE       (256 * MiB)
#define RCBA_BASE       0xfed1c000u
#define RCBA_SIZE       (16 * KiB)
#define ENABLED         1

typedef struct ConfigWrite {
    const char *type;
    uint8_t reg;
    uint8_t len;
    uint32_t value;
} ConfigWrite;

static const ConfigWrite config_writes[] = {
    /* All of what is below 1 MiB is RAM, but for the hole for video memory. */
    { TYPE_MCH_PCI_DEVICE, MCH_HOST_BRIDGE_PAM0, 4, 0x33333330 },
    { TYPE_MCH_PCI_DEVICE, MCH_HOST_BRIDGE_PAM4, 2, 0x3333 },
    { TYPE_MCH_PCI_DEVICE, MCH_HOST_BRIDGE_PAM6, 1, 0x33 },
    { TYPE_I440FX_PCI_DEVICE, 0x59, 1, 0x30 },
    { TYPE_I440FX_PCI_DEVICE, 0x5a, 2, 0x3333 },
    { TYPE_I440FX_PCI_DEVICE, 0x5c, 4, 0x33333333 },
    /* PCI Express configuration space */
    { TYPE_MCH_PCI_DEVICE, MCH_HOST_BRIDGE_PCIEXBAR + 4, 4, 0 },
    { TYPE_MCH_PCI_DEVICE, MCH_HOST_BRIDGE_PCIEXBAR, 4,
      ECAM_BASE | MCH_HOST_BRIDGE_PCIEXBAREN },
    /* Power management, without which Linux takes ACPI for broken */
    { TYPE_ICH9_LPC_DEVICE, ICH9_LPC_PMBASE, 4, PM_BASE },
    { TYPE_ICH9_LPC_DEVICE, ICH9_LPC_ACPI_CTRL, 1,
      ICH9_LPC_ACPI_CTRL_ACPI_EN },
    { TYPE_PIIX4_PM, 0x40, 4, PM_BASE },
    { TYPE_PIIX4_PM, 0x80, 1, ENABLED },
    { TYPE_PIIX4_PM, 0x90, 4, SMBUS_BASE },
    { TYPE_PIIX4_PM, 0xd2, 1, ENABLED },
    /* The chipset's own registers: there is the watchdog's */
    { TYPE_ICH9_LPC_DEVICE, ICH9_LPC_RCBA, 4, RCBA_BASE | ICH9_LPC_RCBA_EN },
    /* Channels of IDE that are off are off for Linux. */
    { TYPE_PIIX3_IDE, 0x40, 4, 0x80008000 },
};

static PCIDevice *find_device(const char *type)
{
    Object *obj = object_resolve_type_unambiguous(type, NULL);

    return obj ? PCI_DEVICE(obj) : NULL;
}

/* Memory is cached where the kernel doesn't say otherwise. */
static void set_memory_type(X86CPU *cpu)
{
    const uint64_t write_back = 6, enabled = 1 << 11;

    if (cpu->env.features[FEAT_1_EDX] & CPUID_MTRR) {
        cpu->env.mtrr_deftype = enabled | write_back;
    }
}

static void add_bars(PCIBus *bus, PCIDevice *dev, void *opaque)
{
    uint64_t *sum = opaque;

    for (int i = 0; i < PCI_NUM_REGIONS; i++) {
        if (dev->io_regions[i].type & PCI_BASE_ADDRESS_MEM_TYPE_64) {
            *sum += dev->io_regions[i].size;
        }
    }
}

static void add_bars_of_bus(PCIBus *bus, void *opaque)
{
    pci_for_each_device_under_bus(bus, add_bars, opaque);
}

/*
 * Other firmware assigns BARs, and QEMU makes the window so large that it has
 * them.  Twice what they take is enough to align them, and bridges' windows.
 */
static void make_room_for_bars(void)
{
    Object *obj = object_resolve_type_unambiguous(TYPE_Q35_HOST_DEVICE, NULL);
    uint64_t sum = 0;

    if (!obj) {
        return;
    }
    pci_for_each_bus(PCI_HOST_BRIDGE(obj)->bus, add_bars_of_bus, &sum);
    if (sum <= UINT64_MAX / 2) {
        Q35_HOST_DEVICE(obj)->mch.pci_hole64_size =
            MAX(Q35_HOST_DEVICE(obj)->mch.pci_hole64_size, 2 * sum);
    }
}

void directboot_set_up_chipset(void)
{
    CPUState *cs;

    for (int i = 0; i < ARRAY_SIZE(config_writes); i++) {
        const ConfigWrite *write = &config_writes[i];
        PCIDevice *dev = find_device(write->type);

        if (dev) {
            pci_host_config_write_common(dev, write->reg,
                                         PCI_CONFIG_SPACE_SIZE, write->value,
                                         write->len);
        }
    }
    make_room_for_bars();
    CPU_FOREACH(cs) {
        set_memory_type(X86_CPU(cs));
    }
}

static void add_range(GArray *map, uint64_t start, uint64_t end, uint32_t type)
{
    struct e820_entry entry = { start, end - start, type };

    if (start < end) {
        g_array_append_val(map, entry);
    }
}

/* RAM without what is something else, in order */
static void add_ram(GArray *map, uint64_t start, uint64_t end,
                    const DirectbootBlob *acpi)
{
    const struct {
        uint64_t start, end;
    } holes[] = {
        { 0xa0000, 1 * MiB },
        { acpi->addr, acpi->addr + acpi->size },
    };

    for (int i = 0; i < ARRAY_SIZE(holes); i++) {
        if (holes[i].end <= start || holes[i].start >= end) {
            continue;
        }
        add_range(map, start, holes[i].start, E820_RAM);
        start = holes[i].end;
    }
    add_range(map, start, end, E820_RAM);
}

GArray *directboot_memory_map(X86MachineState *x86ms,
                              const DirectbootBlob *acpi)
{
    GArray *map = g_array_new(false, false, sizeof(struct e820_entry));
    uint64_t firmware = memory_region_size(&x86ms->bios);
    struct e820_entry *table;
    int count = e820_get_table(&table);

    for (int i = 0; i < count; i++) {
        uint64_t start = le64_to_cpu(table[i].address);
        uint64_t end = start + le64_to_cpu(table[i].length);
        uint32_t type = le32_to_cpu(table[i].type);

        if (type == E820_RAM) {
            add_ram(map, start, end, acpi);
        } else {
            add_range(map, start, end, type);
        }
    }
    add_range(map, acpi->addr, acpi->addr + acpi->size, E820_ACPI);
    if (find_device(TYPE_MCH_PCI_DEVICE)) {
        add_range(map, ECAM_BASE, ECAM_BASE + ECAM_SIZE, E820_RESERVED);
        add_range(map, RCBA_BASE, RCBA_BASE + RCBA_SIZE, E820_RESERVED);
    }
    add_range(map, 4 * GiB - firmware, 4 * GiB, E820_RESERVED);
    return map;
}
