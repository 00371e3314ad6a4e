/*
 * Count what the kernel's guest_memfd takes: conversions, faults, closing
 *
 * usage: kernel-costs ROUNDS RESULT
 *
 * To be run under the plugin count-instructions, with conversion in place and
 * a page of 1 GiB in the pool.  RESULT gets a line of JSON for each sample;
 * what is measured has the same name on kernels that are to be compared.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include "files.h"
#include "instructions.h"
#include "memory.h"
#include "pool.h"
#include "tap.h"

#define ORDER_2M        9
#define ORDER_1G        18
#define PAGES_2M        (1ul << ORDER_2M)
#define PAGES_1G        (1ul << ORDER_1G)
/* What a conversion works off at a time. */
#define STEP            (32 * PAGES_2M)
/* In the middle of a huge page, and of a page of page structures. */
#define AMID            (PAGES_2M / 2 + 9)
#define REPEATED        32

static FILE *result;

static void sample(const char *what, uint64_t value)
{
    fprintf(result, "{\"what\": \"%s\", \"value\": %llu}\n", what,
            (unsigned long long)value);
}

/* The instructions of a statement, by the number of what it was done to. */
#define COUNT(what, number, statement) do {                             \
    uint64_t begin_ = instructions_run();                               \
                                                                        \
    statement;                                                          \
    sample(what, (instructions_run() - begin_) / (number));             \
} while (0)

static void guest_fill(struct mem *mem, size_t first, size_t npages)
{
    if (vcpu_run(mem->vm, 0, GUEST(fill), 1, DATA_GPA + first * PAGE, npages,
                 0)) {
        bail_out("running the guest");
    }
}

static void host_fill(struct mem *mem, size_t first, size_t npages)
{
    for (size_t i = first; i < first + npages; i++) {
        if (!poke(page(mem, i), 2)) {
            bail_out("writing to shared memory");
        }
    }
}

static char *aligned(char *address, size_t align)
{
    return (char *)(((uintptr_t)address + align - 1) & -align);
}

static void must(int r)
{
    if (r) {
        bail_out("converting memory: %d", r);
    }
}

static void create(struct mem *mem, struct vm *vm, size_t npages, int order)
{
    vm_create(vm, VM_TYPE_SW_PROTECTED, 1);
    if (order) {
        mem_create_huge(mem, vm, npages, 0, order);
    } else {
        mem_create(mem, vm, npages, 0);
    }
}

static void destroy(struct mem *mem)
{
    mem_destroy(mem);
    vm_destroy(mem->vm);
}

/* Share a page that the guest uses, use it, and take it back. */
static void share_and_back(struct mem *mem, size_t n, const char *of,
                           const char *when)
{
    char what[80];

    snprintf(what, sizeof(what), "4 KiB of %s, %s, to shared", of, when);
    COUNT(what, 1, must(to_shared(mem, n, 1)));
    host_fill(mem, n, 1);
    snprintf(what, sizeof(what), "4 KiB of %s, %s, to private", of, when);
    COUNT(what, 1, must(to_private_retry(mem, n, 1, NULL)));
    guest_fill(mem, n, 1);
}

/* The first time in each huge page, and again and again in one of them. */
static void convert_single_pages(size_t npages, int order, const char *of)
{
    size_t hpages = 1ul << (order ?: ORDER_2M), i;
    struct mem mem;
    struct vm vm;

    create(&mem, &vm, npages, order);
    guest_fill(&mem, 0, order == ORDER_1G ? 1 : npages);
    for (i = 0; i < npages; i += hpages) {
        share_and_back(&mem, i + AMID, of, "first");
    }
    for (i = 0; i < REPEATED; i++) {
        share_and_back(&mem, AMID, of, "again");
    }
    destroy(&mem);
}

/*
 * No lock is held for longer than a step takes.  Alternate pages are what takes
 * longest to bring together again.
 */
static void convert_steps(int order, const char *of)
{
    char what[80];
    struct mem mem;
    struct vm vm;
    size_t i;

    create(&mem, &vm, order == ORDER_1G ? PAGES_1G : STEP, order);
    guest_fill(&mem, 0, STEP);
    snprintf(what, sizeof(what), "64 MiB of %s, to shared", of);
    COUNT(what, 1, must(to_shared(&mem, 0, STEP)));
    host_fill(&mem, 0, STEP);
    snprintf(what, sizeof(what), "64 MiB of %s, to private", of);
    COUNT(what, 1, must(to_private_retry(&mem, 0, STEP, NULL)));
    guest_fill(&mem, 0, STEP);
    for (i = 0; i < STEP; i += 2) {
        must(to_shared(&mem, i, 1));
        host_fill(&mem, i, 1);
    }
    snprintf(what, sizeof(what), "64 MiB of %s, alternate, to private", of);
    COUNT(what, 1, must(to_private_retry(&mem, 0, STEP, NULL)));
    destroy(&mem);
}

/* What the structures of pages take, if the optimization is on. */
static void count_page_structures(void)
{
    static const char stat[] = "/proc/vmstat", used[] = "nr_memmap_pages ";
    long before = read_number(stat, used);
    struct mem mem;
    struct vm vm;

    create(&mem, &vm, STEP, ORDER_2M);
    guest_fill(&mem, 0, STEP);
    sample("page structures of 64 MiB, whole, in pages",
           read_number(stat, used) - before);
    must(to_shared(&mem, AMID, 1));
    host_fill(&mem, AMID, 1);
    sample("page structures of 64 MiB, one page shared, in pages",
           read_number(stat, used) - before);
    destroy(&mem);
}

static void touch_each(struct mem *mem, size_t step)
{
    for (size_t i = 0; i < mem->npages; i += step) {
        guest_fill(mem, i, 1);
    }
}

/* Faults of a guest on memory that is there, but not mapped any more. */
static void fault_of_guest(struct mem *mem, size_t step, const char *what)
{
    guest_fill(mem, 0, mem->npages);
    if (set_region(mem->vm, 1, DATA_GPA, 0, mem->map, mem->fd, 0) ||
        set_region(mem->vm, 1, DATA_GPA, mem->npages * PAGE, mem->map,
                   mem->fd, 0)) {
        bail_out("replacing a memslot");
    }
    COUNT(what, mem->npages / step, touch_each(mem, step));
    destroy(mem);
}

static void fault_anonymous(size_t step, int advice, const char *what)
{
    size_t size = STEP * PAGE, align = PAGES_2M * PAGE;
    char *area = mmap(NULL, size + align, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct vm vm;
    struct mem mem = {
        .vm = &vm, .npages = STEP, .fd = -1,
        .map = aligned(area, align),
    };

    vm_create(&vm, VM_TYPE_DEFAULT, 1);
    if (area == MAP_FAILED || madvise(mem.map, size, advice) ||
        set_region(&vm, 1, DATA_GPA, size, mem.map, -1, 0)) {
        bail_out("anonymous memory");
    }
    fault_of_guest(&mem, step, what);
    munmap(area, size + align);
}

static void fault_in_guest(void)
{
    struct mem mem;
    struct vm vm;

    create(&mem, &vm, STEP, 0);
    fault_of_guest(&mem, 1, "guest fault, 4 KiB");
    fault_anonymous(1, MADV_NOHUGEPAGE, "guest fault, 4 KiB, anonymous");
    create(&mem, &vm, STEP, ORDER_2M);
    fault_of_guest(&mem, PAGES_2M, "guest fault, 2 MiB");
    fault_anonymous(PAGES_2M, MADV_HUGEPAGE, "guest fault, 2 MiB, anonymous");
}

static long page_faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

/* Faults of the host, where it can map huge pages at their addresses. */
static void fault_in_host(size_t npages, int order, const char *what)
{
    size_t size = npages * PAGE, align = PAGE << order, i;
    char *area, *map;
    struct vm vm;
    long before;
    int fd;

    vm_create(&vm, VM_TYPE_DEFAULT, 0);
    fd = gmem_create_huge(&vm, size, FLAG_MMAP | FLAG_INIT_SHARED, order);
    area = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0);
    map = aligned(area, align);
    if (fd < 0 || area == MAP_FAILED ||
        mmap(map, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
             0) == MAP_FAILED) {
        bail_out("mapping huge pages");
    }
    before = page_faults();
    for (i = 0; i < size; i += PAGE) {
        poke(map + i, 3);
    }
    sample(what, page_faults() - before);
    munmap(area, size + align);
    close(fd);
    vm_destroy(&vm);
}

/* Closing a file of which no page was ever split, as HugeTLB's own. */
static void close_files(void)
{
    struct mem mem;
    struct vm vm;
    char *map;
    int fd;

    create(&mem, &vm, STEP, ORDER_2M);
    guest_fill(&mem, 0, STEP);
    set_region(&vm, 1, DATA_GPA, 0, mem.map, mem.fd, 0);
    munmap(mem.map, STEP * PAGE);
    COUNT("close, each 2 MiB", STEP / PAGES_2M, close(mem.fd));
    vm_destroy(&vm);

    fd = memfd_create("huge", MFD_HUGETLB | MAP_HUGE_2MB);
    if (fd < 0 || ftruncate(fd, STEP * PAGE)) {
        bail_out("a file of HugeTLB's");
    }
    map = mmap(NULL, STEP * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        bail_out("mapping a file of HugeTLB's");
    }
    for (size_t i = 0; i < STEP; i += PAGES_2M) {
        map[i * PAGE] = 1;
    }
    munmap(map, STEP * PAGE);
    COUNT("close, each 2 MiB, hugetlbfs", STEP / PAGES_2M, close(fd));
}

static void measure(void)
{
    convert_single_pages(STEP, 0, "4 KiB pages");
    convert_single_pages(STEP, ORDER_2M, "a 2 MiB page");
    convert_single_pages(PAGES_1G, ORDER_1G, "a 1 GiB page");
    convert_steps(0, "4 KiB pages");
    convert_steps(ORDER_2M, "2 MiB pages");
    convert_steps(ORDER_1G, "a 1 GiB page");
    count_page_structures();
    fault_in_guest();
    fault_in_host(STEP, ORDER_2M, "host faults of 64 MiB, 2 MiB pages");
    fault_in_host(PAGES_1G, ORDER_1G, "host faults of 1 GiB, 1 GiB page");
    close_files();
}

int main(int argc, char **argv)
{
    const char *reason = kvm_open();

    if (argc != 3) {
        bail_out("usage: kernel-costs ROUNDS RESULT");
    }
    if (reason) {
        bail_out("%s", reason);
    }
    signals_init();
    result = fopen(argv[2], "w");
    if (!result) {
        bail_out("%s", argv[2]);
    }
    if (!pool_init(ORDER_2M)) {
        bail_out("no huge pages of 2 MiB");
    }
    pool_resize(STEP / PAGES_2M);
    for (int rounds = atoi(argv[1]); rounds > 0; rounds--) {
        measure();
    }
    return fclose(result) ? 1 : 0;
}
