/*
 * Tests of what the kernel says it has, and of which arguments it takes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <unistd.h>
#include <sys/ioctl.h>
#include "memory.h"
#include "tap.h"
#include "tests.h"

void test_off(void)
{
    struct vm vm;
    struct mem mem;
    struct attributes old = {
        .address = DATA_GPA, .size = PAGE, .attributes = ATTRIBUTE_PRIVATE,
    };
    struct create_guest_memfd order_only = { .size = PAGE, .page_order = 9 };
    uint64_t err;
    int fd;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 0);
    check(vm_cap(vm.fd, CAP_GMEM_MEMORY_ATTRIBUTES) == 0);
    check(vm_cap(kvm, CAP_GMEM_MEMORY_ATTRIBUTES) == 0);
    check(vm_cap(vm.fd, CAP_MEMORY_ATTRIBUTES) == ATTRIBUTE_PRIVATE);
    check(vm_cap(vm.fd, CAP_GUEST_MEMFD_FLAGS) == FLAG_MMAP);
    check(gmem_create(&vm, PAGE, FLAG_INIT_SHARED) < 0 && errno == EINVAL);
    check(gmem_create_huge(&vm, 512 * PAGE, 0, 9) < 0 && errno == EINVAL);
    fd = ioctl(vm.fd, CREATE_GUEST_MEMFD, &order_only);
    check(fd >= 0, "what was reserved is not looked at");
    close(fd);
    check(!ioctl(vm.fd, SET_ATTRIBUTES, &old));
    mem_create(&mem, &vm, 1, 0);
    check(to_shared(&mem, 0, 1) == -ENOTTY);
    check(convert(&mem, 0, 1, true, &err) == -ENOTTY && err == SENTINEL);
    check(convert(&mem, 1, 0, true, NULL) == -ENOTTY);
    check(ioctl(mem.fd, SET_ATTRIBUTES2, NULL) && errno == ENOTTY);
    mem_destroy(&mem);
    vm_destroy(&vm);

    vm_create(&vm, VM_TYPE_DEFAULT, 1);
    check(vm_cap(vm.fd, CAP_GMEM_MEMORY_ATTRIBUTES) == 0);
    check(vm_cap(vm.fd, CAP_MEMORY_ATTRIBUTES) == 0);
    check(vm_cap(vm.fd, CAP_GUEST_MEMFD_FLAGS) ==
          (FLAG_MMAP | FLAG_INIT_SHARED));
    mem_create(&mem, &vm, 1, 0);
    check(to_private(&mem, 0, 1) == -ENOTTY);
    check(guest_poke(&mem, 0, 1) == 0 && guest_peek(&mem, 0) == 1,
          "no INIT_SHARED, ordinary VM");
    mem_destroy(&mem);
    vm_destroy(&vm);
}

void test_capabilities(void)
{
    struct vm vm;
    struct attributes old = {
        .address = DATA_GPA, .size = PAGE, .attributes = ATTRIBUTE_PRIVATE,
    };

    check(vm_cap(kvm, CAP_GMEM_MEMORY_ATTRIBUTES) == ATTRIBUTE_PRIVATE);
    check(vm_cap(kvm, CAP_MEMORY_ATTRIBUTES) == 0);

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 0);
    check(vm_cap(vm.fd, CAP_GMEM_MEMORY_ATTRIBUTES) == ATTRIBUTE_PRIVATE);
    check(vm_cap(vm.fd, CAP_MEMORY_ATTRIBUTES) == 0);
    check((vm_cap(vm.fd, CAP_GUEST_MEMFD_FLAGS) & 3) ==
          (FLAG_MMAP | FLAG_INIT_SHARED));
    check(ioctl(vm.fd, SET_ATTRIBUTES, &old) && errno == EINVAL);
    vm_destroy(&vm);

    vm_create(&vm, VM_TYPE_DEFAULT, 0);
    check(vm_cap(vm.fd, CAP_GMEM_MEMORY_ATTRIBUTES) == 0);
    check(vm_cap(vm.fd, CAP_MEMORY_ATTRIBUTES) == 0);
    check((vm_cap(vm.fd, CAP_GUEST_MEMFD_FLAGS) & 3) ==
          (FLAG_MMAP | FLAG_INIT_SHARED));
    check(ioctl(vm.fd, SET_ATTRIBUTES, &old) && errno == EINVAL);
    vm_destroy(&vm);
}

/* So programs that are given the file find out how much they can map. */
void test_seek(void)
{
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 0);
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    check(lseek(mem.fd, 0, SEEK_END) == 4 * PAGE);
    check(lseek(mem.fd, 0, SEEK_SET) == 0);
    check(lseek(mem.fd, 0, SEEK_HOLE) == 4 * PAGE);
    check(lseek(mem.fd, 4 * PAGE, SEEK_DATA) < 0 && errno == ENXIO);
    check(read(mem.fd, &vm, 1) < 0 && errno == EINVAL);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

void test_arguments(void)
{
    struct attributes2 good = {
        .offset = PAGE,
        .size = PAGE,
        .attributes = ATTRIBUTE_PRIVATE,
        .error_offset = SENTINEL,
    };
    static const struct {
        uint64_t offset, size;
    } bad_ranges[] = {
        { 1, PAGE }, { 0, 1 }, { 0, PAGE + 1 }, { PAGE / 2, PAGE / 2 },
        { 0, 0 }, { PAGE, 0 }, { 4 * PAGE, PAGE }, { 3 * PAGE, 2 * PAGE },
        { 0, 5 * PAGE }, { -PAGE, PAGE }, { -PAGE, 2 * PAGE },
        { PAGE, -PAGE }, { 0, -PAGE }, { 1ull << 63, PAGE },
        { 0, 1ull << 63 }, { 1ull << 63, 1ull << 63 },
    };
    struct attributes2 a;
    struct mem mem;
    struct vm vm;
    size_t i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 0);
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);

    for (i = 0; i < sizeof(bad_ranges) / sizeof(bad_ranges[0]); i++) {
        a = good;
        a.offset = bad_ranges[i].offset;
        a.size = bad_ranges[i].size;
        check(ioctl(mem.fd, SET_ATTRIBUTES2, &a) && errno == EINVAL,
              "bad range %zu", i);
        check(a.error_offset == SENTINEL, "bad range %zu", i);
    }
    for (i = 0; i < 64; i++) {
        a = good;
        a.attributes |= 1ull << i;
        check(!ioctl(mem.fd, SET_ATTRIBUTES2, &a) == (i == 3),
              "attribute bit %zu", i);
        check(i == 3 || errno == EINVAL);

        a = good;
        a.flags = 1ull << i;
        check(ioctl(mem.fd, SET_ATTRIBUTES2, &a) && errno == EINVAL,
              "flag bit %zu", i);
    }
    for (i = 0; i < 11; i++) {
        a = good;
        a.reserved[i] = 1ull << (i * 6);
        check(ioctl(mem.fd, SET_ATTRIBUTES2, &a) && errno == EINVAL,
              "reserved word %zu", i);
    }
    check(ioctl(mem.fd, SET_ATTRIBUTES2, NULL) && errno == EFAULT);
    check(ioctl(mem.fd, _IOWR(KVMIO, 0xd2, struct attributes), &good) &&
          errno == ENOTTY);
    check(ioctl(mem.fd, SET_ATTRIBUTES, &good) && errno == ENOTTY);
    check(ioctl(mem.fd, KVM_CREATE_VM, 0) && errno == ENOTTY);

    /* The structure is read only, unless there is an offset to report. */
    check(convert_read_only(mem.fd, PAGE, PAGE, ATTRIBUTE_PRIVATE) == 0);

    /* Nothing but page 1 has been converted. */
    check(accessible(page(&mem, 0)) && !accessible(page(&mem, 1)) &&
          accessible(page(&mem, 2)) && accessible(page(&mem, 3)));
    mem_destroy(&mem);
    vm_destroy(&vm);

    vm_create(&vm, VM_TYPE_DEFAULT, 0);
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    check(to_private(&mem, 0, 1) == -EINVAL);
    check(to_shared(&mem, 0, 1) == -EINVAL);
    check(accessible(page(&mem, 0)));
    mem_destroy(&mem);
    vm_destroy(&vm);
}
