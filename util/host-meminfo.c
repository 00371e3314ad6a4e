/*
 * What the host says about its memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/host-meminfo.h"
#include "qemu/units.h"

/* "<number>@suffix", in kB, and nothing behind it. */
static bool parse_kb(const char *text, const char *suffix, uint64_t *bytes)
{
    const char *end;
    uint64_t kb;

    if (qemu_strtou64(text, &end, 10, &kb) || kb > UINT64_MAX / KiB ||
        strcmp(end, suffix)) {
        return false;
    }
    *bytes = kb * KiB;
    return true;
}

bool host_meminfo_parse(const char *text, const char *field, uint64_t *bytes)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autofree char *prefix = g_strdup_printf("%s:", field);
    const char *value;

    for (int i = 0; lines[i]; i++) {
        if (strstart(lines[i], prefix, &value)) {
            return parse_kb(value, " kB", bytes);
        }
    }
    return false;
}

bool host_meminfo(const char *field, uint64_t *bytes)
{
    g_autofree char *text = NULL;

    return g_file_get_contents(HOST_MEMINFO, &text, NULL, NULL) &&
           host_meminfo_parse(text, field, bytes);
}

/* The sum of some fields, whose names all start with @prefix. */
static bool sum_fields(const char *path, const char *prefix,
                       const char *const *fields, uint64_t *bytes)
{
    g_autofree char *text = NULL;
    uint64_t value, sum = 0;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return false;
    }
    for (int i = 0; fields[i]; i++) {
        g_autofree char *name = g_strdup_printf("%s%s", prefix, fields[i]);

        if (!host_meminfo_parse(text, name, &value)) {
            return false;
        }
        sum += value;
    }
    *bytes = sum;
    return true;
}

bool host_memory_available(uint64_t *bytes)
{
    static const char *const fields[] = { "MemAvailable", "SwapFree", NULL };

    return sum_fields(HOST_MEMINFO, "", fields, bytes);
}

/* The kernel has no MemAvailable for a node, so count what it is made of. */
bool host_node_memory_available(int node, uint64_t *bytes)
{
    static const char *const fields[] = {
        "MemFree", "Active(file)", "Inactive(file)", "SReclaimable", NULL
    };
    g_autofree char *path =
        g_strdup_printf("/sys/devices/system/node/node%d/meminfo", node);
    g_autofree char *prefix = g_strdup_printf("Node %d ", node);

    return sum_fields(path, prefix, fields, bytes);
}

/* A counter of a pool of huge pages, whose directory is in @dir. */
static bool read_pool(const char *dir, uint64_t page_size, const char *counter,
                      uint64_t *pages)
{
    g_autofree char *path = g_strdup_printf("%s/hugepages-%" PRIu64 "kB/%s",
                                            dir, page_size / KiB, counter);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) &&
           !qemu_strtou64(g_strchomp(text), NULL, 10, pages);
}

bool host_hugepages_free(const char *dir, uint64_t page_size, uint64_t *bytes)
{
    uint64_t free, reserved;

    if (!read_pool(dir, page_size, "free_hugepages", &free) ||
        !read_pool(dir, page_size, "resv_hugepages", &reserved)) {
        return false;
    }
    *bytes = free > reserved ? (free - reserved) * page_size : 0;
    return true;
}

bool host_node_hugepages_free(int node, uint64_t page_size, uint64_t *bytes)
{
    g_autofree char *dir =
        g_strdup_printf("/sys/devices/system/node/node%d/hugepages", node);
    uint64_t pages;

    if (!read_pool(dir, page_size, "free_hugepages", &pages)) {
        return false;
    }
    *bytes = pages * page_size;
    return true;
}

static int compare_sizes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

GArray *host_hugepage_sizes(const char *dir)
{
    GArray *sizes = g_array_new(false, false, sizeof(uint64_t));
    g_autoptr(GDir) entries = g_dir_open(dir, 0, NULL);
    const char *name, *value;
    uint64_t size;

    while (entries && (name = g_dir_read_name(entries))) {
        if (strstart(name, "hugepages-", &value) &&
            parse_kb(value, "kB", &size)) {
            g_array_append_val(sizes, size);
        }
    }
    g_array_sort(sizes, compare_sizes);
    return sizes;
}
