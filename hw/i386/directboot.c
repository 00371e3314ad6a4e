/*
 * Booting a kernel in place
 *
 * Firmware that fetches the kernel from QEMU, as SeaBIOS does, lets a device
 * write to guest memory.  That cannot be where memory is private.  So at each
 * reset, while QEMU can still write to it, QEMU lays the kernel, its parameters
 * and the ACPI tables where they belong, and a firmware of a few instructions
 * (pc-bios/directboot) jumps to the kernel.
 *
 * What x86_load_linux() has put into fw_cfg is taken from there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/acpi/in-place.h"
#include "hw/boards.h"
#include "hw/i386/directboot.h"
#include "hw/loader.h"
#include "hw/nvram/fw_cfg.h"
#include "standard-headers/asm-x86/bootparam.h"
#include "system/address-spaces.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "target/i386/confidential-guest.h"
#include "directboot-internal.h"
#include "trace.h"

#define LINUX64_ENTRY   0x200           /* from where the kernel was loaded */

typedef struct DirectBoot {
    X86MachineState *x86ms;
    FWCfgState *fw_cfg;
    GArray *pieces;
    bool ran;
} DirectBoot;

/* What one reset makes, and lays */
typedef struct Layout {
    DirectbootParams params;
    uint8_t info[DIRECTBOOT_INFO_SIZE];
    AcpiInPlace acpi;
} Layout;

/* A machine has one, if any. */
static DirectBoot *machine_boot;

static void layout_free(Layout *layout)
{
    acpi_in_place_free(&layout->acpi);
    g_free(layout);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Layout, layout_free)

static bool boots_direct(const MachineState *machine)
{
    Object *guest = object_dynamic_cast(OBJECT(machine->cgs),
                                        TYPE_X86_CONFIDENTIAL_GUEST);

    return guest && X86_CONFIDENTIAL_GUEST_GET_CLASS(guest)->direct_boot;
}

const char *directboot_firmware(MachineState *machine)
{
    if (!machine->kernel_filename || machine->firmware ||
        !boots_direct(machine)) {
        return NULL;
    }
    return DIRECTBOOT_FIRMWARE;
}

static bool is_directboot(const char *firmware)
{
    g_autofree char *name = g_path_get_basename(firmware);

    return g_str_equal(name, DIRECTBOOT_FIRMWARE);
}

void directboot_check_guest(MachineState *machine, const char *firmware)
{
    if (!machine->cgs || boots_direct(machine) || !is_directboot(firmware)) {
        return;
    }
    error_report("firmware '" DIRECTBOOT_FIRMWARE "' cannot start a guest of "
                 "type '%s'", object_get_typename(OBJECT(machine->cgs)));
    error_printf("Name firmware that is made for its encrypted memory with "
                 "-bios.\n");
    exit(1);
}

static bool is_used(X86MachineState *x86ms)
{
    MachineState *machine = MACHINE(x86ms);
    const char *firmware = directboot_firmware(machine) ?: machine->firmware;

    /* A firmware in flash memory is used instead. */
    return firmware && memory_region_size(&x86ms->bios) &&
           is_directboot(firmware);
}

static uint32_t item_number(DirectBoot *boot, uint16_t key)
{
    size_t size;
    const void *data = fw_cfg_peek(boot->fw_cfg, key, &size);

    return data && size == sizeof(uint32_t) ? ldl_le_p(data) : 0;
}

static DirectbootBlob item_blob(DirectBoot *boot, hwaddr addr, uint16_t key)
{
    DirectbootBlob blob = { .addr = addr };
    size_t size;

    blob.data = fw_cfg_peek(boot->fw_cfg, key, &size);
    blob.size = blob.data ? size : 0;
    return blob;
}

static void add_piece(DirectBoot *boot, const char *name, DirectbootBlob blob,
                      uint64_t room)
{
    DirectbootPiece piece = {
        .name = name, .blob = blob, .room = MAX(room, blob.size),
    };

    if (piece.room) {
        g_array_append_val(boot->pieces, piece);
    }
}

static void refuse_kernel(DirectBoot *boot, Error **errp)
{
    ERRP_GUARD();

    error_setg(errp, "kernel '%s' cannot be booted in place: it is neither a "
               "Linux kernel with a 64-bit entry point nor an ELF file with "
               "a note of one for PVH",
               MACHINE(boot->x86ms)->kernel_filename);
    error_append_hint(errp, "Take a bzImage for x86-64, or a vmlinux built "
                      "with CONFIG_PVH.\n");
}

static bool is_linux64(const DirectbootBlob *setup)
{
    const uint8_t *header = setup->data;

    return setup->size >= HDR_END && !memcmp(header + HDR_MAGIC, "HdrS", 4) &&
           lduw_le_p(header + HDR_VERSION) >= 0x20c &&
           lduw_le_p(header + HDR_XLOADFLAGS) & XLF_KERNEL_64;
}

static bool check_linux64(DirectBoot *boot, DirectbootKernel *kernel,
                          DirectbootBlob *image, Error **errp)
{
    ERRP_GUARD();
    const char *name = MACHINE(boot->x86ms)->kernel_filename;
    const uint8_t *header = kernel->setup.data;
    uint64_t whole = (uint64_t)ldl_le_p(header + HDR_SYSSIZE) *
                     HDR_SYSSIZE_UNIT;
    uint32_t longest = ldl_le_p(header + HDR_CMDLINE_SIZE);

    /* It is rounded up. */
    if (image->size + HDR_SYSSIZE_UNIT <= whole) {
        error_setg(errp, "kernel '%s' is not complete: %" PRIu64 " bytes are "
                   "missing", name, whole - image->size);
        error_append_hint(errp, "Copy it again.\n");
        return false;
    }
    if (kernel->cmdline.size > (uint64_t)longest + 1) {
        error_setg(errp, "kernel command line of %" PRIu64 " bytes is longer "
                   "than the %u that kernel '%s' takes",
                   kernel->cmdline.size - 1, longest, name);
        error_append_hint(errp, "Shorten -append.\n");
        return false;
    }
    return true;
}

/* It moves to where it prefers to be, and needs more room there. */
static bool add_linux64(DirectBoot *boot, DirectbootKernel *kernel,
                        Layout *layout, Error **errp)
{
    const uint8_t *header = kernel->setup.data;
    hwaddr addr = item_number(boot, FW_CFG_KERNEL_ADDR);
    DirectbootBlob image = item_blob(boot, addr, FW_CFG_KERNEL_DATA);
    uint64_t end = ldq_le_p(header + HDR_PREF_ADDRESS) +
                   ldl_le_p(header + HDR_INIT_SIZE);

    if (!check_linux64(boot, kernel, &image, errp)) {
        return false;
    }
    add_piece(boot, "kernel", image, end > image.addr ? end - image.addr : 0);
    layout->params.kind = cpu_to_le32(DIRECTBOOT_LINUX64);
    layout->params.entry = cpu_to_le64(image.addr + LINUX64_ENTRY);
    return true;
}

/* Segments of a kernel that is loaded already; others may lie between them. */
static void add_segments(DirectBoot *boot)
{
    hwaddr at = item_number(boot, FW_CFG_KERNEL_ADDR), start, end;
    hwaddr kernel_end = at + item_number(boot, FW_CFG_KERNEL_SIZE);

    while (rom_find_next(at, &start, &end) && start < kernel_end) {
        DirectbootPiece segment = {
            .name = "kernel", .is_image = true, .blob.addr = start,
            .room = end - start,
        };

        g_array_append_val(boot->pieces, segment);
        at = end;
    }
}

static bool add_pvh(DirectBoot *boot, Layout *layout, Error **errp)
{
    uint32_t entry = item_number(boot, FW_CFG_KERNEL_ENTRY);

    if (!entry || item_blob(boot, 0, FW_CFG_KERNEL_DATA).data) {
        refuse_kernel(boot, errp);
        return false;
    }
    add_segments(boot);
    layout->params.kind = cpu_to_le32(DIRECTBOOT_PVH);
    layout->params.entry = cpu_to_le64(entry);
    return true;
}

static bool add_acpi(DirectBoot *boot, DirectbootKernel *kernel,
                     Layout *layout, Error **errp)
{
    hwaddr end = kernel->initrd.size ? kernel->initrd.addr
                                     : boot->x86ms->below_4g_mem_size;
    DirectbootBlob tables;

    if (!acpi_in_place_build(&layout->acpi, boot->fw_cfg, end, errp)) {
        return false;
    }
    tables = (DirectbootBlob) { layout->acpi.addr, layout->acpi.data->data,
                                layout->acpi.data->len };
    add_piece(boot, "acpi", tables, QEMU_ALIGN_UP(tables.size, 4 * KiB));
    kernel->rsdp = layout->acpi.rsdp;
    tables.size = QEMU_ALIGN_UP(tables.size, 4 * KiB);
    kernel->memory_map = directboot_memory_map(boot->x86ms, &tables);
    if (kernel->memory_map->len > DIRECTBOOT_MAP_ENTRIES) {
        error_setg(errp, "memory map of %u ranges is too long for a kernel "
                   "that is booted in place", kernel->memory_map->len);
        return false;
    }
    return true;
}

static void add_params(DirectBoot *boot, DirectbootKernel *kernel,
                       Layout *layout)
{
    bool is_pvh = layout->params.kind == cpu_to_le32(DIRECTBOOT_PVH);

    if (is_pvh) {
        directboot_fill_start_info(layout->info, kernel);
    } else {
        directboot_fill_boot_params(layout->info, kernel);
    }
    layout->params.magic = cpu_to_le32(DIRECTBOOT_MAGIC);
    layout->params.argument = cpu_to_le64(DIRECTBOOT_INFO);
    add_piece(boot, is_pvh ? "start-info" : "boot-params",
              (DirectbootBlob) { DIRECTBOOT_INFO, layout->info,
                                 sizeof(layout->info) }, 0);
    add_piece(boot, "parameters",
              (DirectbootBlob) { DIRECTBOOT_PARAMS, &layout->params,
                                 sizeof(layout->params) }, 0);
    add_piece(boot, "page-tables",
              (DirectbootBlob) { DIRECTBOOT_PAGE_TABLES },
              DIRECTBOOT_PAGE_TABLES_SIZE);
    add_piece(boot, "stack", (DirectbootBlob) { DIRECTBOOT_STACK },
              DIRECTBOOT_STACK_SIZE);
}

static bool plan_layout(DirectBoot *boot, Layout *layout, Error **errp)
{
    hwaddr cmdline_addr = item_number(boot, FW_CFG_CMDLINE_ADDR) ?: 0x20000;
    DirectbootKernel kernel = {
        .setup = item_blob(boot, 0, FW_CFG_SETUP_DATA),
        .initrd = item_blob(boot, item_number(boot, FW_CFG_INITRD_ADDR),
                            FW_CFG_INITRD_DATA),
        .cmdline = item_blob(boot, cmdline_addr, FW_CFG_CMDLINE_DATA),
    };
    g_autoptr(GArray) map = NULL;
    bool ok;

    g_array_set_size(boot->pieces, 0);
    ok = is_linux64(&kernel.setup) ? add_linux64(boot, &kernel, layout, errp)
                                   : add_pvh(boot, layout, errp);
    if (!ok) {
        return false;
    }
    add_piece(boot, "initrd", kernel.initrd, 0);
    add_piece(boot, "cmdline", kernel.cmdline, 0);
    ok = add_acpi(boot, &kernel, layout, errp);
    map = kernel.memory_map;
    if (!ok) {
        return false;
    }
    add_params(boot, &kernel, layout);
    return true;
}

static void lay_blob(const DirectbootBlob *blob, const char *name)
{
    trace_directboot_lay(name, blob->addr, blob->size);
    address_space_write_rom(&address_space_memory, blob->addr,
                            MEMTXATTRS_UNSPECIFIED, blob->data, blob->size);
}

static bool plan_and_lay(DirectBoot *boot, Error **errp)
{
    g_autoptr(Layout) layout = g_new0(Layout, 1);
    uint64_t below_4g = boot->x86ms->below_4g_mem_size;

    if (!plan_layout(boot, layout, errp) ||
        !directboot_check_pieces(boot->pieces, below_4g, errp)) {
        return false;
    }
    for (int i = 0; i < boot->pieces->len; i++) {
        DirectbootPiece *piece =
            &g_array_index(boot->pieces, DirectbootPiece, i);

        if (piece->blob.size) {
            lay_blob(&piece->blob, piece->name);
        }
        piece->blob.data = NULL;
    }
    return true;
}

/* Without parameters, firmware stops the guest. */
void directboot_load(void)
{
    const DirectbootParams nothing = {};
    const DirectbootBlob none = { DIRECTBOOT_PARAMS, &nothing,
                                  sizeof(nothing) };
    DirectBoot *boot = machine_boot;
    bool first = boot && !boot->ran;
    Error *err = NULL;

    if (!boot) {
        return;
    }
    boot->ran = true;
    if (runstate_check(RUN_STATE_INMIGRATE)) {
        return;
    }
    directboot_set_up_chipset();
    if (plan_and_lay(boot, &err)) {
        return;
    }
    error_report_err(err);
    if (first) {
        exit(1);
    }
    lay_blob(&none, "no parameters");
}

static void directboot_reset(void *opaque)
{
    if (!machine_loads_images(current_machine)) {
        directboot_load();
    }
}

bool directboot_find_next(hwaddr addr, hwaddr *start, hwaddr *end)
{
    bool found = false;

    for (int i = 0; machine_boot && i < machine_boot->pieces->len; i++) {
        DirectbootBlob *each =
            &g_array_index(machine_boot->pieces, DirectbootPiece, i).blob;

        if (each->size && each->addr + each->size > addr &&
            (!found || each->addr < *start)) {
            *start = each->addr;
            *end = each->addr + each->size;
            found = true;
        }
    }
    return found;
}

static void refuse_machine(MachineState *machine)
{
    if (!machine->kernel_filename) {
        error_report("firmware '" DIRECTBOOT_FIRMWARE "' has nothing to boot: "
                     "property 'kernel' of the machine is not set");
        error_printf("Name a kernel with -kernel.\n");
        exit(1);
    }
    if (machine->dtb) {
        error_report("property 'dtb' of the machine doesn't take value '%s': a "
                     "kernel that is booted in place gets no device tree",
                     machine->dtb);
        exit(1);
    }
}

void directboot_check_multiboot(X86MachineState *x86ms)
{
    if (!is_used(x86ms)) {
        return;
    }
    error_report("kernel '%s' cannot be booted in place: it is a multiboot "
                 "kernel", MACHINE(x86ms)->kernel_filename);
    error_printf("Take a bzImage for x86-64, or an ELF file for PVH that has "
                 "no multiboot header.\n");
    exit(1);
}

void directboot_setup(X86MachineState *x86ms)
{
    DirectBoot *boot;

    if (!is_used(x86ms)) {
        return;
    }
    refuse_machine(MACHINE(x86ms));
    boot = g_new0(DirectBoot, 1);
    boot->x86ms = x86ms;
    boot->fw_cfg = x86ms->fw_cfg;
    boot->pieces = g_array_new(false, false, sizeof(DirectbootPiece));
    machine_boot = boot;
    qemu_register_reset_nosnapshotload(directboot_reset, NULL);
}
