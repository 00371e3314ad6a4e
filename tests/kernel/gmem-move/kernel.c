/*
 * Tests of moving memory because the kernel wants it elsewhere
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/mman.h>
#include "files.h"
#include "nodes.h"
#include "tap.h"
#include "tests.h"

/* 600 MiB, of which every so many pages are looked at */
enum { NPAGES = 4096, MANY = 153600, STRIDE = 64 };

/* Memory that is set aside for devices, and others have meanwhile */
#define CMA     "/sys/kernel/debug/cma/reserved/"

/* The number of the page that is mapped at an address. */
static uint64_t pfn_of(void *address)
{
    int fd = open("/proc/self/pagemap", O_RDONLY);
    uint64_t entry = 0;

    if (pread(fd, &entry, sizeof(entry), (uintptr_t)address / PAGE * 8) !=
        sizeof(entry)) {
        bail_out("/proc/self/pagemap");
    }
    close(fd);
    return entry & ((1ull << 55) - 1);
}

/*
 * More than half of the zone that moves are files of such pages; so what is
 * free at its end has room for those at its start.
 */
static void fill_half_a_zone(struct mem *mem, struct vm *vm)
{
    size_t i;

    vm_create(vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(mem, vm, MANY, FLAG_INIT_SHARED);
    nodes_bind(mem, 1);
    check(allocate(mem->fd, 0, MANY * PAGE) == 0);
    for (i = 0; i < MANY; i += STRIDE) {
        check(poke(page(mem, i), i) && poke(page(mem, i + 1), i + 1));
        check(to_private_retry(mem, i + 1, 1, NULL) == 0);
        check(punch(mem->fd, (i + STRIDE / 2) * PAGE, STRIDE / 2 * PAGE) == 0);
    }
}

void test_compaction(void)
{
    static uint64_t pfns[MANY];
    size_t i, moved = 0;
    struct mem mem;
    struct vm vm;

    fill_half_a_zone(&mem, &vm);
    for (i = 0; i < MANY; i += STRIDE) {
        pfns[i] = pfn_of(page(&mem, i));
    }
    check(write_string("/proc/sys/vm/compact_memory", "1"));
    for (i = 0; i < MANY; i += STRIDE) {
        check(peek(page(&mem, i)) == i && guest_peek(&mem, i) == i &&
              guest_peek(&mem, i + 1) == i + 1, "page %zu", i);
        moved += pfn_of(page(&mem, i)) != pfns[i];
    }
    printf("# %zu of %d pages that were looked at have moved\n", moved,
           MANY / STRIDE);
    check(moved > 0);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* The block of memory that a page is in which is mapped. */
static unsigned long block_of(void *address)
{
    unsigned long size;
    FILE *file = fopen("/sys/devices/system/memory/block_size_bytes", "r");

    if (!file || fscanf(file, "%lx", &size) != 1) {
        bail_out("the size of a block of memory");
    }
    fclose(file);
    return pfn_of(address) * PAGE / size;
}

/*
 * The kernel took some of the memory that can be unplugged when it booted, from
 * the start of it: leave that to somebody else.
 */
static void create_behind(struct mem *mem, struct vm *vm)
{
    struct mem first;

    mem_create_unbound(&first, vm, 16 * NPAGES, FLAG_INIT_SHARED);
    nodes_bind(&first, 1);
    check(allocate(first.fd, 0, first.npages * PAGE) == 0);
    mem_create(mem, vm, NPAGES, FLAG_INIT_SHARED);
    nodes_bind(mem, 1);
    nodes_fill(mem);
    munmap(first.map, first.npages * PAGE);
    close(first.fd);
}

/* Memory that is to be unplugged is given up. */
void test_offline(void)
{
    unsigned long block;
    struct mem mem;
    struct vm vm;
    char path[80];

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    create_behind(&mem, &vm);
    block = block_of(page(&mem, 0));
    snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%lu/state",
             block);
    check(write_string(path, "offline"), "%s", path);
    check(peek(page(&mem, 0)) == 0 && block_of(page(&mem, 0)) != block);
    nodes_check_contents(&mem);
    check(write_string(path, "online_movable"));
    mem_destroy(&mem);
    vm_destroy(&vm);
}

static long cma_pages(const char *which)
{
    return read_number("/proc/meminfo", which) * 1024 / PAGE;
}

/*
 * The kernel takes what is set aside when little else is left of the node.
 * Creates files until they have half of it; returns how many.
 */
static size_t fill_cma(struct mem *mems, size_t max, struct vm *vm)
{
    const long half = cma_pages("CmaTotal:") / 2;
    size_t nr, i;

    for (nr = 0; nr < max && cma_pages("CmaFree:") > half; nr++) {
        mem_create_unbound(&mems[nr], vm, NPAGES, FLAG_INIT_SHARED);
        nodes_bind(&mems[nr], 1);
        check(allocate(mems[nr].fd, 0, NPAGES * PAGE) == 0);
        for (i = 0; i < NPAGES; i += STRIDE) {
            check(poke(page(&mems[nr], i), nr + i));
        }
        check(to_private_retry(&mems[nr], STRIDE, NPAGES - STRIDE, NULL) == 0);
    }
    check(cma_pages("CmaFree:") <= half, "%ld", cma_pages("CmaFree:"));
    return nr;
}

/* A device gets what was set aside for it, most of which has to move. */
void test_cma(void)
{
    const long wanted = cma_pages("CmaTotal:") * 3 / 4;
    static struct mem mems[128];
    char count[24];
    size_t nr, i, n;
    struct vm vm;
    long moved;

    check(wanted > 0);
    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    nr = fill_cma(mems, 128, &vm);
    moved = -read_number("/proc/vmstat", "pgmigrate_success ");
    snprintf(count, sizeof(count), "%ld", wanted);
    check(write_string(CMA "alloc", count));
    moved += read_number("/proc/vmstat", "pgmigrate_success ");
    printf("# %ld pages have moved for %ld\n", moved, wanted);
    check(moved >= wanted / 4);
    check(write_string(CMA "free", count));
    for (i = 0; i < nr; i++) {
        check(to_shared(&mems[i], 0, NPAGES) == 0);
        for (n = 0; n < NPAGES; n += STRIDE) {
            check(peek(page(&mems[i], n)) == (long)(i + n), "%zu, %zu", i, n);
        }
        munmap(mems[i].map, NPAGES * PAGE);
        close(mems[i].fd);
    }
    vm_destroy(&vm);
}
