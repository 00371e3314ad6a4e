/*
 * Tests of guest_memfd with huge pages, for the kernel that they run on
 *
 * To be built as a static program that needs nothing but a C library, and to
 * be run as root in the lab, with kvm.gmem_in_place_conversion on and a pool of
 * huge pages.  Output is TAP.
 *
 *     gcc -O2 -Wall -static -pthread -o gmem-huge gmem-huge.c \
 *         memory.c pin.c pool.c tap.c vm.c
 *     ./gmem-huge 2M|1G [NAME...]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "memory.h"
#include "pin.h"
#include "pool.h"
#include "tap.h"

#define ORDER_2M        9
#define ORDER_1G        18
#define PAGES_2M        (1ul << ORDER_2M)

static unsigned int order;
static size_t hpages;           /* pages in a huge page */
static size_t hsize;            /* bytes in a huge page */

/* The pages of a huge page that stand for all of them. */
static size_t samples[16];
static unsigned int nr_samples;

static void choose_pages(unsigned int o)
{
    size_t n = 1ul << o;
    /* The ends, the middle, and where the first and last 2 MiB end. */
    size_t all[] = {
        0, 1, 7, PAGES_2M - 1, PAGES_2M, PAGES_2M + 1, n / 2 - 1, n / 2,
        n - PAGES_2M - 1, n - PAGES_2M, n - 2, n - 1,
    };
    size_t i;

    order = o;
    hpages = n;
    hsize = n * PAGE;
    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        /* In ascending order; what a small huge page hasn't got is left out. */
        if (all[i] < n && (!i || all[i] > samples[nr_samples - 1])) {
            samples[nr_samples++] = all[i];
        }
    }
}

static void huge_create(struct mem *mem, struct vm *vm, size_t nr,
                        uint64_t flags)
{
    mem_create_huge(mem, vm, nr * hpages, flags, order);
}

/* How many guest mappings there are, by size, without those of guest code. */
struct mappings {
    long nr[3];
};

static void count_mappings(struct vm *vm, struct mappings *m)
{
    static const char *const names[] = { "pages_4k", "pages_2m", "pages_1g" };
    char path[80];
    int i;

    for (i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/%s",
                 getpid(), vm->fd, names[i]);
        m->nr[i] = read_number(path, "");
    }
}

/* To be called before the guest has seen its data. */
static void count_code(struct vm *vm, struct mappings *code)
{
    vcpu_run(vm, 0, GUEST(read), 0, CODE_GPA, 0, 0);
    count_mappings(vm, code);
}

#define check_mappings(vm, code, n4k, n2m, n1g) ({                      \
    struct mappings now_;                                               \
                                                                        \
    count_mappings(vm, &now_);                                          \
    check(now_.nr[0] - (code)->nr[0] == (n4k) &&                        \
          now_.nr[1] - (code)->nr[1] == (n2m) &&                        \
          now_.nr[2] - (code)->nr[2] == (n1g),                          \
          "%ld of 4k, %ld of 2m, %ld of 1g",                            \
          now_.nr[0] - (code)->nr[0], now_.nr[1] - (code)->nr[1],       \
          now_.nr[2] - (code)->nr[2]);                                  \
})

/* Mappings of @whole huge pages and of @split, all but a page of which are. */
#define check_huge_mappings(vm, code, whole, split)                     \
    check_mappings(vm, code, (split) * 512l,                            \
                   order == ORDER_2M ? (whole) : (split) * 511l,        \
                   order == ORDER_2M ? 0l : (whole))

static void guest_fill(struct mem *mem, size_t first, size_t npages,
                       uint32_t value)
{
    check(vcpu_run(mem->vm, 0, GUEST(fill), value, DATA_GPA + first * PAGE,
                   npages, 0) == 0, "page %zu", first);
}

/* Whether each page of the range starts with @value, for the guest. */
static bool guest_sees(struct mem *mem, size_t first, size_t npages,
                       uint32_t value)
{
    return vcpu_run(mem->vm, 0, GUEST(compare), value, DATA_GPA + first * PAGE,
                    npages, 0) == 0;
}

/* The same for the host, for which 1 GiB takes too many page faults. */
static bool host_sees(struct mem *mem, size_t first, size_t npages,
                      uint32_t value)
{
    size_t i;

    for (i = first; i < first + npages; i += npages > PAGES_2M ? 61 : 1) {
        if (peek(page(mem, i)) != value) {
            return false;
        }
    }
    return true;
}

static long blocks(int fd)
{
    struct stat st;

    return fstat(fd, &st) ? -1 : st.st_blocks;
}

/* Creation, and what can be asked for. */
static void test_arguments(void)
{
    static const uint64_t bad_sizes[] = { 0, PAGE, -PAGE, 1ull << 63 };
    struct create_guest_memfd good = {
        .size = hsize, .flags = FLAG_HUGETLB, .page_order = order,
    };
    struct create_guest_memfd a;
    struct vm vm;
    int types[] = { VM_TYPE_DEFAULT, VM_TYPE_SW_PROTECTED };
    uint64_t flags;
    size_t i;
    int t, fd;

    check(vm_cap(kvm, CAP_GUEST_MEMFD_FLAGS) ==
          (FLAG_MMAP | FLAG_INIT_SHARED | FLAG_HUGETLB));
    for (t = 0; t < 2; t++) {
        vm_create(&vm, types[t], 0);
        check(vm_cap(vm.fd, CAP_GUEST_MEMFD_FLAGS) ==
              (FLAG_MMAP | FLAG_INIT_SHARED | FLAG_HUGETLB));

        for (flags = 0; flags < 4; flags++) {
            a = good;
            a.flags |= flags;
            fd = ioctl(vm.fd, CREATE_GUEST_MEMFD, &a);
            check(fd >= 0, "type %d, flags %d", types[t], (int)flags);
            close(fd);
        }
        for (i = 3; i < 64; i++) {
            a = good;
            a.flags |= 1ull << i;
            check(ioctl(vm.fd, CREATE_GUEST_MEMFD, &a) < 0 && errno == EINVAL,
                  "flag bit %zu", i);
        }

        /* The order and the flag need each other, and a pool. */
        a = good;
        a.flags = FLAG_MMAP;
        check(ioctl(vm.fd, CREATE_GUEST_MEMFD, &a) < 0 && errno == EINVAL);
        for (i = 0; i < 256; i++) {
            bool pool = i == ORDER_2M || i == ORDER_1G;

            a = good;
            a.size = i < 20 ? PAGE << i : hsize;
            a.page_order = i;
            fd = ioctl(vm.fd, CREATE_GUEST_MEMFD, &a);
            check(fd >= 0 ? pool : errno == (pool ? ENOMEM : EINVAL),
                  "order %zu", i);
            close(fd);
        }
        for (i = 0; i < sizeof(a.pad); i++) {
            a = good;
            a.pad[i] = 1 << i;
            check(ioctl(vm.fd, CREATE_GUEST_MEMFD, &a) < 0 && errno == EINVAL,
                  "byte %zu of the padding", i);
        }
        for (i = 0; i < sizeof(bad_sizes) / sizeof(bad_sizes[0]); i++) {
            a = good;
            a.size = bad_sizes[i];
            check(ioctl(vm.fd, CREATE_GUEST_MEMFD, &a) < 0 && errno == EINVAL,
                  "size %llx", (unsigned long long)a.size);
        }
        for (i = 0; i < nr_samples; i++) {
            a = good;
            a.size += samples[i] * PAGE;
            fd = ioctl(vm.fd, CREATE_GUEST_MEMFD, &a);
            check(samples[i] ? fd < 0 && errno == EINVAL : fd >= 0,
                  "a huge page and %zu pages", samples[i]);
            close(fd);
        }
        a = good;
        a.size = 1ull << 62;
        check(ioctl(vm.fd, CREATE_GUEST_MEMFD, &a) < 0 && errno == ENOMEM);
        vm_destroy(&vm);
    }
}

/* It is a file that can be mapped, and nothing else. */
static void test_file(void)
{
    struct mem mem;
    struct vm vm;
    struct stat st;
    char *map;
    char byte = 0;
    int fd;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 0);
    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    check(read(mem.fd, &byte, 1) < 0 && write(mem.fd, &byte, 1) < 0);
    check(pread(mem.fd, &byte, 1, 0) < 0 && pwrite(mem.fd, &byte, 1, 0) < 0);
    check(ftruncate(mem.fd, 2 * hsize) < 0 && errno == EINVAL);
    check(!fstat(mem.fd, &st) && st.st_size == hsize && st.st_blocks == 0);

    check(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, mem.fd, 0) == MAP_FAILED &&
          errno == EINVAL);
    map = mmap(NULL, hsize + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mem.fd,
               0);
    check(map != MAP_FAILED);
    check(!accessible(map + hsize), "beyond the end");
    check(poke(map + hsize - PAGE, 5) && peek(page(&mem, hpages - 1)) == 5);
    munmap(map, hsize + PAGE);

    check(!madvise(mem.map, hsize, MADV_DONTNEED));
    check(peek(page(&mem, hpages - 1)) == 5, "mapped again");
    check(!madvise(mem.map, hsize, MADV_HUGEPAGE));
    check(madvise(mem.map, hsize, 25 /* MADV_COLLAPSE */) && errno == EINVAL);
    check(peek(page(&mem, hpages - 1)) == 5, "after MADV_COLLAPSE");
    mem_destroy(&mem);

    fd = gmem_create_huge(&vm, hsize, 0, order);
    check(fd >= 0);
    check(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED &&
          errno == ENODEV);
    close(fd);
    vm_destroy(&vm);
}

/* Allocation is by the huge page, and the pool's counters follow it. */
static void test_allocation(void)
{
    struct pool before, now;
    struct mem mem;
    struct vm vm;
    long per_page = hsize / 512;

#define check_pool(allocated) ({                                        \
    pool_read(&now);                                                    \
    check(now.total[POOL_NR] == before.total[POOL_NR] &&                \
          now.total[POOL_FREE] == before.total[POOL_FREE] - (allocated) && \
          now.total[POOL_RESV] == before.total[POOL_RESV] + 2 - (allocated) && \
          now.total[POOL_SURPLUS] == before.total[POOL_SURPLUS],        \
          "free %ld, reserved %ld", now.total[POOL_FREE],               \
          now.total[POOL_RESV]);                                        \
    check(blocks(mem.fd) == (allocated) * per_page, "blocks %ld",       \
          blocks(mem.fd));                                              \
})

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    pool_read(&before);
    huge_create(&mem, &vm, 2, 0);
    check_pool(0);
    check(to_shared(&mem, hpages, 1) == 0);
    check_pool(0);
    check(guest_peek(&mem, hpages - 1) == 0);
    check_pool(1);
    check(guest_peek(&mem, 0) == 0);
    check_pool(1);
    check(peek(page(&mem, hpages)) == 0);
    check_pool(2);
    check(punch(mem.fd, 0, hsize) == 0);
    check_pool(1);
    check(punch(mem.fd, 0, hsize) == 0, "a hole already");
    check_pool(1);
    check(punch(mem.fd, 0, 2 * hsize) == 0);
    check_pool(0);
    check(allocate(mem.fd, hsize, hsize) == 0);
    check_pool(1);
    check(allocate(mem.fd, 0, 2 * hsize) == 0);
    check_pool(2);
    check(punch(mem.fd, hsize, 4 * hsize) == 0, "beyond the end");
    check_pool(1);
    check(punch(mem.fd, 2 * hsize, hsize) == 0, "past the end");
    check(allocate(mem.fd, 2 * hsize, hsize) && errno == EINVAL);
    check(allocate(mem.fd, hsize, 2 * hsize) && errno == EINVAL);

    check(punch(mem.fd, PAGE, hsize) && errno == EINVAL);
    check(punch(mem.fd, 0, PAGE) && errno == EINVAL);
    check(punch(mem.fd, 0, hsize + PAGE) && errno == EINVAL);
    check(punch(mem.fd, hsize / 2, hsize / 2) && errno == EINVAL);
    check(allocate(mem.fd, PAGE, hsize) && errno == EINVAL);
    check(allocate(mem.fd, 0, PAGE) && errno == EINVAL);
    check(allocate(mem.fd, 0, hsize + PAGE) && errno == EINVAL);
    check_pool(1);
    mem_destroy(&mem);
    pool_read(&now);
    check(pool_equal(&before, &now));
    vm_destroy(&vm);
#undef check_pool
}

/* All memory is reserved at creation, and nobody else gets it. */
static void test_exhaustion(void)
{
    struct pool before, now;
    struct vm vm;
    long nr;
    int fd;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 0);
    pool_read(&before);
    nr = before.total[POOL_FREE] - before.total[POOL_RESV];

    check(gmem_create_huge(&vm, (nr + 1) * hsize, 0, order) < 0 &&
          errno == ENOMEM);
    pool_read(&now);
    check(pool_equal(&before, &now), "after failure");

    if (order == ORDER_2M) {
        pool_overcommit(16);
        check(gmem_create_huge(&vm, (nr + 1) * hsize, 0, order) < 0 &&
              errno == ENOMEM, "surplus pages");
        pool_overcommit(0);
        pool_read(&now);
        check(pool_equal(&before, &now), "after failure");
    }

    fd = gmem_create_huge(&vm, nr * hsize, 0, order);
    check(fd >= 0);
    check(gmem_create_huge(&vm, hsize, 0, order) < 0 && errno == ENOMEM);
    check(mmap(NULL, hsize, PROT_READ | PROT_WRITE, MAP_PRIVATE |
               MAP_ANONYMOUS | MAP_HUGETLB | ((order + 12) << 26), -1, 0) ==
          MAP_FAILED && errno == ENOMEM);
    check(allocate(fd, 0, nr * hsize) == 0);
    check(gmem_create_huge(&vm, hsize, 0, order) < 0 && errno == ENOMEM);
    pool_read(&now);
    check(now.total[POOL_FREE] == before.total[POOL_RESV] &&
          now.total[POOL_NR] == before.total[POOL_NR]);
    check(punch(fd, 0, hsize) == 0);
    check(gmem_create_huge(&vm, hsize, 0, order) < 0 && errno == ENOMEM,
          "what is punched stays reserved");
    close(fd);
    pool_read(&now);
    check(pool_equal(&before, &now));
    vm_destroy(&vm);
}

/* What creation promises is there, though not all free pages can be lent. */
static void test_lendable(void)
{
    bool movable = getenv("MOVABLE_POOL");
    struct pool before, now;
    struct vm vm;
    long nr;
    int fd;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 0);
    pool_read(&before);
    nr = before.total[POOL_FREE];
    while ((fd = gmem_create_huge(&vm, nr * hsize, 0, order)) < 0 && nr > 1) {
        check(errno == ENOMEM);
        nr--;
    }
    printf("# %ld of %ld free pages\n", nr, before.total[POOL_FREE]);
    check(fd >= 0 && (nr < before.total[POOL_FREE]) == movable);
    check(allocate(fd, 0, nr * hsize) == 0);
    close(fd);
    pool_read(&now);
    check(pool_equal(&before, &now));
    vm_destroy(&vm);
}

/* The two states, and that contents survive splitting and merging. */
static void test_init(void)
{
    struct mem mem;
    struct vm vm;
    size_t s;
    int shared, round;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (shared = 0; shared < 2; shared++) {
        huge_create(&mem, &vm, 1, shared ? FLAG_INIT_SHARED : 0);
        for (s = 0; s < nr_samples; s++) {
            check(accessible(page(&mem, samples[s])) == shared);
            check(poke(page(&mem, samples[s]), 1) == shared);
            check(guest_poke(&mem, samples[s], 0x100 + s) == 0);
        }
        for (round = 0; round < (order == ORDER_2M ? 3 : 1); round++) {
            check(convert(&mem, 0, hpages, shared, NULL) == 0);
            for (s = 0; s < nr_samples; s++) {
                check(peek(page(&mem, samples[s])) ==
                      (shared ? -1 : 0x100 + (int)s));
                check(guest_peek(&mem, samples[s]) == 0x100 + s);
            }
            check(convert(&mem, 0, hpages, !shared, NULL) == 0);
            for (s = 0; s < nr_samples; s++) {
                check(peek(page(&mem, samples[s])) ==
                      (shared ? 0x100 + (int)s : -1));
                check(guest_peek(&mem, samples[s]) == 0x100 + s);
            }
        }
        mem_destroy(&mem);
    }
    vm_destroy(&vm);
}

/* Conversion is by the 4 KiB page, in a huge page as anywhere. */
static void test_indexing(void)
{
    struct mem mem;
    struct vm vm;
    size_t n, s;
    int shared;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (shared = 0; shared < 2; shared++) {
        huge_create(&mem, &vm, 1, shared ? FLAG_INIT_SHARED : 0);
        for (s = 0; s < nr_samples; s++) {
            check(guest_poke(&mem, samples[s], 0x100 + s) == 0);
        }
        for (n = 0; n < nr_samples; n++) {
            check(convert(&mem, samples[n], 1, shared, NULL) == 0);
            for (s = 0; s < nr_samples; s++) {
                check(peek(page(&mem, samples[s])) ==
                      ((s == n) != shared ? 0x100 + (int)s : -1),
                      "init %d, page %zu, sample %zu", shared, samples[n], s);
                check(guest_peek(&mem, samples[s]) == 0x100 + s);
            }
            check(convert(&mem, samples[n], 1, !shared, NULL) == 0);
            check(accessible(page(&mem, samples[n])) == shared);
            check(guest_peek(&mem, samples[n]) == 0x100 + n);
        }
        mem_destroy(&mem);
    }
    vm_destroy(&vm);
}

/* What is converted before it is allocated is what it was converted to. */
static void test_unallocated(void)
{
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);

    huge_create(&mem, &vm, 2, 0);
    check(to_shared(&mem, 1, 2) == 0 && to_shared(&mem, hpages, hpages) == 0);
    check(blocks(mem.fd) == 0);
    check(!accessible(page(&mem, 0)) && peek(page(&mem, 1)) == 0 &&
          peek(page(&mem, 2)) == 0 && !accessible(page(&mem, 3)) &&
          !accessible(page(&mem, hpages - 1)) &&
          peek(page(&mem, hpages)) == 0 &&
          peek(page(&mem, 2 * hpages - 1)) == 0);
    check(guest_peek(&mem, 0) == 0 && guest_peek(&mem, 1) == 0 &&
          guest_peek(&mem, hpages) == 0);
    mem_destroy(&mem);

    /* One huge page is allocated, the other isn't. */
    huge_create(&mem, &vm, 2, FLAG_INIT_SHARED);
    check(poke(page(&mem, hpages + 1), 0x41));
    check(to_private(&mem, 1, 2 * hpages - 2) == 0);
    check(accessible(page(&mem, 0)) && !accessible(page(&mem, 1)) &&
          !accessible(page(&mem, hpages - 1)) &&
          !accessible(page(&mem, hpages)) &&
          !accessible(page(&mem, hpages + 1)) &&
          accessible(page(&mem, 2 * hpages - 1)));
    check(guest_peek(&mem, hpages + 1) == 0x41 && guest_peek(&mem, 5) == 0);
    check(to_shared(&mem, 1, 2 * hpages - 2) == 0);
    check(peek(page(&mem, hpages + 1)) == 0x41 && peek(page(&mem, 5)) == 0);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Memory that nobody has written is zero, wherever it comes from. */
static void test_zero(void)
{
    struct mem mem;
    struct vm vm;
    size_t n = hpages / 2 + 3;

    /* All of the pool is dirty, and so is what each part leaves behind. */
    pool_dirty();

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);

    huge_create(&mem, &vm, 1, 0);
    check(guest_sees(&mem, 0, hpages, 0), "whole, private");
    guest_fill(&mem, 0, hpages, -1);
    check(punch(mem.fd, 0, hsize) == 0);
    check(guest_sees(&mem, 0, hpages, 0), "punched, private");
    guest_fill(&mem, 0, hpages, -1);
    mem_destroy(&mem);

    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    check(host_sees(&mem, 0, hpages, 0), "split, shared");
    guest_fill(&mem, 0, hpages, -1);
    check(punch(mem.fd, 0, hsize) == 0);
    check(host_sees(&mem, 0, hpages, 0), "punched, shared");
    guest_fill(&mem, 0, hpages, -1);
    mem_destroy(&mem);

    /* A single page was used when the huge page is merged, or none was. */
    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    check(poke(page(&mem, n), 0x77));
    check(to_private(&mem, 0, hpages) == 0);
    check(guest_peek(&mem, n) == 0x77 && guest_poke(&mem, n, 0) == 0);
    check(guest_sees(&mem, 0, hpages, 0), "merged, one page used");
    guest_fill(&mem, 0, hpages, -1);
    mem_destroy(&mem);

    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    check(allocate(mem.fd, 0, hsize) == 0);
    check(to_private(&mem, 0, hpages) == 0);
    check(guest_sees(&mem, 0, hpages, 0), "merged, no page used");
    guest_fill(&mem, 0, hpages, -1);
    mem_destroy(&mem);

    /* Split before it is used, and merged in part. */
    huge_create(&mem, &vm, 1, 0);
    check(allocate(mem.fd, 0, hsize) == 0);
    check(to_shared(&mem, n, 2) == 0);
    check(peek(page(&mem, n)) == 0);
    check(to_private(&mem, n, 1) == 0);
    check(guest_sees(&mem, 0, hpages, 0), "split in part");
    check(host_sees(&mem, n + 1, 1, 0));
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* A hole keeps the state that it had. */
static void test_punch(void)
{
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, 2, 0);
    check(to_shared(&mem, 1, hpages) == 0);
    check(poke(page(&mem, 1), 1) && poke(page(&mem, hpages), 2));
    check(guest_poke(&mem, 0, 3) == 0 && guest_poke(&mem, hpages + 1, 4) == 0);

    check(punch(mem.fd, 0, hsize) == 0);
    check(!accessible(page(&mem, 0)) && peek(page(&mem, 1)) == 0);
    check(guest_peek(&mem, 0) == 0 && guest_peek(&mem, 1) == 0);
    check(peek(page(&mem, hpages)) == 2 && guest_peek(&mem, hpages + 1) == 4);

    check(punch(mem.fd, 0, 2 * hsize) == 0);
    check(to_private(&mem, 1, 1) == 0 && to_shared(&mem, hpages + 1, 1) == 0);
    check(!accessible(page(&mem, 1)) && peek(page(&mem, 2)) == 0 &&
          peek(page(&mem, hpages)) == 0 && peek(page(&mem, hpages + 1)) == 0 &&
          !accessible(page(&mem, hpages + 2)));
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Large memory, of 512 MiB and more, for which the pool has to grow. */
static size_t grow_pool(void)
{
    struct pool p;

    if (order == ORDER_1G) {
        return 1;
    }
    pool_read(&p);
    pool_resize(p.total[POOL_NR] + 256);
    return 256;
}

static void shrink_pool(void)
{
    struct pool p;

    if (order == ORDER_2M) {
        pool_read(&p);
        pool_resize(p.total[POOL_NR] - 256);
    }
}

/* The guest's mappings are as large as the huge pages are whole. */
static void test_mappings(void)
{
    size_t nr = grow_pool();
    size_t n = (nr / 2) * hpages + hpages / 2 + 5, s;
    struct mappings code;
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, nr, 0);
    count_code(&vm, &code);
    check_mappings(&vm, &code, 0l, 0l, 0l);
    guest_fill(&mem, 0, nr * hpages, 0x21);
    check_huge_mappings(&vm, &code, (long)nr, 0l);

    check(to_shared(&mem, n, 1) == 0);
    check(peek(page(&mem, n)) == 0x21);
    guest_fill(&mem, 0, nr * hpages, 0x22);
    check_huge_mappings(&vm, &code, (long)nr - 1, 1l);
    check(peek(page(&mem, n)) == 0x22);

    check(to_private(&mem, n, 1) == 0);
    guest_fill(&mem, n - 1, 2, 0x23);
    check_huge_mappings(&vm, &code, (long)nr, 0l);
    check(guest_sees(&mem, 0, n - 1, 0x22) &&
          guest_sees(&mem, n - 1, 2, 0x23) &&
          guest_sees(&mem, n + 1, nr * hpages - n - 1, 0x22));
    guest_fill(&mem, 0, nr * hpages, 0x24);
    check_huge_mappings(&vm, &code, (long)nr, 0l);

    /* Punching unmaps one huge page only. */
    check(punch(mem.fd, 0, hsize) == 0);
    check_huge_mappings(&vm, &code, (long)nr - 1, 0l);
    for (s = 0; s < nr_samples; s++) {
        check(guest_peek(&mem, samples[s]) == 0);
        check(nr == 1 || guest_peek(&mem, hpages + samples[s]) == 0x24);
    }
    check_huge_mappings(&vm, &code, (long)nr, 0l);
    mem_destroy(&mem);
    check_mappings(&vm, &code, 0l, 0l, 0l);
    vm_destroy(&vm);
    shrink_pool();
}

/* In an ordinary VM there is nothing to convert, so huge pages stay whole. */
static void test_ordinary(void)
{
    size_t nr = grow_pool(), s;
    struct mappings code;
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_DEFAULT, 1);
    huge_create(&mem, &vm, nr, FLAG_INIT_SHARED);
    count_code(&vm, &code);
    for (s = 0; s < nr_samples; s++) {
        check(poke(page(&mem, samples[s]), 0x30 + s));
        check(guest_peek(&mem, samples[s]) == 0x30 + s);
    }
    check_huge_mappings(&vm, &code, 1l, 0l);
    guest_fill(&mem, 0, nr * hpages, 0x21);
    check_huge_mappings(&vm, &code, (long)nr, 0l);
    for (s = 0; s < nr_samples; s++) {
        check(peek(page(&mem, samples[s])) == 0x21);
    }
    check(to_private(&mem, 0, 1) == -EINVAL);
    check(punch(mem.fd, 0, hsize) == 0);
    check_huge_mappings(&vm, &code, (long)nr - 1, 0l);
    for (s = 0; s < nr_samples; s++) {
        check(peek(page(&mem, samples[s])) == 0);
        check(guest_peek(&mem, samples[s]) == 0);
    }
    check_huge_mappings(&vm, &code, (long)nr, 0l);
    mem_destroy(&mem);
    vm_destroy(&vm);
    shrink_pool();
}

/* A page in use cannot become private, and no other page cares. */
static void test_pinned(void)
{
    size_t nr = order == ORDER_2M ? 4 : 2, last = nr * hpages, i, s;
    enum pin_kind kind;
    struct mem mem;
    struct pin p;
    struct vm vm;
    uint64_t err;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (kind = 0; kind < PIN_KINDS; kind++) {
        const char *name = pin_names[kind];

        for (s = order == ORDER_2M ? 0 : 4 + kind; s < nr_samples;
             s += order == ORDER_2M ? 1 : nr_samples) {
            size_t first = (nr - 1) * hpages;
            size_t n = first + samples[s];

            /* It takes its time to share all of 1 GiB by the page. */
            huge_create(&mem, &vm, nr,
                        order == ORDER_2M ? FLAG_INIT_SHARED : 0);
            for (i = 0; i < nr_samples; i++) {
                check(to_shared(&mem, samples[i], 1) == 0 &&
                      to_shared(&mem, first + samples[i], 1) == 0);
                check(poke(page(&mem, samples[i]), 0x10 + i));
                check(poke(page(&mem, first + samples[i]), 0x50 + i));
            }
            check(pin(&p, kind, page(&mem, n), 1), "%s", name);

            /* Huge pages before the failing one are converted, it is not. */
            check(convert(&mem, 0, last, true, &err) == -EAGAIN && err ==
                  n * PAGE, "%s, %zu: %llx", name, n, (unsigned long long)err);
            for (i = 0; i < nr_samples; i++) {
                check(!accessible(page(&mem, first - hpages + samples[i])));
                check(guest_peek(&mem, samples[i]) == 0x10 + i);
                check(peek(page(&mem, first + samples[i])) == 0x50 + i);
                check(guest_peek(&mem, first + samples[i]) == 0x50 + i);
            }

            /* All others of the huge page can be converted one by one. */
            for (i = 0; i < nr_samples; i++) {
                int r = convert(&mem, first + samples[i], 1, true, &err);

                check(r == (i == s ? -EAGAIN : 0), "%s, %zu", name, i);
                check(err == (i == s ? n * PAGE : SENTINEL));
                check(accessible(page(&mem, first + samples[i])) == (i == s));
            }
            for (i = 0; i < nr_samples; i++) {
                check(to_shared(&mem, first + samples[i], 1) == 0);
            }
            check(n == first || to_private(&mem, first, n - first) == 0);
            check(n + 1 == last || to_private(&mem, n + 1, last - n - 1) == 0);
            check(poke(page(&mem, n), 0x99), "%s", name);

            /* Once it isn't used any more, go on where it failed. */
            check(convert(&mem, first, hpages, true, &err) == -EAGAIN &&
                  err == n * PAGE, "%s", name);
            unpin(&p);
            check(to_private_retry(&mem, err / PAGE / hpages * hpages, hpages,
                                   NULL) == 0, "%s", name);
            check(!accessible(page(&mem, n)));
            check(guest_peek(&mem, n) == 0x99, "%s", name);
            check(!pin(&p, kind, page(&mem, n), 1), "%s, private", name);
            unpin(&p);
            mem_destroy(&mem);
        }
    }
    vm_destroy(&vm);
}

/* A page that was taken when shared, and is in use yet, prevents merging. */
static void test_pinned_merge(void)
{
    size_t n = hpages / 2 + 1;
    struct mappings code;
    enum pin_kind kind;
    struct mem mem;
    struct pin p;
    struct vm vm;

    for (kind = 0; kind < PIN_KINDS; kind++) {
        vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
        huge_create(&mem, &vm, 1, 0);
        count_code(&vm, &code);
        check(to_shared(&mem, n, 2) == 0);
        check(poke(page(&mem, n), 0x31) && poke(page(&mem, n + 1), 0x32));
        check(pin(&p, kind, page(&mem, n), 1));
        check(to_private(&mem, n + 1, 1) == 0);
        guest_fill(&mem, 0, hpages, 0x33);
        check_huge_mappings(&vm, &code, 0l, 1l);
        check(to_private(&mem, n, 1) == -EAGAIN);
        unpin(&p);
        check(to_private_retry(&mem, n, 1, NULL) == 0);
        guest_fill(&mem, 0, hpages, 0x34);
        check_huge_mappings(&vm, &code, 1l, 0l);
        mem_destroy(&mem);
        vm_destroy(&vm);
    }
}

/* Huge pages return to the pool when nobody uses them any more. */
static void test_pinned_free(void)
{
    size_t n = hpages - 3, i;
    struct pool before, now;
    enum pin_kind kind;
    struct mem mem;
    struct pin p, q;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    pool_read(&before);
    for (kind = 0; kind < PIN_KINDS; kind++) {
        const char *name = pin_names[kind];

        huge_create(&mem, &vm, 2, 0);
        check(to_shared(&mem, n, 2) == 0);
        check(poke(page(&mem, n), 0x55));
        check(guest_poke(&mem, 0, 0x56) == 0);
        check(guest_poke(&mem, hpages, 0x57) == 0);
        check(pin(&p, kind, page(&mem, n), 1), "%s", name);
        check(punch(mem.fd, 0, hsize) && errno == EAGAIN, "%s", name);
        check(punch(mem.fd, 0, 2 * hsize) && errno == EAGAIN, "%s", name);
        check(peek(page(&mem, n)) == 0x55 && guest_peek(&mem, 0) == 0x56);
        check(blocks(mem.fd) == 2 * (long)hsize / 512);
        check(punch(mem.fd, hsize, hsize) == 0, "%s", name);
        check(guest_peek(&mem, hpages) == 0);
        unpin(&p);
        for (i = 0; i < 1000 && punch(mem.fd, 0, hsize); i++) {
            usleep(1000);
        }
        check(guest_peek(&mem, 0) == 0 && peek(page(&mem, n)) == 0);
        mem_destroy(&mem);
        check(pool_await(&before));

        /* Closed while pages of it are in use, by two users. */
        huge_create(&mem, &vm, 2, FLAG_INIT_SHARED);
        check(poke(page(&mem, 1), 1) && poke(page(&mem, hpages), 2));
        check(pin(&p, kind, page(&mem, n), 1), "%s", name);
        check(pin(&q, kind, page(&mem, n + 1), 2), "%s", name);
        mem_destroy(&mem);
        pool_read(&now);
        check(now.total[POOL_NR] == before.total[POOL_NR] &&
              now.total[POOL_FREE] == before.total[POOL_FREE] - 1 &&
              now.total[POOL_RESV] == before.total[POOL_RESV] &&
              now.total[POOL_SURPLUS] == before.total[POOL_SURPLUS], "%s",
              name);
        unpin(&q);
        unpin(&p);
        check(pool_await(&before), "%s", name);
    }

    /* The pages are what their user left in them until the very end. */
    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    memset(page(&mem, n), 0x66, PAGE);
    check(pin(&p, PIN_VMSPLICE, page(&mem, n), 1));
    mem_destroy(&mem);
    {
        char *buf = malloc(PAGE);

        pool_dirty();
        check(read(p.fd[0], buf, PAGE) == PAGE);
        check(buf[0] == 0x66 && !memcmp(buf, buf + 1, PAGE - 1));
        free(buf);
    }
    unpin(&p);
    check(pool_await(&before));
    vm_destroy(&vm);
}

static int set_region_flags(struct vm *vm, uint32_t flags, uint64_t size,
                            struct mem *mem, int fd, uint64_t offset)
{
    struct region2 region = {
        .slot = 2, .flags = flags | MEM_GUEST_MEMFD,
        .guest_phys_addr = OTHER_GPA, .memory_size = size,
        .userspace_addr = (uintptr_t)mem->map, .guest_memfd = fd,
        .guest_memfd_offset = offset,
    };

    return ioctl(vm->fd, SET_USER_MEMORY_REGION2, &region);
}

static void test_memslots(void)
{
    struct mem mem;
    struct vm vm, other;
    int fd;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, 1, 0);

    /* What a memslot can be made of. */
    check(!set_region(&vm, 1, DATA_GPA, 0, mem.map, mem.fd, 0));
    check(set_region_flags(&vm, KVM_MEM_LOG_DIRTY_PAGES, hsize / 2, &mem,
                           mem.fd, 0) && errno == EINVAL);
    check(set_region_flags(&vm, KVM_MEM_READONLY, hsize / 2, &mem, mem.fd, 0) &&
          errno == EINVAL);
    check(set_region_flags(&vm, 0, hsize / 2, &mem, kvm, 0) &&
          errno == EINVAL);
    check(set_region_flags(&vm, 0, hsize / 2, &mem, vm.fd, 0) &&
          errno == EINVAL);
    check(set_region_flags(&vm, 0, hsize / 2, &mem, mem.fd, 1) &&
          errno == EINVAL);
    check(set_region_flags(&vm, 0, hsize / 2, &mem, mem.fd,
                           hsize / 2 + PAGE) && errno == EINVAL);
    fd = memfd_create("not guest_memfd", 0);
    check(set_region_flags(&vm, 0, hsize / 2, &mem, fd, 0) && errno == EINVAL);
    close(fd);
    vm_create(&other, VM_TYPE_SW_PROTECTED, 0);
    fd = gmem_create_huge(&other, hsize, 0, order);
    check(set_region_flags(&vm, 0, hsize / 2, &mem, fd, 0) && errno == EINVAL);
    close(fd);
    vm_destroy(&other);

    /* Halves of a huge page, and neither of them twice. */
    check(!set_region(&vm, 1, DATA_GPA, hsize / 2, mem.map, mem.fd, 0));
    check(set_region_flags(&vm, 0, hsize / 2, &mem, mem.fd, 0) &&
          errno == EEXIST);
    check(!set_region_flags(&vm, 0, hsize / 2, &mem, mem.fd, hsize / 2));
    check(guest_poke(&mem, 5, 0x61) == 0);
    check(vcpu_run(&vm, 0, GUEST(write), 0, OTHER_GPA + 5 * PAGE, 0x62, 0) ==
          0);
    check(to_shared(&mem, 0, hpages) == 0);
    check(peek(page(&mem, 5)) == 0x61 &&
          peek(page(&mem, hpages / 2 + 5)) == 0x62);
    check(to_private(&mem, 0, hpages) == 0);
    check(guest_peek(&mem, 5) == 0x61 &&
          guest_peek_gpa(&vm, OTHER_GPA + 5 * PAGE) == 0x62);

    /* The state is the file's, not the memslot's. */
    check(!set_region(&vm, 1, DATA_GPA, 0, mem.map, mem.fd, 0));
    check(!set_region(&vm, 2, OTHER_GPA, 0, mem.map, mem.fd, 0));
    check(to_shared(&mem, 7, 1) == 0);
    check(guest_peek(&mem, 5) == -1000 - KVM_EXIT_MMIO);
    check(!set_region(&vm, 1, DATA_GPA, hsize, mem.map, mem.fd, 0));
    /* Nor does it matter that a page was MMIO until now. */
    check(guest_peek(&mem, 5) == 0x61);
    check(guest_peek(&mem, 5) == 0x61, "again");
    check(guest_poke(&mem, 7, 0x63) == 0);
    check(peek(page(&mem, 7)) == 0x63 && !accessible(page(&mem, 8)));

    /* A memslot does not keep its file alive, and the pool gets its page. */
    munmap(mem.map, hsize);
    close(mem.fd);
    check(guest_peek(&mem, 5) == -EFAULT &&
          vm.run[0]->exit_reason == EXIT_MEMORY_FAULT);
    vm_destroy(&vm);

    /* An ordinary VM cannot access private memory. */
    vm_create(&vm, VM_TYPE_DEFAULT, 1);
    huge_create(&mem, &vm, 1, 0);
    check(guest_peek(&mem, 1) == -EFAULT &&
          vm.run[0]->exit_reason == EXIT_MEMORY_FAULT &&
          memory_fault(&vm, 0)->flags == 0 &&
          memory_fault(&vm, 0)->gpa == DATA_GPA + PAGE);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* A huge page that is not aligned in the guest is mapped in smaller pieces. */
static void test_misaligned(void)
{
    const struct {
        size_t offset, shift;   /* in the file and of the GPA, in pages */
        bool small;
    } slots[] = {
        { 0, 1, true }, { 1, 0, true }, { 0, hpages / 2, order == ORDER_2M },
        { hpages / 2, 0, order == ORDER_2M }, { 1, 1, false },
    };
    struct mappings code, now;
    struct mem mem;
    struct vm vm;
    size_t i, s;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, 2, 0);
    check(!set_region(&vm, 1, DATA_GPA, 0, mem.map, mem.fd, 0));
    count_code(&vm, &code);
    for (i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
        uint64_t gpa = DATA_GPA + slots[i].shift * PAGE;
        size_t npages = 2 * hpages - slots[i].offset;

        /* An address that is not aligned must not matter. */
        check(!set_region(&vm, 2, gpa, npages * PAGE, mem.map + PAGE, mem.fd,
                          slots[i].offset * PAGE), "slot %zu", i);
        for (s = 0; s < nr_samples; s++) {
            if (samples[s] < npages) {
                check(vcpu_run(&vm, 0, GUEST(write), 0, gpa +
                               samples[s] * PAGE, 0x80 + s, 0) == 0);
            }
        }
        count_mappings(&vm, &now);
        if (slots[i].small) {
            check(now.nr[1] == code.nr[1] && now.nr[2] == code.nr[2] &&
                  now.nr[0] > code.nr[0], "slot %zu", i);
        } else if (order == ORDER_1G && slots[i].offset != slots[i].shift) {
            check(now.nr[2] == code.nr[2] && now.nr[1] > code.nr[1] &&
                  now.nr[0] == code.nr[0], "slot %zu", i);
        } else {
            check(order == ORDER_2M ? now.nr[1] > code.nr[1] :
                  now.nr[2] > code.nr[2], "slot %zu", i);
        }
        check(!set_region(&vm, 2, gpa, 0, mem.map, mem.fd, 0));
        check(to_shared(&mem, 0, 2 * hpages) == 0);
        for (s = 0; s < nr_samples; s++) {
            if (samples[s] < npages) {
                check(peek(page(&mem, slots[i].offset + samples[s])) ==
                      0x80 + s, "slot %zu, sample %zu", i, s);
            }
        }
        check(to_private(&mem, 0, 2 * hpages) == 0);
    }
    mem_destroy(&mem);
    vm_destroy(&vm);
}

static void test_pre_fault(void)
{
    size_t nr = 2;
    struct pre_fault range;
    struct mappings code;
    struct mem mem;
    struct vm vm;
    int i, r;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, nr, 0);
    count_code(&vm, &code);
    for (i = 0; i < 2; i++) {
        range = (struct pre_fault) {
            .gpa = DATA_GPA, .size = nr * hsize + PAGE
        };
        do {
            r = ioctl(vm.vcpu[0], PRE_FAULT_MEMORY, &range);
        } while (!r && range.size);
        check(r && errno == ENOENT, "end of the memslot");
        check(range.size == PAGE && range.gpa == DATA_GPA + nr * hsize);
        check_huge_mappings(&vm, &code, (long)nr, 0l);
        check(blocks(mem.fd) == (long)(nr * hsize / 512));
        check(to_shared(&mem, 5, 1) == 0 && to_private(&mem, 5, 1) == 0);
    }
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* A child does what it is told by a pipe and answers by another. */
static int64_t ask(int to, int from, size_t n)
{
    int64_t answer = -2;

    if (write(to, &n, sizeof(n)) != sizeof(n) ||
        read(from, &answer, sizeof(answer)) != sizeof(answer)) {
        return -3;
    }
    return answer;
}

/* Conversion takes memory away from all processes. */
static void test_processes(void)
{
    size_t n = hpages / 2;
    int to[2], from[2], status;
    struct mem mem;
    struct vm vm;
    pid_t pid;
    int round;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, 1, 0);
    check(to_shared(&mem, n, 2) == 0 && poke(page(&mem, n), 0x10));
    fflush(stdout);
    if (pipe(to) || pipe(from)) {
        bail_out("pipe");
    }
    pid = fork();
    if (!pid) {
        int64_t answer;
        size_t p;

        close(to[1]);
        while (read(to[0], &p, sizeof(p)) == sizeof(p)) {
            answer = peek(page(&mem, p));
            if (answer != -1) {
                poke(page(&mem, p), answer + 1);
            }
            if (write(from[1], &answer, sizeof(answer)) < 0) {
                _exit(1);
            }
        }
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    for (round = 0; round < 3; round++) {
        check(ask(to[1], from[0], n) == 0x10 + round);
        check(ask(to[1], from[0], n + 1) == round);
        check(to_private(&mem, n, 1) == 0);
        check(ask(to[1], from[0], n) == -1 && !accessible(page(&mem, n)));
        check(to_private(&mem, n + 1, 1) == 0);
        check(ask(to[1], from[0], n + 1) == -1);
        check(guest_peek(&mem, n) == 0x11 + round &&
              guest_peek(&mem, n + 1) == round + 1);
        check(to_shared(&mem, n, 2) == 0);
    }
    close(to[1]);
    check(waitpid(pid, &status, 0) == pid && status == 0);
    close(from[0]);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* The guest asks, as confidential guests do, and the host converts. */
enum { GUEST_VCPUS = 2, HC_MAP_GPA_RANGE = 12, HC_ENCRYPTED = 1 << 4 };

static struct {
    struct mem mem;
    size_t share;       /* of each vCPU, in pages */
} guest;

static int guest_convert(int n, size_t first, size_t npages, bool private)
{
    struct vm *vm = guest.mem.vm;
    struct kvm_run *run = vm->run[n];
    uint64_t gpa = DATA_GPA + first * PAGE;
    int r = vcpu_run(vm, n, GUEST(hypercall), HC_MAP_GPA_RANGE, gpa, npages,
                     private ? HC_ENCRYPTED : 0);

    if (r != KVM_EXIT_HYPERCALL || run->hypercall.nr != HC_MAP_GPA_RANGE ||
        run->hypercall.args[0] != gpa || run->hypercall.args[1] != npages) {
        return r ?: -1;
    }
    run->hypercall.ret = convert(&guest.mem, first, npages,
                                 run->hypercall.args[2] & HC_ENCRYPTED, NULL);
    return vcpu_resume(vm, n);
}

static void *guest_driven(void *arg)
{
    int n = (intptr_t)arg;
    size_t start = n * guest.share;
    const struct {
        size_t first, npages;
    } ranges[] = {
        { 0, 1 }, { PAGES_2M - 1, 2 }, { 3, PAGES_2M }, { 0, PAGES_2M },
        { PAGES_2M, PAGES_2M }, { 7, 2 * PAGES_2M }, { hpages - 1, 1 },
        { 0, guest.share }, { 1, guest.share - 2 },
    };
    /* It takes its time to share all of 1 GiB by the page. */
    size_t limit = order == ORDER_2M ? -1 : 4 * PAGES_2M, i;

    for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        size_t first = start + ranges[i].first;
        size_t last = first + ranges[i].npages - 1;
        uint32_t tag = 0x1000 * (n + 1) + i;

        if (ranges[i].npages > limit) {
            continue;
        }
        check(vcpu_run(guest.mem.vm, n, GUEST(fill), tag, DATA_GPA +
                       first * PAGE, ranges[i].npages, 0) == 0);
        check(!accessible(page(&guest.mem, first)));
        check(guest_convert(n, first, ranges[i].npages, false) == 0,
              "range %zu", i);
        check(peek(page(&guest.mem, first)) == tag &&
              peek(page(&guest.mem, last)) == tag, "range %zu", i);
        check(first == start || !accessible(page(&guest.mem, first - 1)));
        check(last + 1 == start + guest.share ||
              !accessible(page(&guest.mem, last + 1)));
        check(poke(page(&guest.mem, last), tag + 0x100));
        check(guest_convert(n, first, ranges[i].npages, true) == 0,
              "range %zu", i);
        check(!accessible(page(&guest.mem, first)) &&
              !accessible(page(&guest.mem, last)));
        check(vcpu_run(guest.mem.vm, n, GUEST(compare), tag + 0x100,
                       DATA_GPA + last * PAGE, 1, 0) == 0, "range %zu", i);
    }
    return NULL;
}

static void test_guest_driven(void)
{
    struct kvm_enable_cap cap = {
        .cap = CAP_EXIT_HYPERCALL, .args[0] = 1 << HC_MAP_GPA_RANGE,
    };
    pthread_t threads[GUEST_VCPUS];
    struct vm vm;
    size_t half;
    int i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, GUEST_VCPUS);
    check(!ioctl(vm.fd, KVM_ENABLE_CAP, &cap));
    guest.share = order == ORDER_2M ? 3 * hpages : hpages;
    huge_create(&guest.mem, &vm, GUEST_VCPUS * guest.share / hpages, 0);

    /* Two memslots, of which one ends where the other starts. */
    half = guest.mem.npages / 2 * PAGE;
    check(!set_region(&vm, 1, DATA_GPA, 0, guest.mem.map, guest.mem.fd, 0));
    check(!set_region(&vm, 1, DATA_GPA, half, guest.mem.map, guest.mem.fd, 0));
    check(!set_region(&vm, 2, DATA_GPA + half, half, guest.mem.map + half,
                      guest.mem.fd, half));
    for (i = 0; i < GUEST_VCPUS; i++) {
        pthread_create(&threads[i], NULL, guest_driven, (void *)(intptr_t)i);
    }
    for (i = 0; i < GUEST_VCPUS; i++) {
        pthread_join(threads[i], NULL);
    }
    mem_destroy(&guest.mem);
    vm_destroy(&vm);
}

/* What is done to a mapping does not stand in the way of conversion. */
static void test_mapping_calls(void)
{
    struct mem mem;
    struct vm vm;
    char *moved, *away;
    size_t n = hpages / 2;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, 1, 0);
    check(to_shared(&mem, n, 16) == 0);
    check(!mlock(page(&mem, n), 16 * PAGE));
    check(poke(page(&mem, n), 1) && poke(page(&mem, n + 15), 2));
    check(to_private(&mem, n, 8) == 0, "mlock");
    check(!accessible(page(&mem, n)) && peek(page(&mem, n + 15)) == 2);
    check(!munlock(page(&mem, n), 16 * PAGE));

    away = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    moved = mremap(page(&mem, n), 16 * PAGE, 16 * PAGE,
                   MREMAP_MAYMOVE | MREMAP_FIXED, away);
    check(moved == away);
    check(!accessible(moved) && peek(moved + 15 * PAGE) == 2);
    check(to_private(&mem, n, 16) == 0, "mremap");
    check(!accessible(moved + 15 * PAGE));
    check(to_shared(&mem, n, 1) == 0 && peek(moved) == 1);

    check(!madvise(moved, 16 * PAGE, MADV_DONTNEED));
    check(peek(moved) == 1 && !accessible(moved + PAGE));
    check(!mprotect(moved, 16 * PAGE, PROT_READ));
    check(peek(moved) == 1);
    check(to_private(&mem, 0, hpages) == 0);
    check(!accessible(moved) && guest_peek(&mem, n + 15) == 2);
    munmap(moved, 16 * PAGE);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Reclaim, which would split a huge page or write it out, leaves it alone. */
static void test_reclaim(void)
{
    size_t n = hpages / 2;
    struct mappings code;
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_DEFAULT, 1);
    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    count_code(&vm, &code);
    check(poke(page(&mem, 0), 1) && poke(page(&mem, n), 2));
    check(!madvise(page(&mem, n), PAGE, MADV_COLD));
    check(!madvise(page(&mem, n), PAGE, MADV_PAGEOUT));
    check(!madvise(mem.map, hsize, MADV_PAGEOUT));
    check(peek(page(&mem, 0)) == 1 && peek(page(&mem, n)) == 2);
    check(guest_peek(&mem, n) == 2);
    check_huge_mappings(&vm, &code, 1l, 0l);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Memory that is locked is given back, too. */
static void test_locked(void)
{
    struct pool before, now;
    struct mem mem;
    struct vm vm;
    int i;

    for (i = 0; i < 2; i++) {
        vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
        pool_read(&before);
        huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
        check(!mlock(mem.map, 16 * PAGE));
        check(poke(page(&mem, 1), 1));
        if (i) {
            check(to_private(&mem, 0, hpages) == 0);
        }
        mem_destroy(&mem);
        pool_read(&now);
        check(pool_equal(&before, &now));
        vm_destroy(&vm);
    }
}

static long bind_node(void *addr, size_t len, int node)
{
    unsigned long mask = 1ul << node;

    return syscall(SYS_mbind, addr, len, 2 /* MPOL_BIND */, &mask, 8, 0);
}

/* Huge pages come from the node that the policy names, or not at all. */
static void test_numa(void)
{
    struct pool before, now;
    struct pre_fault range = { .gpa = DATA_GPA, .size = PAGE };
    struct mem mem, all;
    unsigned long mask = 0;
    struct vm vm;
    int node, policy = -1;
    long nr;

    if (pool_nodes() < 2) {
        tap_skip("there is a single node");
        return;
    }
    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    pool_read(&before);
    for (node = 0; node < 2; node++) {
        huge_create(&mem, &vm, 1, node ? FLAG_INIT_SHARED : 0);
        check(!bind_node(mem.map, hsize, node));
        check(!syscall(SYS_get_mempolicy, &policy, &mask, 8 * sizeof(mask),
                       mem.map, 2 /* MPOL_F_ADDR */));
        check(policy == 2 && mask == 1ul << node, "policy %d", policy);
        check(node ? poke(mem.map, 1) : guest_poke(&mem, 0, 1) == 0);
        pool_read(&now);
        check(now.node[node][POOL_FREE] == before.node[node][POOL_FREE] - 1);
        check(now.node[!node][POOL_FREE] == before.node[!node][POOL_FREE]);

        /* Huge pages don't move, but those that replace them do. */
        check(!bind_node(mem.map, hsize, !node));
        check(guest_peek(&mem, 0) == 1);
        check(punch(mem.fd, 0, hsize) == 0 && guest_peek(&mem, 0) == 0);
        pool_read(&now);
        check(now.node[node][POOL_FREE] == before.node[node][POOL_FREE]);
        check(now.node[!node][POOL_FREE] == before.node[!node][POOL_FREE] - 1);
        mem_destroy(&mem);
    }

    /* One file takes all of node 1, so that another one gets nothing. */
    nr = before.node[1][POOL_FREE];
    mem_create_huge(&all, &vm, nr * hpages, 0, order);
    check(!set_region(&vm, 1, DATA_GPA, 0, all.map, all.fd, 0));
    check(!bind_node(all.map, nr * hsize, 1));
    check(allocate(all.fd, 0, nr * hsize) == 0);
    pool_read(&now);
    check(now.node[1][POOL_FREE] == 0 &&
          now.node[0][POOL_FREE] == before.node[0][POOL_FREE]);
    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    check(!bind_node(mem.map, hsize, 1));
    check(!accessible(page(&mem, 3)) && !poke(page(&mem, 3), 1));
    check(guest_peek(&mem, 3) == -ENOMEM);
    check(ioctl(vm.vcpu[0], PRE_FAULT_MEMORY, &range) && errno == ENOMEM);
    check(allocate(mem.fd, 0, hsize) && errno == ENOMEM);
    check(blocks(mem.fd) == 0);
    check(!bind_node(mem.map, hsize, 0));
    check(poke(page(&mem, 3), 1) && guest_peek(&mem, 3) == 1);
    munmap(all.map, nr * hsize);
    close(all.fd);
    mem_destroy(&mem);
    pool_read(&now);
    check(pool_equal(&before, &now));
    vm_destroy(&vm);
}

/* The control group's reservation is charged at creation. */
static void test_cgroup(void)
{
    static const char dir[] = "/sys/fs/cgroup/gmem-huge";
    const char *size = order == ORDER_2M ? "2MB" : "1GB";
    char current[80], max[80], procs[80], limit[32];
    struct mem mem;
    struct vm vm;
    int fd;

    snprintf(current, sizeof(current), "%s/hugetlb.%s.rsvd.current", dir, size);
    snprintf(max, sizeof(max), "%s/hugetlb.%s.rsvd.max", dir, size);
    snprintf(procs, sizeof(procs), "%s/cgroup.procs", dir);
    snprintf(limit, sizeof(limit), "%zu", hsize);
    if (!check(write_string("/sys/fs/cgroup/cgroup.subtree_control",
                            "+hugetlb") && !mkdir(dir, 0700) &&
               write_string(procs, "0"), "control group")) {
        return;
    }

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    check(read_number(current, "") == 0);
    huge_create(&mem, &vm, 2, FLAG_INIT_SHARED);
    check(read_number(current, "") == 2 * (long)hsize);
    check(poke(page(&mem, 0), 1) && to_private(&mem, 0, 5) == 0);
    check(punch(mem.fd, 0, hsize) == 0);
    check(read_number(current, "") == 2 * (long)hsize);
    mem_destroy(&mem);
    check(read_number(current, "") == 0);

    check(write_string(max, limit));
    check(gmem_create_huge(&vm, 2 * hsize, 0, order) < 0 && errno == ENOMEM);
    check(read_number(current, "") == 0);
    fd = gmem_create_huge(&vm, hsize, 0, order);
    check(fd >= 0);
    check(gmem_create_huge(&vm, hsize, 0, order) < 0 && errno == ENOMEM);
    check(read_number(current, "") == (long)hsize);
    close(fd);
    check(read_number(current, "") == 0);
    vm_destroy(&vm);
    check(write_string("/sys/fs/cgroup/cgroup.procs", "0") && !rmdir(dir),
          "control group");
}

/* Random ranges, compared with a state per page. */
static void test_random(void)
{
    size_t nr = order == ORDER_2M ? 3 : 2, npages = nr * hpages;
    /* Pages that are looked at; ranges start or end at or next to them. */
    enum { POINTS = 64 };
    size_t point[POINTS];
    bool private[POINTS];
    uint32_t value[POINTS];
    unsigned int seed = 4711;
    int steps = order == ORDER_2M ? 300 : 24;
    struct mem mem;
    struct vm vm;
    int i, j;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, nr, 0);
    for (j = 0; j < POINTS; j++) {
        point[j] = j % 4 ? rand_r(&seed) % npages :
                   j / 4 % nr * hpages + samples[j / 4 % nr_samples];
        private[j] = true;
        value[j] = 0;
    }
    for (i = 0; i < steps; i++) {
        size_t first = point[rand_r(&seed) % POINTS];
        size_t n = i % 4 ? 1 + rand_r(&seed) % 600 : rand_r(&seed) % npages + 1;
        int what = rand_r(&seed) % 16;

        if (first + n > npages) {
            n = npages - first;
        }
        if (what == 0) {
            first = first / hpages * hpages;
            n = hpages;
            check(punch(mem.fd, first * PAGE, n * PAGE) == 0);
        } else if (what < 4) {
            guest_fill(&mem, first, n, i);
        } else {
            check(convert(&mem, first, n, what % 2, NULL) == 0);
        }
        for (j = 0; j < POINTS; j++) {
            int64_t got;

            if (point[j] >= first && point[j] < first + n) {
                if (what == 0) {
                    value[j] = 0;
                } else if (what < 4) {
                    value[j] = i;
                } else {
                    private[j] = what % 2;
                }
            }
            got = peek(page(&mem, point[j]));
            if (!check(got == (private[j] ? -1 : (int64_t)value[j]),
                       "step %d, page %zu: %lld", i, point[j],
                       (long long)got)) {
                i = steps;
                break;
            }
        }
    }
    for (j = 0; j < POINTS; j++) {
        check(guest_peek(&mem, point[j]) == value[j], "page %zu", point[j]);
    }
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/*
 * Concurrency.  Every page holds zero or its own number, as nobody writes
 * anything else, whoever converts, punches and maps it meanwhile.
 */
enum { RACE_VCPUS = 2, RACE_ROUNDS = 1000, CONVERTERS = 2 };

static struct {
    struct mem mem;
    size_t first, npages;   /* where all happens */
    bool stop;
    unsigned int conversions;
    unsigned int retries;
    unsigned int spurious;
    unsigned int reads;
    unsigned int punched;
} race;

static bool race_over(void)
{
    return __atomic_load_n(&race.stop, __ATOMIC_RELAXED);
}

static void race_count(unsigned int *counter)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

/* Around the place where two huge pages, or two halves of one, meet. */
static void race_start(struct vm *vm)
{
    memset(&race, 0, sizeof(race));
    vm_create(vm, VM_TYPE_SW_PROTECTED, RACE_VCPUS);
    huge_create(&race.mem, vm, order == ORDER_2M ? 3 : 2,
                order == ORDER_2M ? FLAG_INIT_SHARED : 0);
    race.npages = 2 * PAGES_2M;
    race.first = order == ORDER_2M ? PAGES_2M / 2 : hpages - race.npages / 2;
}

static void race_end(struct vm *vm)
{
    printf("# %u conversions, %u retries, %u memory faults, %u reads, "
           "%u holes\n", race.conversions, race.retries, race.spurious,
           race.reads, race.punched);
    mem_destroy(&race.mem);
    vm_destroy(vm);
}

static void *race_converter(void *arg)
{
    unsigned int seed = (intptr_t)arg;

    while (!race_over()) {
        size_t first = race.first + rand_r(&seed) % race.npages;
        size_t n = 1 + rand_r(&seed) % (race.first + race.npages - first);
        int r;

        /* Single pages keep huge pages split; all of them merges them. */
        if (rand_r(&seed) % 2) {
            n = 1;
        } else if (!(rand_r(&seed) % 8)) {
            first = order == ORDER_2M ? 0 : race.first;
            n = order == ORDER_2M ? race.mem.npages : race.npages;
        }
        if (rand_r(&seed) % 2) {
            r = to_private_retry(&race.mem, first, n, &race.retries);
        } else {
            r = to_shared(&race.mem, first, n);
        }
        if (!check(r == 0, "converter: %d", r)) {
            break;
        }
        race_count(&race.conversions);
    }
    return NULL;
}

static void *race_vcpu(void *arg)
{
    int n = (intptr_t)arg;
    size_t npages = race.npages / RACE_VCPUS;
    int r = vcpu_count(race.mem.vm, n, DATA_GPA + (race.first + n * npages) *
                       PAGE, npages, RACE_ROUNDS, &race.spurious);

    check(r == 0, "vCPU %d: %d, port 0x%x", n, r,
          race.mem.vm->run[n]->io.port);
    return NULL;
}

/* Reads only, and takes a SIGBUS for what it is. */
static void *race_toucher(void *arg)
{
    unsigned int seed = (intptr_t)arg;

    while (!race_over()) {
        if (accessible(page(&race.mem, race.first +
                            rand_r(&seed) % race.npages))) {
            race_count(&race.reads);
        }
    }
    return NULL;
}

/* Does to a mapping what can be done to a mapping. */
static void *race_mapper(void *arg)
{
    size_t size = race.npages * PAGE;
    char *map, *moved;
    pid_t pid;
    int i;

    for (i = 0; !race_over(); i++) {
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, race.mem.fd,
                   race.first * PAGE);
        if (!check(map != MAP_FAILED)) {
            break;
        }
        accessible(map);
        /* Fails where memory is private. */
        mlock(map, 16 * PAGE);
        accessible(map + size - PAGE);
        check(!madvise(map + size / 2, size / 2, MADV_DONTNEED));
        accessible(map + size - PAGE);
        if (!(i % 8)) {
            pid = fork();
            if (!pid) {
                accessible(map);
                _exit(0);
            }
            check(waitpid(pid, NULL, 0) == pid);
        }
        moved = mremap(map, size, size / 2, 0);
        check(moved == map);
        accessible(moved);
        munmap(moved, size / 2);
    }
    return NULL;
}

/* Either pins a page or finds it private. */
static void *race_pinner(void *arg)
{
    unsigned int i = 0;
    struct pin p;

    while (!race_over()) {
        pin(&p, i % 4 ? PIN_VMSPLICE : PIN_IO_URING,
            page(&race.mem, race.first + i % 4), 1);
        unpin(&p);
        i++;
    }
    return NULL;
}

static void run_race(bool host)
{
    pthread_t vcpus[RACE_VCPUS], others[CONVERTERS + 3];
    struct vm vm;
    size_t i;
    int nr = 0;

    race_start(&vm);
    for (i = 0; i < CONVERTERS; i++) {
        pthread_create(&others[nr++], NULL, race_converter,
                       (void *)(intptr_t)(i + 1));
    }
    if (host) {
        pthread_create(&others[nr++], NULL, race_toucher, (void *)99);
        pthread_create(&others[nr++], NULL, race_mapper, NULL);
        pthread_create(&others[nr++], NULL, race_pinner, NULL);
    }
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_create(&vcpus[i], NULL, race_vcpu, (void *)(intptr_t)i);
    }
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_join(vcpus[i], NULL);
    }
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    while (nr) {
        pthread_join(others[--nr], NULL);
    }

    check(to_shared(&race.mem, race.first, race.npages) == 0);
    for (i = race.first; i < race.first + race.npages; i++) {
        int64_t got = peek(page(&race.mem, i));

        if (!check(got == RACE_ROUNDS, "page %zu: %lld", i,
                   (long long)got)) {
            break;
        }
    }
    check(race.conversions > 0 && (!host || race.reads > 0));
    race_end(&vm);
}

static void test_race_vcpus(void)
{
    run_race(false);
}

static void test_race_host(void)
{
    run_race(true);
}

static void *race_puncher(void *arg)
{
    unsigned int seed = 5;
    int i;

    /* It takes its time to zero 1 GiB, again and again. */
    for (i = 0; !race_over() && (order == ORDER_2M || i < 8); i++) {
        size_t nr = race.mem.npages / hpages;
        size_t first = rand_r(&seed) % nr;
        size_t n = 1 + rand_r(&seed) % (nr - first);

        if (rand_r(&seed) % 2) {
            check(allocate(race.mem.fd, first * hsize, n * hsize) == 0);
        } else if (!punch(race.mem.fd, first * hsize, n * hsize)) {
            race_count(&race.punched);
        } else {
            check(errno == EAGAIN, "punch");
        }
    }
    return NULL;
}

static void *race_rebinder(void *arg)
{
    struct mem *mem = &race.mem;
    int i;

    for (i = 0; i < (order == ORDER_2M ? 200 : 20); i++) {
        check(!set_region(mem->vm, 1, DATA_GPA, 0, mem->map, mem->fd, 0));
        check(!set_region(mem->vm, 1, DATA_GPA, mem->npages * PAGE, mem->map,
                          mem->fd, 0));
    }
    return NULL;
}

/* Writes pages' numbers, and reads what became of them. */
static void *race_writer(void *arg)
{
    int n = (intptr_t)arg;
    struct vm *vm = race.mem.vm;
    unsigned int seed = n + 40;

    while (!race_over()) {
        size_t p = race.first + rand_r(&seed) % race.npages;
        struct kvm_regs regs;
        bool write = rand_r(&seed) % 2;
        int r = vcpu_run(vm, n, write ? GUEST(write) : GUEST(read), 0,
                         DATA_GPA + p * PAGE, p, 0);

        /* MMIO while there is no memslot, or a state that was just changed. */
        if (r) {
            check(r == KVM_EXIT_MMIO || r == -EAGAIN ||
                  (r == -EFAULT &&
                   vm->run[n]->exit_reason == EXIT_MEMORY_FAULT),
                  "guest: %d, exit %u, suberror %u", r,
                  vm->run[n]->exit_reason, vm->run[n]->internal.suberror);
            race_count(&race.spurious);
            continue;
        }
        if (!write && !ioctl(vm->vcpu[n], KVM_GET_REGS, &regs)) {
            check((uint32_t)regs.rax == 0 || (uint32_t)regs.rax == p,
                  "guest, page %zu: %llx", p, regs.rax);
        }
    }
    return NULL;
}

static void *race_reader(void *arg)
{
    unsigned int seed = (intptr_t)arg;

    while (!race_over()) {
        size_t p = race.first + rand_r(&seed) % race.npages;
        int64_t got = peek(page(&race.mem, p));

        if (got != -1) {
            race_count(&race.reads);
            check(got == 0 || got == p, "host, page %zu: %llx", p,
                  (long long)got);
        }
    }
    return NULL;
}

static void test_race_memslots(void)
{
    pthread_t threads[8];
    struct vm vm;
    int i, nr = 0;

    race_start(&vm);
    pthread_create(&threads[nr++], NULL, race_rebinder, NULL);
    pthread_create(&threads[nr++], NULL, race_puncher, NULL);
    pthread_create(&threads[nr++], NULL, race_converter, (void *)3);
    pthread_create(&threads[nr++], NULL, race_converter, (void *)4);
    pthread_create(&threads[nr++], NULL, race_reader, (void *)5);
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_create(&threads[nr++], NULL, race_writer, (void *)(intptr_t)i);
    }
    pthread_join(threads[0], NULL);
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    for (i = 1; i < nr; i++) {
        pthread_join(threads[i], NULL);
    }
    check(race.conversions > 0 && race.punched > 0);
    race_end(&vm);
}

/* A memory error is a problem of one page only, and of the pool. */
static void run_poison(int type)
{
    struct pool before, now;
    /* All of 2 MiB is looked at, of 1 GiB what is around. */
    size_t bad = hpages / 2 + 9, i;
    size_t first = hpages / 2 - PAGES_2M / 2, last = first + PAGES_2M;
    struct mem mem;
    struct vm vm;

    vm_create(&vm, type, 1);
    pool_read(&before);
    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    for (i = bad - 9; i < bad + 10; i++) {
        check(guest_poke(&mem, i, i) == 0);
        check(peek(page(&mem, i)) == i);
    }

    /* Raises SIGBUS itself, as the page is mapped here. */
    sigbus_expected = 1;
    if (!sigsetjmp(sigbus_env, 1)) {
        check(!madvise(page(&mem, bad), PAGE, MADV_HWPOISON));
    }
    sigbus_expected = 0;

    check(!accessible(page(&mem, bad)), "type %d", type);
    check(guest_peek(&mem, bad) == -EHWPOISON, "type %d", type);
    check(vm.run[0]->exit_reason == EXIT_MEMORY_FAULT &&
          memory_fault(&vm, 0)->gpa == DATA_GPA + bad * PAGE);
    for (i = first; i < last; i++) {
        uint32_t v = i >= bad - 9 && i < bad + 10 ? i : 0;

        if (i != bad) {
            check(peek(page(&mem, i)) == v, "type %d, page %zu", type, i);
            check(guest_peek(&mem, i) == v, "type %d, page %zu", type, i);
        }
    }
    mem_destroy(&mem);
    vm_destroy(&vm);

    pool_read(&now);
    check(now.total[POOL_NR] == before.total[POOL_NR] - 1 &&
          now.total[POOL_FREE] == before.total[POOL_FREE] - 1 &&
          now.total[POOL_RESV] == before.total[POOL_RESV] &&
          now.total[POOL_SURPLUS] == before.total[POOL_SURPLUS],
          "type %d: %ld pages, %ld free", type, now.total[POOL_NR],
          now.total[POOL_FREE]);
    if (order == ORDER_2M) {
        pool_resize(before.total[POOL_NR]);
    }
}

static void test_poison(void)
{
    run_poison(VM_TYPE_SW_PROTECTED);
}

static void test_poison_ordinary(void)
{
    run_poison(VM_TYPE_DEFAULT);
}

/* A pool can shrink although its pages are on loan; they leave it later. */
static void test_shrink(void)
{
    struct pool before, now;
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    pool_read(&before);
    huge_create(&mem, &vm, 1, 0);
    check(guest_poke(&mem, 1, 0x77) == 0);
    pool_resize(0);
    pool_read(&now);
    check(now.total[POOL_NR] == 1 && now.total[POOL_SURPLUS] == 1 &&
          now.total[POOL_FREE] == 0, "%ld pages, %ld surplus",
          now.total[POOL_NR], now.total[POOL_SURPLUS]);
    check(to_shared(&mem, 1, 1) == 0 && peek(page(&mem, 1)) == 0x77);
    check(punch(mem.fd, 0, hsize) == 0);
    check(peek(page(&mem, 1)) == 0 && guest_peek(&mem, 0) == 0);
    mem_destroy(&mem);
    pool_read(&now);
    check(now.total[POOL_NR] == 0 && now.total[POOL_SURPLUS] == 0 &&
          now.total[POOL_FREE] == 0 && now.total[POOL_RESV] == 0,
          "%ld pages, %ld surplus", now.total[POOL_NR],
          now.total[POOL_SURPLUS]);
    check(gmem_create_huge(&vm, hsize, 0, order) < 0 && errno == ENOMEM);
    if (order == ORDER_2M) {
        pool_resize(before.total[POOL_NR]);
    }
    vm_destroy(&vm);
}

/* Everything is given back, whatever state it is in. */
static void test_cycles(void)
{
    int rounds = order == ORDER_2M ? 1000 : 20, i;
    struct pool before, now;
    struct mem mem;
    struct pin p;
    struct vm vm;

    pool_read(&before);
    for (i = 0; i < rounds; i++) {
        size_t nr = 1 + i % 2;
        size_t n = (nr - 1) * hpages + i % 64;
        bool shared = i % 3 == 1, pinned = i % 20 == 7;

        if (!(i % 10)) {
            vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
        }
        huge_create(&mem, &vm, nr, shared ? FLAG_INIT_SHARED : 0);
        check(shared ? poke(page(&mem, n), i) : guest_poke(&mem, n, i) == 0);
        check(convert(&mem, n, 1 + i % 17, shared, NULL) == 0);
        check(guest_peek(&mem, n) == i);
        if (i % 5 == 1) {
            check(to_private(&mem, 0, mem.npages) == 0);
        }
        if (i % 7 == 1) {
            check(punch(mem.fd, (nr - 1) * hsize, hsize) == 0);
        }
        if (pinned) {
            check(to_shared(&mem, n, 1) == 0);
            check(pin(&p, i % 40 == 7 ? PIN_VMSPLICE : PIN_IO_URING,
                      page(&mem, n), 1));
        }
        if (i % 4) {
            mem_destroy(&mem);
        } else {
            munmap(mem.map, mem.npages * PAGE);
            close(mem.fd);
            check(!set_region(&vm, 1, DATA_GPA, 0, mem.map, -1, 0));
        }
        if (i % 10 == 9) {
            vm_destroy(&vm);
        }
        if (pinned) {
            unpin(&p);
            check(pool_await(&before), "cycle %d", i);
        } else {
            pool_read(&now);
            check(pool_equal(&before, &now), "cycle %d", i);
        }
    }
    pool_read(&now);
    check(pool_equal(&before, &now));
}

static const struct test tests[] = {
    { "arguments", test_arguments },
    { "file", test_file },
    { "allocation", test_allocation },
    { "exhaustion", test_exhaustion },
    { "lendable", test_lendable },
    { "cgroup", test_cgroup },
    { "numa", test_numa },
    { "init", test_init },
    { "indexing", test_indexing },
    { "unallocated", test_unallocated },
    { "zero", test_zero },
    { "punch", test_punch },
    { "memslots", test_memslots },
    { "mappings", test_mappings },
    { "ordinary", test_ordinary },
    { "misaligned", test_misaligned },
    { "pre-fault", test_pre_fault },
    { "pinned", test_pinned },
    { "pinned-merge", test_pinned_merge },
    { "pinned-free", test_pinned_free },
    { "processes", test_processes },
    { "guest-driven", test_guest_driven },
    { "mapping-calls", test_mapping_calls },
    { "reclaim", test_reclaim },
    { "locked", test_locked },
    { "random", test_random },
    { "race-vcpus", test_race_vcpus },
    { "race-host", test_race_host },
    { "race-memslots", test_race_memslots },
    { "cycles", test_cycles },
    /* These take pages of 1 GiB from the pool for good. */
    { "poison", test_poison },
    { "poison-ordinary", test_poison_ordinary },
    { "shrink", test_shrink },
};

int main(int argc, char **argv)
{
    const char *reason = kvm_open();
    bool small = argc > 1 && !strcmp(argv[1], "2M");

    if (!small && (argc < 2 || strcmp(argv[1], "1G"))) {
        fprintf(stderr, "usage: %s 2M|1G [NAME...]\n", argv[0]);
        return 2;
    }
    choose_pages(small ? ORDER_2M : ORDER_1G);
    if (!reason && !kvm_parameter("gmem_in_place_conversion")) {
        reason = "in-place conversion is off";
    }
    if (!reason && !pool_init(order)) {
        reason = "the processor has no pages of this size";
    }
    if (reason) {
        printf("1..0 # SKIP %s\n", reason);
        return 0;
    }
    sigbus_init();
    signal(SIGPIPE, SIG_IGN);
    return tap_run(tests, sizeof(tests) / sizeof(tests[0]), argv + 2);
}
