/*
 * Convert memory of a virtual machine between private and shared, in place or
 * from one backing to another, and write down what that takes
 *
 * usage: convert-memory WAY ROUNDS RESULT
 *
 * WAY is "in place" or "two backings", as the kernel has it.
 *
 * All memory is private at first.  Each round makes parts of it shared, and
 * then private again, from fresh virtual machines.  Allocated memory was
 * written to by the guest, and by the host while it is shared, just before
 * it is converted, and is allocated afterwards.  RESULT gets a line of JSON
 * for each measurement.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include "memory.h"
#include "pool.h"
#include "tap.h"

#define ORDER_2M        9
#define PAGES_2M        (1ul << ORDER_2M)
#define NPAGES          (32 * PAGES_2M)

static const size_t ranges[] = { 1, PAGES_2M, NPAGES };

static FILE *result;
static bool in_place;
static int memfd;               /* the shared memory, of two backings */
static unsigned int calls;

struct counts {
    unsigned long allocated, freed;
};

static uint64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Pages that the kernel allocated and freed so far, for whatever purpose. */
static struct counts count_pages(void)
{
    struct counts counts = { 0 };
    FILE *f = fopen("/proc/vmstat", "r");
    char line[128];
    unsigned long n;

    if (!f) {
        bail_out("/proc/vmstat");
    }
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "pgalloc_%*s %lu", &n) == 1) {
            counts.allocated += n;
        } else if (sscanf(line, "pgfree %lu", &n) == 1) {
            counts.freed = n;
        }
    }
    fclose(f);
    return counts;
}

static void set_attributes(struct mem *mem, size_t first, size_t npages,
                           bool private)
{
    struct attributes args = {
        .address = DATA_GPA + first * PAGE,
        .size = npages * PAGE,
        .attributes = private ? ATTRIBUTE_PRIVATE : 0,
    };

    if (ioctl(mem->vm->fd, SET_ATTRIBUTES, &args)) {
        bail_out("KVM_SET_MEMORY_ATTRIBUTES");
    }
}

static void convert_in_place(struct mem *mem, size_t first, size_t npages,
                             bool private)
{
    int r = private ? to_private_retry(mem, first, npages, &calls) :
                      to_shared(mem, first, npages);

    calls++;
    if (r) {
        bail_out("KVM_SET_MEMORY_ATTRIBUTES2");
    }
}

/* As QEMU does, but it leaves the allocation to the first access. */
static void convert_two_backings(struct mem *mem, size_t first, size_t npages,
                                 bool private, bool allocated)
{
    int from = private ? memfd : mem->fd, to = private ? mem->fd : memfd;

    set_attributes(mem, first, npages, private);
    if (punch(from, first * PAGE, npages * PAGE)) {
        bail_out("punching a hole");
    }
    if (allocated && allocate(to, first * PAGE, npages * PAGE)) {
        bail_out("allocating");
    }
    calls += allocated ? 3 : 2;
}

static void create(struct mem *mem, struct vm *vm, bool huge)
{
    if (in_place) {
        if (huge) {
            mem_create_huge(mem, vm, NPAGES, 0, ORDER_2M);
        } else {
            mem_create(mem, vm, NPAGES, 0);
        }
        return;
    }

    memfd = memfd_create("shared", MFD_CLOEXEC);
    if (memfd < 0 || ftruncate(memfd, NPAGES * PAGE)) {
        bail_out("creating a memfd");
    }
    *mem = (struct mem) {
        .vm = vm, .npages = NPAGES, .fd = gmem_create(vm, NPAGES * PAGE, 0),
        .map = mmap(NULL, NPAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                    memfd, 0),
    };
    if (mem->fd < 0 || mem->map == MAP_FAILED ||
        set_region(vm, 1, DATA_GPA, NPAGES * PAGE, mem->map, mem->fd, 0)) {
        bail_out("creating memory of two backings");
    }
    set_attributes(mem, 0, NPAGES, true);
}

static void destroy(struct mem *mem)
{
    mem_destroy(mem);
    if (!in_place) {
        close(memfd);
    }
}

/* Have the memory allocated, and mapped wherever it may be. */
static void touch(struct mem *mem, size_t first, size_t npages, bool private)
{
    size_t i;

    if (vcpu_run(mem->vm, 0, GUEST(fill), 1, DATA_GPA + first * PAGE, npages,
                 0)) {
        bail_out("running the guest");
    }
    for (i = first; !private && i < first + npages; i++) {
        *page(mem, i) = 2;
    }
}

/*
 * Converts ranges that are 2 MiB apart, so that each of them meets a huge page
 * that is still whole, or has to become so.
 */
static void measure(struct mem *mem, size_t range, bool private, bool allocated,
                    bool huge)
{
    size_t stride = range < PAGES_2M ? PAGES_2M : range;
    struct counts before, after;
    uint64_t ns;
    size_t i;

    for (i = 0; allocated && i < NPAGES; i += stride) {
        touch(mem, i, range, !private);
    }

    calls = 0;
    before = count_pages();
    ns = now();
    for (i = 0; i < NPAGES; i += stride) {
        if (in_place) {
            convert_in_place(mem, i, range, private);
        } else {
            convert_two_backings(mem, i, range, private, allocated);
        }
    }
    ns = now() - ns;
    after = count_pages();

    fprintf(result, "{\"range KiB\": %zu, \"to\": \"%s\", \"allocated\": %s, "
            "\"page KiB\": %u, \"conversions\": %zu, \"ns\": %llu, "
            "\"calls\": %u, \"pages allocated\": %lu, \"pages freed\": %lu}\n",
            range * 4, private ? "private" : "shared",
            allocated ? "true" : "false", huge ? 2048 : 4, NPAGES / stride,
            (unsigned long long)ns, calls, after.allocated - before.allocated,
            after.freed - before.freed);
}

static void measure_all(bool huge)
{
    struct vm vm;
    struct mem mem;
    size_t i;
    int allocated;

    for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        for (allocated = 0; allocated <= 1; allocated++) {
            vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
            create(&mem, &vm, huge);
            measure(&mem, ranges[i], false, allocated, huge);
            measure(&mem, ranges[i], true, allocated, huge);
            destroy(&mem);
            vm_destroy(&vm);
        }
    }
}

int main(int argc, char **argv)
{
    struct utsname name;
    const char *reason = kvm_open();
    int rounds;

    if (argc != 4) {
        bail_out("usage: convert-memory WAY ROUNDS RESULT");
    }
    if (reason) {
        bail_out("%s", reason);
    }
    in_place = !strcmp(argv[1], "in place");
    result = fopen(argv[3], "w");
    if (!result || uname(&name)) {
        bail_out("%s", argv[3]);
    }
    if (in_place) {
        if (!pool_init(ORDER_2M)) {
            bail_out("no huge pages of 2 MiB");
        }
        pool_resize(NPAGES / PAGES_2M);
    }

    fprintf(result, "{\"kernel\": \"%s\"}\n", name.release);
    for (rounds = atoi(argv[2]); rounds > 0; rounds--) {
        measure_all(false);
        if (in_place) {
            measure_all(true);
        }
    }
    return fclose(result) ? 1 : 0;
}
