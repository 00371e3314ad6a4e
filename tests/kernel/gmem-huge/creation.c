/*
 * Tests of what can be created, and of what creation promises and takes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "files.h"
#include "huge.h"
#include "memory.h"
#include "pool.h"
#include "tap.h"
#include "tests.h"

/* Creation, and what can be asked for. */
void test_arguments(void)
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
        check(vm_cap(vm.fd, CAP_GUEST_MEMFD_PAGE_ORDERS) ==
              (1 << ORDER_2M | 1 << ORDER_1G));

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
        for (i = 0; i < sizeof(a.reserved) / sizeof(a.reserved[0]); i++) {
            a = good;
            a.reserved[i] = 1;
            check(ioctl(vm.fd, CREATE_GUEST_MEMFD, &a) < 0 && errno == EINVAL,
                  "reserved field %zu", i);
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
void test_file(void)
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

/* All memory is reserved at creation, and nobody else gets it. */
void test_exhaustion(void)
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
    check(pool_is(&before), "after failure");

    if (order == ORDER_2M) {
        pool_overcommit(16);
        fd = gmem_create_huge(&vm, (nr + 1) * hsize, 0, order);
        check(fd >= 0, "surplus pages");
        close(fd);
        pool_overcommit(0);
        check(pool_is(&before), "after surplus pages");
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
    check(pool_is(&before));
    vm_destroy(&vm);
}

/* Pages that cannot be pinned for long are never taken, though reserved. */
void test_lendable(void)
{
    bool movable = getenv("MOVABLE_POOL");
    struct pool before;
    struct vm vm;
    long nr, taken;
    int fd;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 0);
    pool_read(&before);
    nr = before.total[POOL_FREE];
    fd = gmem_create_huge(&vm, nr * hsize, 0, order);
    check(fd >= 0);
    check(movable ? allocate(fd, 0, nr * hsize) && errno == ENOMEM :
          allocate(fd, 0, nr * hsize) == 0);
    taken = blocks(fd) * 512 / (long)hsize;
    printf("# %ld of %ld free pages\n", taken, nr);
    check(taken && (taken < nr) == movable);
    close(fd);
    check(pool_is(&before));
    vm_destroy(&vm);
}

/* The same for what is used, and for who uses it first. */
static void check_use(const char *dir, const char *size)
{
    char current[80], max[80], limit[32];
    struct mem mem;
    struct vm vm;

    snprintf(current, sizeof(current), "%s/hugetlb.%s.current", dir, size);
    snprintf(max, sizeof(max), "%s/hugetlb.%s.max", dir, size);
    snprintf(limit, sizeof(limit), "%zu", hsize);

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, 2, FLAG_INIT_SHARED);
    check(read_number(current, "") == 0);
    check(write_string(max, limit));
    check(guest_poke(&mem, 1, 1) == 0);
    check(read_number(current, "") == (long)hsize);
    check(guest_poke(&mem, hpages, 1) == -ENOMEM);
    check(!accessible(page(&mem, hpages)));
    check(allocate(mem.fd, hsize, hsize) && errno == ENOMEM);
    check(peek(page(&mem, 1)) == 1 && to_private(&mem, 0, 5) == 0);
    check(read_number(current, "") == (long)hsize);
    check(punch(mem.fd, 0, hsize) == 0);
    check(read_number(current, "") == 0);
    check(poke(page(&mem, hpages), 2) && guest_peek(&mem, hpages) == 2);
    check(read_number(current, "") == (long)hsize);
    mem_destroy(&mem);
    check(read_number(current, "") == 0);
    check(write_string(max, "max"));
    vm_destroy(&vm);
}

/* The control group's reservation is charged at creation. */
void test_cgroup(void)
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
    check(write_string(max, "max"));
    check_use(dir, size);
    check(write_string("/sys/fs/cgroup/cgroup.procs", "0") && !rmdir(dir),
          "control group");
}
