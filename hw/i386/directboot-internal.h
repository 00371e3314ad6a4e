/*
 * Booting a kernel in place: what its files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_DIRECTBOOT_INTERNAL_H
#define HW_I386_DIRECTBOOT_INTERNAL_H

#include "exec/hwaddr.h"
#include "hw/i386/x86.h"

/**
 * struct DirectbootBlob - data that is laid into guest memory
 * @addr: guest-physical address
 * @data: not owned
 * @size: of @data; 0 if there is none
 */
typedef struct DirectbootBlob {
    hwaddr addr;
    const void *data;
    uint64_t size;
} DirectbootBlob;

/**
 * struct DirectbootPiece - something in guest memory
 * @name: in words
 * @blob: its address, and its data; size 0 if others write it: the firmware,
 *     or the loader of images
 * @room: how much memory it takes, in bytes
 * @is_image: whether the loader of images writes it
 */
typedef struct DirectbootPiece {
    const char *name;
    DirectbootBlob blob;
    uint64_t room;
    bool is_image;
} DirectbootPiece;

/**
 * struct DirectbootKernel - what a kernel is told of
 * @setup: a bzImage's setup sectors; no data for an ELF kernel
 * @initrd: size 0 if there is none
 * @cmdline: with its NUL
 * @rsdp: guest-physical address, or 0
 * @memory_map: of struct e820_entry
 */
typedef struct DirectbootKernel {
    DirectbootBlob setup;
    DirectbootBlob initrd;
    DirectbootBlob cmdline;
    hwaddr rsdp;
    GArray *memory_map;
} DirectbootKernel;

/* Page for the boot_params or the start info, and what it has room for */
#define DIRECTBOOT_INFO         0x10000
#define DIRECTBOOT_INFO_SIZE    0x1000
#define DIRECTBOOT_MAP_ENTRIES  120

/* Fields of the setup header of Linux: Documentation/arch/x86/boot.rst there */
enum {
    HDR_START = 0x1f1,
    HDR_SYSSIZE = 0x1f4,        /* in units of HDR_SYSSIZE_UNIT */
    HDR_LENGTH = 0x201,
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_TYPE_OF_LOADER = 0x210,
    HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_CMD_LINE_PTR = 0x228,
    HDR_XLOADFLAGS = 0x236,
    HDR_CMDLINE_SIZE = 0x238,
    HDR_PREF_ADDRESS = 0x258,
    HDR_INIT_SIZE = 0x260,
    HDR_END = 0x264,
};

#define HDR_SYSSIZE_UNIT        16

/**
 * directboot_fill_boot_params() - make the boot_params of a bzImage
 * @page: zeroed, of DIRECTBOOT_INFO_SIZE; lies at DIRECTBOOT_INFO in the end
 * @kernel: what is in them
 */
void directboot_fill_boot_params(uint8_t *page, const DirectbootKernel *kernel);

/**
 * directboot_fill_start_info() - the same for an ELF kernel: hvm_start_info
 */
void directboot_fill_start_info(uint8_t *page, const DirectbootKernel *kernel);

/**
 * directboot_check_pieces() - whether all has its place in memory
 * @pieces: array of struct DirectbootPiece, the kernel's first
 * @below_4g: how much RAM there is below 4 GiB, in bytes
 * @errp: set to what is not in RAM, or overlaps
 *
 * Return: false with @errp set, or true.
 */
bool directboot_check_pieces(const GArray *pieces, uint64_t below_4g,
                             Error **errp);

/**
 * directboot_set_up_chipset() - set registers as firmware does
 *
 * ACPI tables built from then on name the addresses that are set here.
 */
void directboot_set_up_chipset(void);

/**
 * directboot_memory_map() - what is where in guest-physical memory
 * @x86ms: the machine
 * @acpi: where its ACPI tables are
 *
 * Return: an array of struct e820_entry, in host byte order.
 */
GArray *directboot_memory_map(X86MachineState *x86ms,
                              const DirectbootBlob *acpi);

#endif
