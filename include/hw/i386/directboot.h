/*
 * Booting a kernel in place: QEMU lays it into guest memory, with all it needs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_DIRECTBOOT_H
#define HW_I386_DIRECTBOOT_H

#include "hw/i386/x86.h"

#define DIRECTBOOT_FIRMWARE "directboot.bin"

/* What pc-bios/directboot/start.S knows as well */
#define DIRECTBOOT_PARAMS       0x1000
#define DIRECTBOOT_MAGIC        0x746f6f42      /* "Boot" */
#define DIRECTBOOT_LINUX64      1
#define DIRECTBOOT_PVH          2
#define DIRECTBOOT_PAGE_TABLES  0x2000
#define DIRECTBOOT_PAGE_TABLES_SIZE 0x6000
#define DIRECTBOOT_STACK        0x8000
#define DIRECTBOOT_STACK_SIZE   0x1000

/**
 * struct DirectbootParams - what the firmware is told, at DIRECTBOOT_PARAMS
 * @magic: DIRECTBOOT_MAGIC, or there is nothing to boot
 * @kind: DIRECTBOOT_LINUX64 or DIRECTBOOT_PVH
 * @entry: where the kernel starts
 * @argument: address of the boot_params or of the hvm_start_info
 *
 * All little-endian.
 */
typedef struct DirectbootParams {
    uint32_t magic;
    uint32_t kind;
    uint64_t entry;
    uint64_t argument;
} DirectbootParams;

/**
 * directboot_firmware() - the firmware of a machine that boots in place
 * @machine: the machine, with its confidential guest if it has one
 *
 * Return: its name, or NULL if the user says what firmware runs, or the guest
 * needs another.
 */
const char *directboot_firmware(MachineState *machine);

/**
 * directboot_check_guest() - QEMU ends if a guest cannot boot in place
 * @machine: the machine, with its confidential guest if it has one
 * @firmware: the name of the firmware that is about to be loaded
 */
void directboot_check_guest(MachineState *machine, const char *firmware);

/**
 * directboot_check_multiboot() - QEMU ends if a multiboot kernel cannot boot
 * @x86ms: the machine, whose kernel is a multiboot kernel; its firmware is
 *         there
 */
void directboot_check_multiboot(X86MachineState *x86ms);

/**
 * directboot_setup() - boot in place from now on, if the firmware is for that
 * @x86ms: the machine; it has its ACPI tables and memory map
 *
 * Images are laid at each reset, in its phase "hold", after all devices have
 * gone through it; or when the confidential guest has it done.  If what is to
 * be booted cannot be, QEMU ends.
 */
void directboot_setup(X86MachineState *x86ms);

/**
 * directboot_load() - lay the images into guest memory, if it boots in place
 *
 * Context: devices have been reset, and memory can be written to.
 */
void directboot_load(void);

/**
 * directboot_find_next() - find the pieces that were laid into guest memory
 * @addr: guest-physical address to begin at
 * @start: where the first piece that ends after @addr starts
 * @end: where it ends
 *
 * Return: false if there is none.
 */
bool directboot_find_next(hwaddr addr, hwaddr *start, hwaddr *end);

#endif
