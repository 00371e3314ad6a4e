/*
 * An ELF kernel that looks at what it was started with
 *
 * All that it is told must be there and sound: command line, module, memory
 * map, and each ACPI table that the RSDP leads to.  Then it resets the machine
 * and looks once more.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "port.h"

enum {
    SERIAL = 0x3f8, DEBUG_EXIT = 0xf4, RESET_CONTROL = 0xcf9, RESET_NOW = 6,
    /* as those of runtime/console.c */
    GOOD = 21, BAD = 22,
    MAP_RAM = 1, MAP_ACPI = 3,
    FADT_FLAGS = 112, HAS_RESET = 1 << 10, IN_MEMORY = 0,
};

#define MARK        0x300000

#define MAGIC       0x336ec578
#define CMDLINE     "look around"
#define MODULE      "a module"

typedef struct StartInfo {
    uint32_t magic, version, flags, modules;
    uint64_t module_list, cmdline, rsdp, map;
    uint32_t map_entries;
} StartInfo;

typedef struct Module {
    uint64_t addr, size;
} Module;

typedef struct MapEntry {
    uint64_t addr, size;
    uint32_t type, reserved;
} MapEntry;

typedef struct __attribute__((packed)) Rsdp {
    char signature[8];
    uint8_t checksum, oem_id[6], revision;
    uint32_t rsdt, length;
    uint64_t xsdt;
} Rsdp;

typedef struct __attribute__((packed)) Table {
    char signature[4];
    uint32_t length;
    uint8_t rest[28];
    uint8_t pointers[];
} Table;

/* The part of the FADT from its flags to the value that resets the machine */
typedef struct __attribute__((packed)) Reset {
    uint32_t flags;
    uint8_t space, width, offset, access;
    uint64_t addr;
    uint8_t value;
} Reset;

static const Reset *reset_register;

void pvh_main(const StartInfo *info) __attribute__((noreturn));

static void print(const char *text, size_t length)
{
    while (length--) {
        out8(SERIAL, *text++);
    }
}

static size_t length_of(const char *text)
{
    size_t length = 0;

    while (text[length]) {
        length++;
    }
    return length;
}

static void say(const char *text)
{
    print("guest: ", 7);
    print(text, length_of(text));
    print("\n", 1);
}

static void __attribute__((noreturn)) end(uint8_t value)
{
    out8(DEBUG_EXIT, value);
    for (;;) {
        asm volatile("hlt");
    }
}

static void expect(bool holds, const char *what)
{
    if (!holds) {
        say(what);
        end(BAD);
    }
}

static bool same(const char *a, const char *b, size_t length)
{
    while (length--) {
        if (*a++ != *b++) {
            return false;
        }
    }
    return true;
}

static const void *at(uint64_t addr)
{
    return (const void *)(uintptr_t)addr;
}

static bool sums_to_zero(const void *data, size_t length)
{
    const uint8_t *byte = data;
    uint8_t sum = 0;

    while (length--) {
        sum += *byte++;
    }
    return !sum;
}

/* The type of the memory at an address, 0 if the map doesn't have it */
static uint32_t type_of(const StartInfo *info, uint64_t addr)
{
    const MapEntry *entry = at(info->map);

    for (uint32_t i = 0; i < info->map_entries; i++) {
        if (addr >= entry[i].addr && addr - entry[i].addr < entry[i].size) {
            return entry[i].type;
        }
    }
    return 0;
}

static void check_table(const StartInfo *info, uint64_t addr)
{
    const Table *table = at(addr);

    expect(type_of(info, addr) == MAP_ACPI, "a table is not in ACPI memory");
    expect(same(table->signature, "FACS", 4) ||
           sums_to_zero(table, table->length), "a table has a bad checksum");
    if (same(table->signature, "FACP", 4)) {
        reset_register = at(addr + FADT_FLAGS);
    }
    print("guest: table ", 13);
    print(table->signature, 4);
    print("\n", 1);
}

static uint64_t pointer(const Table *table, size_t offset, size_t size)
{
    const uint32_t *low = at((uintptr_t)table->pointers + offset);

    return size == 8 ? low[0] | (uint64_t)low[1] << 32 : low[0];
}

static void check_tables(const StartInfo *info)
{
    const Rsdp *rsdp = at(info->rsdp);
    size_t size = rsdp->revision ? 8 : 4;
    uint64_t root = rsdp->revision ? rsdp->xsdt : rsdp->rsdt;
    const Table *table = at(root);

    expect(info->rsdp, "no RSDP");
    expect(same(rsdp->signature, "RSD PTR ", 8), "the RSDP is something else");
    expect(sums_to_zero(rsdp, 20), "the RSDP has a bad checksum");
    check_table(info, root);
    for (size_t at = 0; at + sizeof(*table) < table->length; at += size) {
        check_table(info, pointer(table, at, size));
    }
}

static void check_module(const StartInfo *info)
{
    const Module *module = at(info->module_list);

    expect(info->modules == 1, "there is not one module");
    expect(module->size == length_of(MODULE), "the module has another size");
    expect(same(at(module->addr), MODULE, module->size),
           "the module is another one");
    expect(type_of(info, module->addr) == MAP_RAM, "the module is not in RAM");
}

/* RAM that nobody writes to outlives a reset. */
static bool was_here(void)
{
    volatile uint32_t *mark = (volatile uint32_t *)MARK; /* see above */
    bool marked = *mark == MAGIC;

    *mark = MAGIC;
    return marked;
}

/* What it was started with must be laid anew, then. */
static void __attribute__((noreturn)) reset(const StartInfo *info)
{
    *(volatile char *)(uintptr_t)info->rsdp = 0; /* likewise */
    *(volatile char *)info = 0; /* likewise */
    if (reset_register->flags & HAS_RESET &&
        reset_register->space == IN_MEMORY) {
        *(volatile uint8_t *)(uintptr_t)reset_register->addr = /* likewise */
            reset_register->value;
    } else {
        out8(RESET_CONTROL, RESET_NOW);
    }
    for (;;) {
        asm volatile("hlt");
    }
}

void pvh_main(const StartInfo *info)
{
    expect(info->magic == MAGIC, "the start info is not where EBX points");
    expect(info->version == 1, "the start info has another version");
    expect(same(at(info->cmdline), CMDLINE, sizeof(CMDLINE)),
           "the command line is another one");
    check_module(info);
    check_tables(info);
    expect(type_of(info, 0x1000) == MAP_RAM, "there is no low RAM");
    expect(type_of(info, 0xa0000) == 0, "there is RAM for video memory");
    expect(type_of(info, (uintptr_t)pvh_main) == MAP_RAM, "I am not in RAM");
    say("all is there");
    if (was_here()) {
        end(GOOD);
    }
    reset(info);
}
