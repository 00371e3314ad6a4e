/*
 * Tests of memslots, and of how large the mappings are that a guest gets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include "files.h"
#include "huge.h"
#include "memory.h"
#include "pin.h"
#include "pool.h"
#include "tap.h"
#include "tests.h"

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
void test_mappings(void)
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
void test_ordinary(void)
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

static long page_faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/* The host's mappings of it are as large, too, if they are aligned. */
void test_host_mappings(void)
{
    struct mem mem;
    struct pin p;
    struct vm vm;
    char *area, *map;
    long before;
    size_t i;

    vm_create(&vm, VM_TYPE_DEFAULT, 1);
    huge_create(&mem, &vm, 1, FLAG_INIT_SHARED);
    area = mmap(NULL, 2 * hsize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    map = (char *)(((uintptr_t)area + hsize - 1) & -hsize);
    check(mmap(map, hsize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
               mem.fd, 0) == map);
    before = page_faults();
    for (i = 0; i < hpages; i += 61) {
        check(poke(map + i * PAGE, i));
    }
    check(page_faults() == before + 1, "%ld page faults",
          page_faults() - before);
    check(guest_peek(&mem, 61) == 61 && peek(page(&mem, 122)) == 122);

    /* Parts of it can be used by themselves. */
    check(pin(&p, PIN_VMSPLICE, map + 61 * PAGE, 1));
    check(punch(mem.fd, 0, hsize) && errno == EAGAIN);
    unpin(&p);
    check(!mprotect(map, hsize / 2, PROT_READ));
    check(peek(map + 61 * PAGE) == 61);
    check(poke(map + hsize / 2, 5) && guest_peek(&mem, hpages / 2) == 5);
    munmap(map, hsize / 2);
    check(peek(map + hsize / 2) == 5);
    check(punch(mem.fd, 0, hsize) == 0 && peek(map + hsize / 2) == 0);
    munmap(area, 2 * hsize);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Page structures are restored for what the host uses of it, and no others. */
void test_vmemmap(void)
{
    static const char stat[] = "/proc/vmstat", used[] = "nr_memmap_pages ";
    size_t n = hpages / 2 + 9;
    struct mem mem;
    struct vm vm;
    long before;

    if (read_number("/proc/sys/vm/hugetlb_optimize_vmemmap", "") != 1) {
        tap_skip("page structures are not optimized");
        return;
    }
    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    before = read_number(stat, used);
    huge_create(&mem, &vm, 1, 0);
    check(guest_poke(&mem, n, 0x71) == 0);
    check(to_shared(&mem, n, 2) == 0);
    check(read_number(stat, used) == before);
    check(peek(page(&mem, n)) == 0x71 && peek(page(&mem, n + 1)) == 0);
    check(read_number(stat, used) == before + 1);

    /* Without the first, the others have no head. */
    check(to_shared(&mem, 0, 1) == 0 && poke(page(&mem, 0), 0x72));
    check(read_number(stat, used) == before + 1);
    check(to_shared(&mem, hpages - 1, 1) == 0);
    check(poke(page(&mem, hpages - 1), 0x73));
    check(read_number(stat, used) == before + 2);
    check(to_private(&mem, 0, hpages) == 0);
    check(guest_peek(&mem, 0) == 0x72 && guest_peek(&mem, n) == 0x71 &&
          guest_peek(&mem, hpages - 1) == 0x73);
    mem_destroy(&mem);
    check(read_number(stat, used) == before);
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

void test_memslots(void)
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

    /* An ordinary VM has all of a file, whatever the host may access. */
    vm_create(&vm, VM_TYPE_DEFAULT, 1);
    huge_create(&mem, &vm, 1, 0);
    check(guest_poke(&mem, 1, 4) == 0 && guest_peek(&mem, 1) == 4);
    check(!accessible(page(&mem, 1)));
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* A huge page that is not aligned in the guest is mapped in smaller pieces. */
void test_misaligned(void)
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

void test_pre_fault(void)
{
    size_t nr = 2;
    struct pre_fault range;
    struct mappings code;
    struct mem mem;
    struct vm vm;
    int i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    huge_create(&mem, &vm, nr, 0);
    count_code(&vm, &code);
    for (i = 0; i < 2; i++) {
        range = (struct pre_fault) {
            .gpa = DATA_GPA, .size = nr * hsize + PAGE
        };
        check(vcpu_pre_fault(&vm, 0, &range) == -ENOENT, "end of the memslot");
        check(range.size == PAGE && range.gpa == DATA_GPA + nr * hsize);
        check_huge_mappings(&vm, &code, (long)nr, 0l);
        check(blocks(mem.fd) == (long)(nr * hsize / 512));
        check(to_shared(&mem, 5, 1) == 0 && to_private(&mem, 5, 1) == 0);
    }
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Reclaim, which would split a huge page or write it out, leaves it alone. */
void test_reclaim(void)
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
