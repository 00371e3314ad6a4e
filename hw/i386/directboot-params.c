/*
 * Booting a kernel in place: the parameters that a kernel is started with
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/xen/start_info.h"
#include "e820_memory_layout.h"
#include "directboot-internal.h"

/* Fields of Linux's boot_params beside the setup header, and their sizes */
enum {
    BP_ACPI_RSDP_ADDR = 0x70,
    BP_E820_ENTRIES = 0x1e8,
    BP_E820_TABLE = 0x2d0,
    BP_E820_ENTRY_SIZE = 20,
    LOADER_QEMU = 0xb0,
};

/* Where in its page the start info has its two lists */
enum {
    MODULES = 0x40,
    MEMORY_MAP = 0x80,
};

void directboot_fill_boot_params(uint8_t *page, const DirectbootKernel *kernel)
{
    const uint8_t *setup = kernel->setup.data;
    uint8_t *entry = page + BP_E820_TABLE;
    size_t end = MIN(HDR_MAGIC + setup[HDR_LENGTH], BP_E820_TABLE);

    memcpy(page + HDR_START, setup + HDR_START, end - HDR_START);
    page[HDR_TYPE_OF_LOADER] = LOADER_QEMU;
    stl_le_p(page + HDR_RAMDISK_IMAGE, kernel->initrd.addr);
    stl_le_p(page + HDR_RAMDISK_SIZE, kernel->initrd.size);
    stl_le_p(page + HDR_CMD_LINE_PTR, kernel->cmdline.addr);
    stq_le_p(page + BP_ACPI_RSDP_ADDR, kernel->rsdp);

    page[BP_E820_ENTRIES] = kernel->memory_map->len;
    for (int i = 0; i < kernel->memory_map->len; i++) {
        struct e820_entry *range = &g_array_index(kernel->memory_map,
                                                  struct e820_entry, i);

        stq_le_p(entry, range->address);
        stq_le_p(entry + 8, range->length);
        stl_le_p(entry + 16, range->type);
        entry += BP_E820_ENTRY_SIZE;
    }
}

void directboot_fill_start_info(uint8_t *page, const DirectbootKernel *kernel)
{
    struct hvm_start_info *info = (struct hvm_start_info *)page;
    struct hvm_modlist_entry *module =
        (struct hvm_modlist_entry *)(page + MODULES);
    struct hvm_memmap_table_entry *entry =
        (struct hvm_memmap_table_entry *)(page + MEMORY_MAP);

    info->magic = cpu_to_le32(XEN_HVM_START_MAGIC_VALUE);
    info->version = cpu_to_le32(1);
    info->cmdline_paddr = cpu_to_le64(kernel->cmdline.addr);
    info->rsdp_paddr = cpu_to_le64(kernel->rsdp);
    if (kernel->initrd.size) {
        info->nr_modules = cpu_to_le32(1);
        info->modlist_paddr = cpu_to_le64(DIRECTBOOT_INFO + MODULES);
        module->paddr = cpu_to_le64(kernel->initrd.addr);
        module->size = cpu_to_le64(kernel->initrd.size);
    }

    info->memmap_paddr = cpu_to_le64(DIRECTBOOT_INFO + MEMORY_MAP);
    info->memmap_entries = cpu_to_le32(kernel->memory_map->len);
    for (int i = 0; i < kernel->memory_map->len; i++) {
        struct e820_entry *range = &g_array_index(kernel->memory_map,
                                                  struct e820_entry, i);

        entry[i].addr = cpu_to_le64(range->address);
        entry[i].size = cpu_to_le64(range->length);
        entry[i].type = cpu_to_le32(range->type);
    }
}
