/*
 * ACPI tables, ready to be laid into guest memory
 *
 * QEMU gives firmware its tables as files and a script that says how to link
 * them (hw/acpi/bios-linker-loader.c).  Here QEMU runs the script itself, for
 * guests whose firmware cannot fetch files.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "hw/acpi/aml-build.h"
#include "hw/acpi/in-place.h"

enum {
    ALLOCATE = 1,
    ADD_POINTER,
    ADD_CHECKSUM,
    WRITE_POINTER,
};

/* A line of the script.  Numbers are little-endian. */
typedef struct QEMU_PACKED LoaderEntry {
    uint32_t command;
    union {
        struct QEMU_PACKED {
            char file[FW_CFG_MAX_FILE_PATH];
            uint32_t align;
            uint8_t zone;       /* any of the two will do, below 4 GiB */
        } allocate;
        struct QEMU_PACKED {
            char file[FW_CFG_MAX_FILE_PATH];
            char to[FW_CFG_MAX_FILE_PATH];
            uint32_t offset;
            uint8_t size;
        } pointer;
        struct QEMU_PACKED {
            char file[FW_CFG_MAX_FILE_PATH];
            uint32_t offset;
            uint32_t start;
            uint32_t length;
        } checksum;
        struct QEMU_PACKED {
            char file[FW_CFG_MAX_FILE_PATH];
            char to[FW_CFG_MAX_FILE_PATH];
            uint32_t offset;
            uint32_t to_offset;
            uint8_t size;
        } write;
        char pad[124];
    };
} LoaderEntry;

/* Where a file is in the tables' data */
typedef struct LoadedFile {
    const char *name;
    uint32_t offset;
    uint32_t size;
} LoadedFile;

typedef struct Loader {
    AcpiInPlace *acpi;
    FWCfgState *fw_cfg;
    GArray *files;
    uint32_t align;
} Loader;

/* Returns the selector key of a file, or 0. */
static uint16_t key_of(const FWCfgFiles *files, const char *name)
{
    uint32_t count = files ? be32_to_cpu(files->count) : 0;

    for (uint32_t i = 0; i < count; i++) {
        if (!strncmp(files->f[i].name, name, FW_CFG_MAX_FILE_PATH)) {
            return FW_CFG_FILE_FIRST + i;
        }
    }
    return 0;
}

static const void *content_of(FWCfgState *fw_cfg, const char *name,
                              size_t *size)
{
    uint16_t key = key_of(fw_cfg->files, name);

    return key ? fw_cfg_peek(fw_cfg, key, size) : NULL;
}

static const LoadedFile *find_file(Loader *loader, const char *name)
{
    for (int i = 0; i < loader->files->len; i++) {
        LoadedFile *file = &g_array_index(loader->files, LoadedFile, i);

        if (!strncmp(file->name, name, FW_CFG_MAX_FILE_PATH)) {
            return file;
        }
    }
    return NULL;
}

static uint8_t *bytes_of(Loader *loader, const LoadedFile *file,
                         uint64_t offset, uint64_t size)
{
    if (!file || offset + size > file->size) {
        return NULL;
    }
    return loader->acpi->data->data + file->offset + offset;
}

static uint64_t address_of(Loader *loader, const LoadedFile *file)
{
    return loader->acpi->addr + file->offset;
}

static bool allocate_file(Loader *loader, const LoaderEntry *entry)
{
    GByteArray *data = loader->acpi->data;
    uint32_t align = le32_to_cpu(entry->allocate.align);
    LoadedFile file = { .name = entry->allocate.file };
    guint end = data->len;
    const void *content;
    size_t size;

    content = content_of(loader->fw_cfg, file.name, &size);
    if (!content || !is_power_of_2(align)) {
        return false;
    }
    file.offset = QEMU_ALIGN_UP(end, align);
    file.size = size;
    g_byte_array_set_size(data, file.offset);
    memset(data->data + end, 0, file.offset - end);
    g_byte_array_append(data, content, size);
    g_array_append_val(loader->files, file);
    loader->align = MAX(loader->align, align);
    return true;
}

static bool add_pointer(Loader *loader, const LoaderEntry *entry)
{
    uint8_t size = entry->pointer.size;
    const LoadedFile *to = find_file(loader, entry->pointer.to);
    uint8_t *at = bytes_of(loader, find_file(loader, entry->pointer.file),
                           le32_to_cpu(entry->pointer.offset), size);

    if (!to || !at || !is_power_of_2(size) || size > 8) {
        return false;
    }
    stn_le_p(at, size, ldn_le_p(at, size) + address_of(loader, to));
    return true;
}

static bool add_checksum(Loader *loader, const LoaderEntry *entry)
{
    const LoadedFile *file = find_file(loader, entry->checksum.file);
    uint32_t length = le32_to_cpu(entry->checksum.length);
    uint8_t *at = bytes_of(loader, file,
                           le32_to_cpu(entry->checksum.offset), 1);
    uint8_t *start = bytes_of(loader, file,
                              le32_to_cpu(entry->checksum.start), length);
    uint8_t sum = 0;

    if (!at || !start) {
        return false;
    }
    for (uint32_t i = 0; i < length; i++) {
        sum += start[i];
    }
    *at -= sum;
    return true;
}

static bool write_pointer(Loader *loader, const LoaderEntry *entry)
{
    uint8_t size = entry->write.size, pointer[8] = {};
    const LoadedFile *to = find_file(loader, entry->write.to);
    uint16_t key = key_of(loader->fw_cfg->files, entry->write.file);

    if (!key || !to || !is_power_of_2(size) || size > sizeof(pointer)) {
        return false;
    }
    stn_le_p(pointer, size, address_of(loader, to) +
                            le32_to_cpu(entry->write.to_offset));
    return fw_cfg_poke(loader->fw_cfg, key, le32_to_cpu(entry->write.offset),
                       pointer, size);
}

static bool do_entry(Loader *loader, const LoaderEntry *entry, bool allocating)
{
    uint32_t command = le32_to_cpu(entry->command);

    if (allocating != (command == ALLOCATE)) {
        return true;
    }
    switch (command) {
    case ALLOCATE:
        return allocate_file(loader, entry);
    case ADD_POINTER:
        return add_pointer(loader, entry);
    case ADD_CHECKSUM:
        return add_checksum(loader, entry);
    case WRITE_POINTER:
        return write_pointer(loader, entry);
    default:
        /* as firmware does: the script is padded, and may know more */
        return true;
    }
}

static bool run_script(Loader *loader, const LoaderEntry *script, size_t size,
                       bool allocating, Error **errp)
{
    for (size_t i = 0; i < size / sizeof(*script); i++) {
        if (!do_entry(loader, &script[i], allocating)) {
            error_setg(errp, "ACPI tables cannot be linked: entry %zu of "
                       "'" ACPI_BUILD_LOADER_FILE "' is not valid", i);
            return false;
        }
    }
    return true;
}

bool acpi_in_place_build(AcpiInPlace *acpi, FWCfgState *fw_cfg, hwaddr end,
                         Error **errp)
{
    g_autoptr(GArray) files = g_array_new(false, false, sizeof(LoadedFile));
    Loader loader = { .acpi = acpi, .fw_cfg = fw_cfg, .files = files,
                      .align = 4096 };
    const LoadedFile *rsdp;
    const void *script;
    size_t size;

    acpi->data = g_byte_array_new();
    script = content_of(fw_cfg, ACPI_BUILD_LOADER_FILE, &size);
    if (!script) {
        return true;
    }
    if (!run_script(&loader, script, size, true, errp)) {
        return false;
    }
    if (acpi->data->len > end) {
        error_setg(errp, "ACPI tables of %u bytes do not fit below 0x%"
                   HWADDR_PRIx, acpi->data->len, end);
        return false;
    }
    acpi->addr = QEMU_ALIGN_DOWN(end - acpi->data->len, loader.align);
    if (!run_script(&loader, script, size, false, errp)) {
        return false;
    }
    rsdp = find_file(&loader, ACPI_BUILD_RSDP_FILE);
    acpi->rsdp = rsdp ? address_of(&loader, rsdp) : 0;
    return true;
}

void acpi_in_place_free(AcpiInPlace *acpi)
{
    g_clear_pointer(&acpi->data, g_byte_array_unref);
}
