/*
 * ACPI tables, ready to be laid into guest memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_ACPI_IN_PLACE_H
#define HW_ACPI_IN_PLACE_H

#include "exec/hwaddr.h"
#include "hw/nvram/fw_cfg.h"

/**
 * struct AcpiInPlace - a machine's ACPI tables, linked for their address
 * @data: the tables; empty if the machine has none
 * @addr: guest-physical address that they are linked for
 * @rsdp: that of the RSDP, or 0
 */
typedef struct AcpiInPlace {
    GByteArray *data;
    hwaddr addr;
    hwaddr rsdp;
} AcpiInPlace;

/**
 * acpi_in_place_build() - do what QEMU's loader script asks firmware to do
 * @acpi: zeroed; to be freed by acpi_in_place_free()
 * @fw_cfg: has the script and the tables
 * @end: guest-physical address that the tables must not reach beyond
 * @errp: set if it could not be done
 *
 * Tables are the newest, rebuilt if the machine has been reset since they were
 * read last.  Nothing is written to guest memory.
 *
 * Return: whether it could be done.
 */
bool acpi_in_place_build(AcpiInPlace *acpi, FWCfgState *fw_cfg, hwaddr end,
                         Error **errp);

/**
 * acpi_in_place_free() - free what acpi_in_place_build() made
 * @acpi: what it made; has no tables then
 */
void acpi_in_place_free(AcpiInPlace *acpi);

#endif
