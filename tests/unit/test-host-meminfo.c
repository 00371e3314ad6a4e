/*
 * Unit tests: what the host says about its memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/host-meminfo.h"
#include "qemu/units.h"

static void test_parse(void)
{
    const char *text = "MemTotal:       24576 kB\n"
                       "MemFree:            0 kB\n"
                       "SwapFree:           7 kB\n"
                       "HugePages_Free:     3\n"
                       "Hugepagesize:    2048 kB";
    uint64_t bytes = 1;

    g_assert_true(host_meminfo_parse(text, "MemTotal", &bytes));
    g_assert_cmpuint(bytes, ==, 24 * MiB);
    g_assert_true(host_meminfo_parse(text, "MemFree", &bytes));
    g_assert_cmpuint(bytes, ==, 0);
    g_assert_true(host_meminfo_parse(text, "Hugepagesize", &bytes));
    g_assert_cmpuint(bytes, ==, 2 * MiB);
}

static void test_parse_refused(void)
{
    const char *text = "MemFree: many kB\n"
                       "HugePages_Free: 3\n"
                       "SwapFree: 18446744073709551615 kB\n"
                       "Dirty: 4 kB more\n"
                       " Mapped: 4 kB\n";
    const char *fields[] = { "Mem", "MemFree", "HugePages_Free", "SwapFree",
                             "Dirty", "Mapped", "Free", "" };
    uint64_t bytes = 42;

    for (int i = 0; i < G_N_ELEMENTS(fields); i++) {
        g_assert_false(host_meminfo_parse(text, fields[i], &bytes));
    }
    g_assert_false(host_meminfo_parse("", "MemFree", &bytes));
    g_assert_cmpuint(bytes, ==, 42);
}

static void test_host(void)
{
    uint64_t total, available, swap, both;

    if (!g_file_test(HOST_MEMINFO, G_FILE_TEST_EXISTS)) {
        g_test_skip("the host has no " HOST_MEMINFO);
        return;
    }
    g_assert_true(host_meminfo("MemTotal", &total));
    g_assert_true(host_meminfo("MemAvailable", &available));
    g_assert_cmpuint(available, <=, total);
    g_assert_cmpuint(available, >, 1 * MiB);

    g_assert_true(host_meminfo("SwapFree", &swap));
    g_assert_true(host_memory_available(&both));
    g_assert_cmpuint(both, <=, total + swap);
    g_assert_cmpuint(both, >, 1 * MiB);
}

static void test_node(void)
{
    uint64_t total, available = 42;

    g_assert_false(host_node_memory_available(INT_MAX, &available));
    g_assert_cmpuint(available, ==, 42);

    if (!g_file_test("/sys/devices/system/node/node0", G_FILE_TEST_IS_DIR)) {
        g_test_skip("the host has no NUMA node 0");
        return;
    }
    g_assert_true(host_meminfo("MemTotal", &total));
    g_assert_true(host_node_memory_available(0, &available));
    g_assert_cmpuint(available, <=, total);
    g_assert_cmpuint(available, >, 1 * MiB);
}

static void test_node_hugepages(void)
{
    uint64_t total, available = 42;

    g_assert_false(host_node_hugepages_free(INT_MAX, 2 * MiB, &available));
    g_assert_false(host_node_hugepages_free(0, 3 * MiB, &available));
    g_assert_cmpuint(available, ==, 42);

    if (!g_file_test("/sys/devices/system/node/node0/hugepages/"
                     "hugepages-2048kB", G_FILE_TEST_IS_DIR)) {
        g_test_skip("the host has no NUMA node 0 with huge pages of 2 MiB");
        return;
    }
    g_assert_true(host_meminfo("MemTotal", &total));
    g_assert_true(host_node_hugepages_free(0, 2 * MiB, &available));
    g_assert_cmpuint(available, <=, total);
    g_assert_true(QEMU_IS_ALIGNED(available, 2 * MiB));
}

/* Sets a counter of a pool; NULL removes it. */
static void set_counter(const char *pool, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(pool, name, NULL);

    if (text) {
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
    } else {
        g_assert_cmpint(g_unlink(path), ==, 0);
    }
}

/* What others have reserved cannot be had. */
static void test_hugepages_free(void)
{
    g_autofree char *dir = g_dir_make_tmp(NULL, NULL);
    g_autofree char *pool = g_build_filename(dir, "hugepages-2048kB", NULL);
    uint64_t bytes = 42;

    g_assert_cmpint(g_mkdir(pool, 0700), ==, 0);
    g_assert_false(host_hugepages_free(dir, 2 * MiB, &bytes));
    set_counter(pool, "free_hugepages", "5\n");
    g_assert_false(host_hugepages_free(dir, 2 * MiB, &bytes));
    g_assert_cmpuint(bytes, ==, 42);

    set_counter(pool, "resv_hugepages", "2\n");
    g_assert_true(host_hugepages_free(dir, 2 * MiB, &bytes));
    g_assert_cmpuint(bytes, ==, 6 * MiB);
    g_assert_false(host_hugepages_free(dir, 1 * GiB, &bytes));
    set_counter(pool, "resv_hugepages", "6\n");
    g_assert_true(host_hugepages_free(dir, 2 * MiB, &bytes));
    g_assert_cmpuint(bytes, ==, 0);

    set_counter(pool, "free_hugepages", NULL);
    set_counter(pool, "resv_hugepages", NULL);
    g_rmdir(pool);
    g_rmdir(dir);
}

static void check_hugepage_sizes(const char *const *names, int len,
                                 const uint64_t *want, int want_len)
{
    g_autofree char *dir = g_dir_make_tmp(NULL, NULL);
    g_autoptr(GArray) sizes = NULL;

    for (int i = 0; i < len; i++) {
        g_autofree char *path = g_build_filename(dir, names[i], NULL);

        g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
    }

    sizes = host_hugepage_sizes(dir);
    g_assert_cmpuint(sizes->len, ==, want_len);
    for (int i = 0; i < want_len; i++) {
        g_assert_cmpuint(g_array_index(sizes, uint64_t, i), ==, want[i]);
    }

    for (int i = 0; i < len; i++) {
        g_autofree char *path = g_build_filename(dir, names[i], NULL);

        g_rmdir(path);
    }
    g_rmdir(dir);
}

static void test_hugepage_sizes(void)
{
    const char *names[] = { "hugepages-1048576kB", "hugepages-64kB",
                            "hugepages-2048kB" };
    const char *strange[] = { "hugepages-kB", "hugepages-2048", "2048kB",
                              "hugepages-2048kB.old" };
    const uint64_t sizes[] = { 64 * KiB, 2 * MiB, 1 * GiB };

    check_hugepage_sizes(names, 3, sizes, 3);
    check_hugepage_sizes(strange, 4, NULL, 0);
    check_hugepage_sizes(NULL, 0, NULL, 0);
}

static void test_hugepage_sizes_missing(void)
{
    g_autoptr(GArray) sizes = host_hugepage_sizes("/nonexistent/hugepages");

    g_assert_cmpuint(sizes->len, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/host-meminfo/parse", test_parse);
    g_test_add_func("/host-meminfo/parse-refused", test_parse_refused);
    g_test_add_func("/host-meminfo/host", test_host);
    g_test_add_func("/host-meminfo/node", test_node);
    g_test_add_func("/host-meminfo/node/hugepages", test_node_hugepages);
    g_test_add_func("/host-meminfo/hugepages-free", test_hugepages_free);
    g_test_add_func("/host-meminfo/hugepage-sizes", test_hugepage_sizes);
    g_test_add_func("/host-meminfo/hugepage-sizes-missing",
                    test_hugepage_sizes_missing);
    return g_test_run();
}
