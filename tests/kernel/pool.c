/*
 * HugeTLB pools: their counters and size
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include "files.h"
#include "pool.h"
#include "tap.h"

#define MAP_HUGE_SHIFT 26

static unsigned int pool_order;
static char pool_dir[80];

static const char *const total_files[POOL_TOTALS] = {
    [POOL_NR] = "nr_hugepages",
    [POOL_FREE] = "free_hugepages",
    [POOL_SURPLUS] = "surplus_hugepages",
    [POOL_RESV] = "resv_hugepages",
};

/* The first four are of the default size, which need not be this pool's. */
static const char *const meminfo_words[POOL_MEMINFO] = {
    "HugePages_Total:", "HugePages_Free:", "HugePages_Rsvd:",
    "HugePages_Surp:", "Hugetlb:",
};

static void pool_path(char path[160], int node, const char *file)
{
    char dir[40] = "/sys/kernel/mm";

    if (node >= 0) {
        snprintf(dir, sizeof(dir), "/sys/devices/system/node/node%d", node);
    }
    snprintf(path, 160, "%s/hugepages/%s/%s", dir, pool_dir, file);
}

bool pool_init(unsigned int order)
{
    char path[160];

    pool_order = order;
    snprintf(pool_dir, sizeof(pool_dir), "hugepages-%lukB", 4ul << order);
    pool_path(path, -1, "nr_hugepages");
    return !access(path, R_OK);
}

int pool_nodes(void)
{
    char path[160];
    int node;

    for (node = 0; node < POOL_NODES; node++) {
        pool_path(path, node, "nr_hugepages");
        if (access(path, R_OK)) {
            break;
        }
    }
    return node;
}

void pool_read(struct pool *p)
{
    char path[160];
    int i, node;

    for (i = 0; i < POOL_TOTALS; i++) {
        pool_path(path, -1, total_files[i]);
        p->total[i] = read_number(path, "");
    }
    for (node = 0; node < POOL_NODES; node++) {
        for (i = 0; i < POOL_PER_NODE; i++) {
            pool_path(path, node, total_files[i]);
            p->node[node][i] = read_number(path, "");
        }
    }
    for (i = 0; i < POOL_MEMINFO; i++) {
        p->meminfo[i] = read_number("/proc/meminfo", meminfo_words[i]);
    }
}

static bool pool_equal(const struct pool *a, const struct pool *b)
{
    return !memcmp(a, b, sizeof(*a));
}

static void pool_print(const char *title, const struct pool *p)
{
    int i, node;

    printf("# %s:", title);
    for (i = 0; i < POOL_TOTALS; i++) {
        printf(" %s %ld", total_files[i], p->total[i]);
    }
    for (node = 0; node < pool_nodes(); node++) {
        printf("; node %d:", node);
        for (i = 0; i < POOL_PER_NODE; i++) {
            printf(" %ld", p->node[node][i]);
        }
    }
    printf("; meminfo:");
    for (i = 0; i < POOL_MEMINFO; i++) {
        printf(" %ld", p->meminfo[i]);
    }
    printf("\n");
}

static void print_both(const struct pool *wanted, const struct pool *got)
{
    pool_print("wanted", wanted);
    pool_print("got", got);
}

bool pool_is(const struct pool *wanted)
{
    struct pool now;

    pool_read(&now);
    if (!pool_equal(&now, wanted)) {
        print_both(wanted, &now);
        return false;
    }
    return true;
}

bool pool_await(const struct pool *wanted)
{
    struct pool now;
    int i;

    for (i = 0; i < 1000; i++) {
        pool_read(&now);
        if (pool_equal(&now, wanted)) {
            return true;
        }
        usleep(10000);
    }
    print_both(wanted, &now);
    return false;
}

bool pool_grew(const struct pool *before, long nr, long free, long resv)
{
    struct pool wanted = *before, now;

    wanted.total[POOL_NR] += nr;
    wanted.total[POOL_FREE] += free;
    wanted.total[POOL_RESV] += resv;
    pool_read(&now);
    if (memcmp(now.total, wanted.total, sizeof(now.total))) {
        print_both(&wanted, &now);
        return false;
    }
    return true;
}

static void pool_write(const char *file, long nr)
{
    char path[160], number[24];

    pool_path(path, -1, file);
    snprintf(number, sizeof(number), "%ld", nr);
    if (!write_string(path, number)) {
        bail_out("%s", path);
    }
}

void pool_resize(long nr)
{
    pool_write("nr_hugepages", nr);
}

void pool_overcommit(long nr)
{
    pool_write("nr_overcommit_hugepages", nr);
}

void pool_dirty(void)
{
    struct pool p;
    size_t size, i;
    char *map;

    pool_read(&p);
    size = (p.total[POOL_FREE] - p.total[POOL_RESV]) * (4096ul << pool_order);
    map = mmap(NULL, size, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
               ((pool_order + 12) << MAP_HUGE_SHIFT), -1, 0);
    if (map == MAP_FAILED) {
        bail_out("mapping all free huge pages");
    }
    for (i = 0; i < size; i += 4096) {
        *(uint32_t *)(map + i) = 0xa5a5a5a5;
    }
    munmap(map, size);
}
