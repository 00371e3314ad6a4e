/*
 * A guest to which a device is assigned and taken away, while it converts
 * memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "assigned.h"
#include "port.h"

enum { TIMES = 3, CONVERSIONS = 3000, PROBES = 3 };

/* Of machine pc, see QEMU's docs/specs/acpi_pci_hotplug.rst */
enum { PCI_REMOVE = 0xae04, PCI_EJECT = 0xae08 };

static void await_device(void)
{
    while (!devices) {
        convert_some();
        find_devices();
    }
}

static void await_removal(void)
{
    uint32_t slots;

    while (!(slots = in32(PCI_REMOVE))) {
        convert_some();
    }
    end_flight();
    devices = 0;
    out32(PCI_EJECT, slots);
}

int guest_main(void)
{
    must_convert(MARK, 2 * PAGE, false);
    probe_begin();
    for (int i = 0; i < TIMES; i++) {
        convert_randomly(CONVERSIONS, PROBES);
        ask_host("plug");
        await_device();
        convert_randomly(CONVERSIONS, PROBES);
        ask_host("unplug");
        await_removal();
        ask_host("unplugged");
    }
    return 0;
}
