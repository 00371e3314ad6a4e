/*
 * Flash of a PC as ROM, for guests whose memory is private
 *
 * A flash device is memory without a guest_memfd, and a device while it is
 * written.  Such a guest gets what is in it as ROM, which is loaded, and made
 * private, like other firmware.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/block.h"
#include "hw/boards.h"
#include "hw/i386/flash-rom.h"
#include "hw/loader.h"
#include "system/block-backend.h"
#include "system/blockdev.h"
#include "target/i386/confidential-guest.h"

bool flash_is_rom(const MachineState *machine)
{
    Object *guest = object_dynamic_cast(OBJECT(machine->cgs),
                                        TYPE_X86_CONFIDENTIAL_GUEST);

    return guest && X86_CONFIDENTIAL_GUEST_GET_CLASS(guest)->flash_is_rom;
}

/* No device has it, which is an error for a drive of its type. */
static void let_go(BlockBackend *blk)
{
    DriveInfo *drive = blk_legacy_dinfo(blk);

    if (drive) {
        drive->type = IF_NONE;
    }
}

bool flash_rom_init(BlockBackend *blk, MemoryRegion *parent, hwaddr gpa,
                    uint64_t size, Error **errp)
{
    ERRP_GUARD();
    MemoryRegion *rom = g_new0(MemoryRegion, 1);
    g_autofree char *name = g_strdup_printf("flash@0x%" HWADDR_PRIx, gpa);
    g_autofree char *data = g_malloc(size);
    const char *drive = bdrv_get_device_or_node_name(blk_bs(blk));
    int ret;

    if (blk_supports_write_perm(blk)) {
        error_setg(errp, "flash '%s' is writable, but the machine's "
                   "confidential guest has flash as ROM", drive);
        error_append_hint(errp, "Add readonly=on to its -drive, or "
                          "read-only=on to its -blockdev.\n");
        return false;
    }
    ret = blk_pread(blk, 0, size, data, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot read flash '%s'", drive);
        return false;
    }
    if (!memory_region_init_ram_guest_memfd(rom, NULL, name, size, errp)) {
        return false;
    }
    let_go(blk);
    memory_region_set_readonly(rom, true);
    memory_region_add_subregion(parent, gpa, rom);
    rom_add_blob_fixed(name, data, size, gpa);
    return true;
}
