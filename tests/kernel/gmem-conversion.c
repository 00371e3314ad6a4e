/*
 * Tests of in-place conversion in guest_memfd, for the kernel that they run on
 *
 * To be built as a static program that needs nothing but a C library, and to
 * be run as root in the lab.  Output is TAP.  With kvm.gmem_in_place_conversion
 * off, only that the kernel behaves like one that doesn't know it is tested.
 *
 *     gcc -O2 -Wall -static -pthread -o gmem-conversion gmem-conversion.c \
 *         memory.c pin.c tap.c vm.c
 *     ./gmem-conversion [NAME...]
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
#include <sys/wait.h>
#include "memory.h"
#include "pin.h"
#include "tap.h"

static long long meminfo(const char *name)
{
    FILE *f = fopen("/proc/meminfo", "r");
    int refresh = open("/proc/sys/vm/stat_refresh", O_WRONLY);
    size_t len = strlen(name);
    long long value = -1;
    char line[128];

    if (refresh >= 0) {
        if (write(refresh, "1", 1) < 0) {
            perror("# stat_refresh");
        }
        close(refresh);
    }
    while (f && fgets(line, sizeof(line), f)) {
        if (!strncmp(line, name, len) && line[len] == ':') {
            value = atoll(line + len + 1);
        }
    }
    if (f) {
        fclose(f);
    }
    return value;
}

/* The tests */

static void test_off(void)
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

static void test_capabilities(void)
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
static void test_seek(void)
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

static void test_arguments(void)
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
    void *ro;

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
    ro = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
              -1, 0);
    memcpy(ro, &good, sizeof(good));
    mprotect(ro, PAGE, PROT_READ);
    check(!ioctl(mem.fd, SET_ATTRIBUTES2, ro), "read-only argument");
    munmap(ro, PAGE);

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

static void test_init_private(void)
{
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, 0);

    check(!accessible(page(&mem, 0)) && !poke(page(&mem, 1), 1));
    check(guest_poke(&mem, 0, 0x11) == 0 && guest_peek(&mem, 0) == 0x11);
    check(guest_peek(&mem, 1) == 0);
    check(!accessible(page(&mem, 0)));

    check(to_shared(&mem, 0, 1) == 0);
    check(peek(page(&mem, 0)) == 0x11, "contents after to shared");
    check(guest_peek(&mem, 0) == 0x11);
    check(poke(page(&mem, 0), 0x22) && guest_peek(&mem, 0) == 0x22);
    check(guest_poke(&mem, 0, 0x33) == 0 && peek(page(&mem, 0)) == 0x33);
    check(!accessible(page(&mem, 1)));

    check(to_private(&mem, 0, 1) == 0);
    check(!accessible(page(&mem, 0)) && !poke(page(&mem, 0), 1));
    check(guest_peek(&mem, 0) == 0x33, "contents after to private");
    check(guest_poke(&mem, 0, 0x44) == 0 && guest_peek(&mem, 0) == 0x44);

    mem_destroy(&mem);
    vm_destroy(&vm);
}

static void test_init_shared(void)
{
    struct mem mem;
    struct vm vm;
    int i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);

    check(poke(page(&mem, 0), 0x11) && guest_peek(&mem, 0) == 0x11);
    for (i = 0; i < 3; i++) {
        check(to_private(&mem, 0, 4) == 0);
        check(!accessible(page(&mem, 0)) && !accessible(page(&mem, 3)));
        check(guest_peek(&mem, 0) == 0x11 + i);
        check(guest_poke(&mem, 0, 0x12 + i) == 0);
        check(to_shared(&mem, 0, 4) == 0);
        check(peek(page(&mem, 0)) == 0x12 + i);
        check(guest_peek(&mem, 0) == 0x12 + i);
    }
    mem_destroy(&mem);

    /* A page is zeroed once, whoever touches it first. */
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    check(allocate(mem.fd, 0, 4 * PAGE) == 0);
    check(peek(page(&mem, 0)) == 0 && guest_peek(&mem, 1) == 0);
    check(to_private(&mem, 0, 4) == 0);
    check(guest_peek(&mem, 2) == 0);
    check(to_shared(&mem, 0, 4) == 0);
    check(peek(page(&mem, 3)) == 0);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

static void test_indexing(void)
{
    struct mem mem;
    struct vm vm;
    int n, i, shared;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (shared = 0; shared < 2; shared++) {
        for (n = 0; n < 4; n++) {
            mem_create(&mem, &vm, 4, shared ? FLAG_INIT_SHARED : 0);
            for (i = 0; i < 4; i++) {
                check(guest_poke(&mem, i, 0x100 + i) == 0);
            }
            check(convert(&mem, n, 1, shared, NULL) == 0);
            for (i = 0; i < 4; i++) {
                check(accessible(page(&mem, i)) == ((i == n) != shared),
                      "init %d, page %d of %d", shared, i, n);
                check(guest_peek(&mem, i) == 0x100 + i);
            }
            check(convert(&mem, n, 1, !shared, NULL) == 0);
            for (i = 0; i < 4; i++) {
                check(accessible(page(&mem, i)) == shared);
                check(guest_peek(&mem, i) == 0x100 + i);
            }
            mem_destroy(&mem);
        }
    }
    vm_destroy(&vm);
}

static void test_unallocated(void)
{
    struct mem mem;
    struct vm vm;
    int i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);

    mem_create(&mem, &vm, 4, 0);
    check(to_shared(&mem, 1, 2) == 0, "before allocation");
    check(!accessible(page(&mem, 0)) && peek(page(&mem, 1)) == 0 &&
          peek(page(&mem, 2)) == 0 && !accessible(page(&mem, 3)));
    mem_destroy(&mem);

    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    check(to_private(&mem, 1, 2) == 0, "before allocation");
    check(accessible(page(&mem, 0)) && !accessible(page(&mem, 1)) &&
          !accessible(page(&mem, 2)) && accessible(page(&mem, 3)));
    check(guest_peek(&mem, 1) == 0);
    mem_destroy(&mem);

    /* Every other page is allocated. */
    mem_create(&mem, &vm, 8, FLAG_INIT_SHARED);
    for (i = 0; i < 8; i += 2) {
        check(poke(page(&mem, i), 0x40 + i));
    }
    check(to_private(&mem, 0, 8) == 0);
    for (i = 0; i < 8; i++) {
        check(!accessible(page(&mem, i)));
        check(guest_peek(&mem, i) == (i % 2 ? 0 : 0x40 + i));
    }
    check(to_shared(&mem, 0, 8) == 0);
    for (i = 0; i < 8; i++) {
        check(peek(page(&mem, i)) == (i % 2 ? 0 : 0x40 + i));
    }
    mem_destroy(&mem);

    /* A file too large to be allocated, converted at once. */
    mem_create_unbound(&mem, &vm, 1ul << 28, FLAG_INIT_SHARED);
    check(to_private(&mem, 1, (1ul << 28) - 2) == 0);
    check(accessible(page(&mem, 0)) && !accessible(page(&mem, 1)) &&
          !accessible(page(&mem, (1ul << 28) - 2)) &&
          accessible(page(&mem, (1ul << 28) - 1)));
    check(to_shared(&mem, 1ul << 20, 1) == 0);
    check(accessible(page(&mem, 1ul << 20)));
    mem_destroy(&mem);
    vm_destroy(&vm);
}

static void test_punch(void)
{
    struct mem mem;
    struct vm vm;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, 0);

    check(to_shared(&mem, 0, 2) == 0);
    check(poke(page(&mem, 0), 1) && poke(page(&mem, 1), 1));
    check(guest_poke(&mem, 2, 1) == 0 && guest_poke(&mem, 3, 1) == 0);
    check(punch(mem.fd, PAGE, 2 * PAGE) == 0);
    check(peek(page(&mem, 0)) == 1);
    check(peek(page(&mem, 1)) == 0, "punched while shared");
    check(!accessible(page(&mem, 2)) && !accessible(page(&mem, 3)));
    check(guest_peek(&mem, 2) == 0, "punched while private");
    check(guest_peek(&mem, 3) == 1);

    check(punch(mem.fd, 0, 4 * PAGE) == 0);
    check(to_private(&mem, 0, 1) == 0 && to_shared(&mem, 3, 1) == 0);
    check(!accessible(page(&mem, 0)) && accessible(page(&mem, 1)) &&
          !accessible(page(&mem, 2)) && accessible(page(&mem, 3)));

    check(punch(mem.fd, 1, PAGE) && errno == EINVAL);
    check(punch(mem.fd, 0, PAGE + 1) && errno == EINVAL);
    check(punch(mem.fd, 4 * PAGE, PAGE) == 0, "past the end");
    check(punch(mem.fd, 2 * PAGE, 16 * PAGE) == 0, "beyond the end");
    check(allocate(mem.fd, 4 * PAGE, PAGE) && errno == EINVAL);
    check(!accessible(page(&mem, 2)) && peek(page(&mem, 3)) == 0);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

static void test_memslots(void)
{
    struct memory_fault *fault;
    struct mem mem;
    struct vm vm;
    int64_t value;
    void *anon;
    int fd;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);

    /* The state is the file's, not the memslot's. */
    mem_create(&mem, &vm, 8, FLAG_INIT_SHARED);
    check(to_private(&mem, 2, 2) == 0);
    check(guest_poke(&mem, 2, 0x66) == 0);
    check(!set_region(&vm, 1, DATA_GPA, 0, mem.map, mem.fd, 0));
    check(!accessible(page(&mem, 2)) && accessible(page(&mem, 4)));
    check(to_private(&mem, 4, 1) == 0, "while unbound");
    check(!set_region(&vm, 1, OTHER_GPA, 4 * PAGE, page(&mem, 2), mem.fd,
                      2 * PAGE));
    check(guest_peek_gpa(&vm, OTHER_GPA) == 0x66);
    check(!accessible(page(&mem, 3)) && !accessible(page(&mem, 4)) &&
          accessible(page(&mem, 5)));
    check(to_shared(&mem, 2, 3) == 0);
    check(peek(page(&mem, 2)) == 0x66);
    check(guest_peek_gpa(&vm, OTHER_GPA) == 0x66);

    /* Without a memslot memory is shared, i.e. access is MMIO. */
    check(to_private(&mem, 0, 8) == 0);
    check(guest_peek_gpa(&vm, OTHER_GPA) == 0x66);
    check(guest_peek_gpa(&vm, DATA_GPA) == -1000 - KVM_EXIT_MMIO);
    check(vm.mmio == DATA_GPA);
    check(!set_region(&vm, 1, OTHER_GPA, 0, mem.map, mem.fd, 0));
    check(guest_peek_gpa(&vm, OTHER_GPA) == -1000 - KVM_EXIT_MMIO);
    check(!set_region(&vm, 1, DATA_GPA, 8 * PAGE, mem.map, mem.fd, 0));
    check(guest_peek_gpa(&vm, DATA_GPA + 2 * PAGE) == 0x66);
    mem_destroy(&mem);

    /* All memory comes from guest_memfd, even if it cannot be mapped. */
    anon = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(anon, 0x77, PAGE);
    fd = gmem_create(&vm, PAGE, FLAG_INIT_SHARED);
    check(fd >= 0);
    check(!set_region(&vm, 1, DATA_GPA, PAGE, anon, fd, 0));
    check(guest_peek_gpa(&vm, DATA_GPA) == 0, "shared, not mappable");
    check(convert_bytes(fd, 0, PAGE, ATTRIBUTE_PRIVATE, NULL) == 0);
    check(guest_peek_gpa(&vm, DATA_GPA) == 0);
    check(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED &&
          errno == ENODEV);

    /* A memslot does not keep its file alive. */
    close(fd);
    check(guest_peek_gpa(&vm, DATA_GPA) == -EFAULT);
    check(vm.run[0]->exit_reason == EXIT_MEMORY_FAULT);
    check(!set_region(&vm, 1, DATA_GPA, 0, anon, -1, 0));
    munmap(anon, PAGE);
    vm_destroy(&vm);

    /* An ordinary VM cannot access private memory, nor convert it. */
    vm_create(&vm, VM_TYPE_DEFAULT, 1);
    mem_create(&mem, &vm, 2, 0);
    value = guest_peek(&mem, 1);
    fault = memory_fault(&vm, 0);
    check(value == -EFAULT && vm.run[0]->exit_reason == EXIT_MEMORY_FAULT,
          "got %lld", (long long)value);
    check(fault->flags == 0 && fault->gpa == DATA_GPA + PAGE &&
          fault->size == PAGE);
    mem_destroy(&mem);
    mem_create(&mem, &vm, 2, FLAG_INIT_SHARED);
    check(poke(page(&mem, 1), 5) && guest_peek(&mem, 1) == 5);
    check(guest_poke(&mem, 0, 6) == 0 && peek(page(&mem, 0)) == 6);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

static void test_pre_fault(void)
{
    struct pre_fault range;
    struct mem mem;
    struct vm vm;
    int i, r;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 16, FLAG_INIT_SHARED);
    check(to_private(&mem, 4, 4) == 0);
    for (i = 0; i < 2; i++) {
        range = (struct pre_fault) { .gpa = DATA_GPA, .size = 17 * PAGE };
        do {
            r = ioctl(vm.vcpu[0], PRE_FAULT_MEMORY, &range);
        } while (!r && range.size);
        check(r && errno == ENOENT, "end of the memslot");
        check(range.size == PAGE && range.gpa == DATA_GPA + 16 * PAGE);
        check(to_private(&mem, 0, 16) == 0, "guest mappings do not matter");
        check(to_shared(&mem, 8, 8) == 0);
    }
    check(guest_peek(&mem, 5) == 0 && guest_peek(&mem, 12) == 0);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

static void test_same_state(void)
{
    struct mem mem;
    struct pin p;
    struct vm vm;
    uint64_t err;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    check(poke(page(&mem, 0), 1));
    check(pin(&p, PIN_VMSPLICE, page(&mem, 0), 1));
    check(to_shared(&mem, 0, 4) == 0, "shared already");
    check(to_private(&mem, 1, 3) == 0);
    check(to_private(&mem, 1, 3) == 0, "private already");
    check(to_private(&mem, 2, 1) == 0, "private already");
    check(convert(&mem, 0, 4, true, &err) == -EAGAIN && err == 0);
    check(to_shared(&mem, 0, 4) == 0, "to shared, with a pinned page");
    check(accessible(page(&mem, 0)) && accessible(page(&mem, 3)));
    unpin(&p);
    check(to_private(&mem, 0, 4) == 0);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

static void test_pinned(void)
{
    const int npages = 4;
    enum pin_kind kind;
    struct mem mem;
    struct pin p;
    struct vm vm;
    uint64_t err;
    int n, i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (kind = 0; kind < PIN_KINDS; kind++) {
        const char *name = pin_names[kind];

        for (n = 0; n < npages; n++) {
            mem_create(&mem, &vm, npages, FLAG_INIT_SHARED);
            for (i = 0; i < npages; i++) {
                check(poke(page(&mem, i), 0x10 + i));
            }
            if (!check(pin(&p, kind, page(&mem, n), 1), "%s", name)) {
                mem_destroy(&mem);
                continue;
            }

            check(convert(&mem, 0, npages, true, &err) == -EAGAIN, "%s", name);
            check(err == n * PAGE, "%s, error_offset %llx", name,
                  (unsigned long long)err);
            /* Nothing has changed. */
            for (i = 0; i < npages; i++) {
                check(peek(page(&mem, i)) == 0x10 + i, "%s", name);
                check(guest_peek(&mem, i) == 0x10 + i, "%s", name);
            }
            for (i = 0; i < npages; i++) {
                int r = convert(&mem, i, 1, true, &err);

                check(r == (i == n ? -EAGAIN : 0), "%s, page %d", name, i);
                check(err == (i == n ? n * PAGE : SENTINEL), "%s", name);
                check(accessible(page(&mem, i)) == (i == n), "%s", name);
            }
            /* Private pages are no obstacle. */
            check(convert(&mem, 0, npages, true, &err) == -EAGAIN &&
                  err == n * PAGE, "%s", name);

            unpin(&p);
            check(to_private_retry(&mem, 0, npages, NULL) == 0, "%s", name);
            for (i = 0; i < npages; i++) {
                check(!accessible(page(&mem, i)), "%s", name);
                check(guest_peek(&mem, i) == 0x10 + i, "%s", name);
            }
            /* What is private cannot be pinned. */
            check(!pin(&p, kind, page(&mem, n), 1), "%s", name);
            unpin(&p);
            mem_destroy(&mem);
        }

        /* Several pages; the first one is reported. */
        mem_create(&mem, &vm, 64, FLAG_INIT_SHARED);
        check(pin(&p, kind, page(&mem, 40), 3), "%s", name);
        check(convert(&mem, 1, 63, true, &err) == -EAGAIN && err == 40 * PAGE,
              "%s", name);
        check(convert(&mem, 41, 9, true, &err) == -EAGAIN && err == 41 * PAGE,
              "%s", name);
        check(convert(&mem, 42, 22, true, &err) == -EAGAIN && err == 42 * PAGE,
              "%s", name);
        check(to_private(&mem, 43, 21) == 0 && to_private(&mem, 0, 40) == 0,
              "%s", name);
        unpin(&p);
        check(to_private_retry(&mem, 0, 64, NULL) == 0, "%s", name);
        mem_destroy(&mem);

        /* The argument cannot be written to. */
        mem_create(&mem, &vm, 1, FLAG_INIT_SHARED);
        check(pin(&p, kind, page(&mem, 0), 1), "%s", name);
        {
            struct attributes2 *ro = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

            ro->size = PAGE;
            ro->attributes = ATTRIBUTE_PRIVATE;
            mprotect(ro, PAGE, PROT_READ);
            check(ioctl(mem.fd, SET_ATTRIBUTES2, ro) && errno == EFAULT);
            munmap(ro, PAGE);
        }
        check(accessible(page(&mem, 0)));
        unpin(&p);
        mem_destroy(&mem);
    }

    /* Neither locked memory nor pages fresh in per-CPU batches are pinned. */
    mem_create(&mem, &vm, 64, FLAG_INIT_SHARED);
    check(!mlock(mem.map, 16 * PAGE));
    memset(mem.map, 1, 64 * PAGE);
    check(to_private(&mem, 0, 64) == 0, "mlock");
    munlock(mem.map, 16 * PAGE);
    mem_destroy(&mem);
    for (n = 0; n < 50; n++) {
        mem_create(&mem, &vm, 1, FLAG_INIT_SHARED);
        check(poke(page(&mem, 0), 1));
        check(to_private(&mem, 0, 1) == 0, "fresh page");
        mem_destroy(&mem);
    }
    vm_destroy(&vm);
}

static void test_processes(void)
{
    enum { CHILDREN = 3 };
    int to[CHILDREN][2], from[CHILDREN][2];
    struct mem mem;
    struct vm vm;
    pid_t pid[CHILDREN];
    int i, round;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    check(poke(page(&mem, 0), 0x10));
    fflush(stdout);

    for (i = 0; i < CHILDREN; i++) {
        if (pipe(to[i]) || pipe(from[i])) {
            bail_out("pipe");
        }
        pid[i] = fork();
        if (!pid[i]) {
            char *map = mem.map;
            int64_t answer;
            size_t n;

            /* The first has the parent's mapping, the others their own. */
            if (i) {
                munmap(mem.map, 4 * PAGE);
                map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                           mem.fd, 0);
            }
            for (round = 0; round <= i; round++) {
                close(to[round][1]);
            }
            while (read(to[i][0], &n, sizeof(n)) == sizeof(n)) {
                answer = peek(map + n * PAGE);
                if (answer != -1) {
                    poke(map + n * PAGE, answer + 1);
                }
                if (write(from[i][1], &answer, sizeof(answer)) < 0) {
                    _exit(1);
                }
            }
            _exit(0);
        }
        close(to[i][0]);
        close(from[i][1]);
    }

    for (round = 0; round < 3; round++) {
        uint32_t expected = 0x10 + round * (CHILDREN + 1);

        for (i = 0; i < CHILDREN; i++) {
            check(ask(to[i][1], from[i][0], 0) == expected + i,
                  "round %d, child %d", round, i);
            check(ask(to[i][1], from[i][0], 1) != -1);
        }
        check(to_private(&mem, 0, 1) == 0);
        check(!accessible(page(&mem, 0)));
        for (i = 0; i < CHILDREN; i++) {
            check(ask(to[i][1], from[i][0], 0) == -1,
                  "round %d, child %d", round, i);
            check(ask(to[i][1], from[i][0], 1) != -1);
        }
        check(guest_peek(&mem, 0) == expected + CHILDREN);
        check(guest_poke(&mem, 0, expected + CHILDREN + 1) == 0);
        check(to_shared(&mem, 0, 1) == 0);
        check(peek(page(&mem, 0)) == expected + CHILDREN + 1);
    }
    for (i = 0; i < CHILDREN; i++) {
        int status;

        close(to[i][1]);
        check(waitpid(pid[i], &status, 0) == pid[i] && status == 0);
        close(from[i][0]);
    }

    /* A child that is given the file can convert, too. */
    fflush(stdout);
    pid[0] = fork();
    if (!pid[0]) {
        _exit(to_private(&mem, 1, 2) ? 1 : 0);
    }
    check(waitpid(pid[0], &i, 0) == pid[0] && i == 0);
    check(accessible(page(&mem, 0)) && !accessible(page(&mem, 1)) &&
          !accessible(page(&mem, 2)) && accessible(page(&mem, 3)));
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Random ranges, compared with a state per page. */
static void test_random(void)
{
    enum { NPAGES = 96 };
    bool private[NPAGES];
    uint32_t value[NPAGES];
    unsigned int seed = 12345;
    struct mem mem;
    struct vm vm;
    int i, j, init;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    for (init = 0; init < 2; init++) {
        mem_create(&mem, &vm, NPAGES, init ? FLAG_INIT_SHARED : 0);
        for (i = 0; i < NPAGES; i++) {
            private[i] = !init;
            value[i] = 0;
        }
        for (i = 0; i < 600; i++) {
            int first = rand_r(&seed) % NPAGES;
            int n = 1 + rand_r(&seed) % (i % 3 ? 4 : NPAGES);
            int what = rand_r(&seed) % 16;

            if (first + n > NPAGES) {
                n = NPAGES - first;
            }
            if (what == 0) {
                check(punch(mem.fd, first * PAGE, n * PAGE) == 0);
                for (j = first; j < first + n; j++) {
                    value[j] = 0;
                }
            } else if (what == 1) {
                check(vcpu_run(&vm, 0, GUEST(fill), i, DATA_GPA + first * PAGE,
                               n, 0) == 0);
                for (j = first; j < first + n; j++) {
                    value[j] = i;
                }
            } else {
                check(convert(&mem, first, n, what % 2, NULL) == 0);
                for (j = first; j < first + n; j++) {
                    private[j] = what % 2;
                }
            }
            for (j = i % 4; j < NPAGES; j += 4) {
                int64_t got = peek(page(&mem, j));

                if (!check(got == (private[j] ? -1 : (int64_t)value[j]),
                           "init %d, step %d, page %d: %lld", init, i, j,
                           (long long)got)) {
                    i = 600;
                    break;
                }
            }
        }
        for (j = 0; j < NPAGES; j++) {
            check(guest_peek(&mem, j) == value[j], "page %d", j);
        }
        mem_destroy(&mem);
    }

    /* One by one to private, one by one to shared, from both ends. */
    mem_create(&mem, &vm, 2048, FLAG_INIT_SHARED);
    for (i = 0; i < 2048; i += 2) {
        check(to_private(&mem, i, 1) == 0);
    }
    for (i = 2047; i > 0; i -= 2) {
        check(to_private(&mem, i, 1) == 0);
    }
    for (i = 0; i < 2048; i++) {
        check(!accessible(page(&mem, i)));
    }
    for (i = 0; i < 1024; i++) {
        check(to_shared(&mem, i, 1) == 0 && to_shared(&mem, 2047 - i, 1) == 0);
    }
    for (i = 0; i < 2048; i++) {
        check(accessible(page(&mem, i)));
    }
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/*
 * Concurrency.  vCPUs count in pages of their own, which converters flip all
 * the time.  No count may be lost, whatever races with it.
 */
enum { RACE_PAGES = 16, RACE_ROUNDS = 300, RACE_VCPUS = 2, CONVERTERS = 3 };

static struct {
    struct mem mem;
    bool stop;
    unsigned int conversions;
    unsigned int retries;
    unsigned int spurious;
    unsigned int touched;
} race;

static void *race_vcpu(void *arg)
{
    int n = (intptr_t)arg;
    struct vm *vm = race.mem.vm;
    int r = vcpu_count(vm, n, DATA_GPA + n * RACE_PAGES * PAGE, RACE_PAGES,
                       RACE_ROUNDS, &race.spurious);

    check(r == 0, "vCPU %d: %d, port 0x%x", n, r, vm->run[n]->io.port);
    return NULL;
}

static void *race_converter(void *arg)
{
    unsigned int seed = (intptr_t)arg;
    int total = RACE_VCPUS * RACE_PAGES;

    while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
        int first = rand_r(&seed) % total;
        int n = 1 + rand_r(&seed) % (total - first);
        int r;

        if (rand_r(&seed) % 2) {
            r = to_private_retry(&race.mem, first, n, &race.retries);
        } else {
            r = to_shared(&race.mem, first, n);
        }
        if (!check(r == 0, "converter: %d", r)) {
            break;
        }
        __atomic_add_fetch(&race.conversions, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Reads only, and takes a SIGBUS for what it is. */
static void *race_toucher(void *arg)
{
    unsigned int seed = (intptr_t)arg;

    while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
        int n = rand_r(&seed) % (RACE_VCPUS * RACE_PAGES);

        if (accessible(page(&race.mem, n))) {
            __atomic_add_fetch(&race.touched, 1, __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void run_race(bool touch)
{
    pthread_t vcpus[RACE_VCPUS], others[CONVERTERS + 1];
    struct vm vm;
    int i, nr = 0;

    memset(&race, 0, sizeof(race));
    vm_create(&vm, VM_TYPE_SW_PROTECTED, RACE_VCPUS);
    mem_create(&race.mem, &vm, RACE_VCPUS * RACE_PAGES, FLAG_INIT_SHARED);

    for (i = 0; i < CONVERTERS; i++) {
        pthread_create(&others[nr++], NULL, race_converter,
                       (void *)(intptr_t)(i + 1));
    }
    if (touch) {
        pthread_create(&others[nr++], NULL, race_toucher, (void *)99);
    }
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_create(&vcpus[i], NULL, race_vcpu, (void *)(intptr_t)i);
    }
    for (i = 0; i < RACE_VCPUS; i++) {
        pthread_join(vcpus[i], NULL);
    }
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    for (i = 0; i < nr; i++) {
        pthread_join(others[i], NULL);
    }

    check(to_shared(&race.mem, 0, RACE_VCPUS * RACE_PAGES) == 0);
    for (i = 0; i < RACE_VCPUS * RACE_PAGES; i++) {
        check(peek(page(&race.mem, i)) == RACE_ROUNDS, "page %d: %lld", i,
              (long long)peek(page(&race.mem, i)));
    }
    check(race.conversions > 0);
    printf("# %u conversions, %u retries, %u memory faults, %u reads\n",
           race.conversions, race.retries, race.spurious, race.touched);
    mem_destroy(&race.mem);
    vm_destroy(&vm);
}

static void test_race_vcpus(void)
{
    run_race(false);
}

static void test_race_vcpus_and_host(void)
{
    run_race(true);
}

/* After a conversion to private, the host has no access, at once. */
static void *race_pinner(void *arg)
{
    struct mem *mem = arg;
    struct pin p;
    unsigned int i = 0;

    while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
        /* Either pins the page or finds it private. */
        pin(&p, i++ % 4 ? PIN_VMSPLICE : PIN_IO_URING, page(mem, 0), 1);
        unpin(&p);
    }
    return NULL;
}

static void test_race_host(void)
{
    pthread_t toucher, pinner;
    unsigned int retries = 0;
    struct mem mem;
    struct vm vm;
    int i;

    memset(&race, 0, sizeof(race));
    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, RACE_VCPUS * RACE_PAGES, FLAG_INIT_SHARED);
    race.mem = mem;
    pthread_create(&toucher, NULL, race_toucher, (void *)7);
    pthread_create(&pinner, NULL, race_pinner, &mem);
    for (i = 0; i < 300; i++) {
        check(to_private_retry(&mem, 0, 4, &retries) == 0);
        check(!accessible(page(&mem, i % 4)));
        check(guest_peek(&mem, 0) == i);
        check(guest_poke(&mem, 0, i + 1) == 0);
        check(to_shared(&mem, 0, 4) == 0);
        check(peek(page(&mem, 0)) == i + 1);
    }
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    pthread_join(toucher, NULL);
    pthread_join(pinner, NULL);
    printf("# %u retries, %u reads\n", retries, race.touched);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Punching, allocating and rebinding while memory is converted. */
static void *race_puncher(void *arg)
{
    unsigned int seed = 5;
    struct mem *mem = arg;

    while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
        int first = rand_r(&seed) % mem->npages;
        int n = 1 + rand_r(&seed) % (mem->npages - first);

        if (rand_r(&seed) % 2) {
            check(punch(mem->fd, first * PAGE, n * PAGE) == 0);
        } else {
            check(allocate(mem->fd, first * PAGE, n * PAGE) == 0);
        }
    }
    return NULL;
}

static void *race_rebinder(void *arg)
{
    struct mem *mem = arg;
    int i;

    for (i = 0; i < 200; i++) {
        check(!set_region(mem->vm, 1, DATA_GPA, 0, mem->map, mem->fd, 0));
        check(!set_region(mem->vm, 1, DATA_GPA, mem->npages * PAGE, mem->map,
                          mem->fd, 0));
    }
    return NULL;
}

static void *race_reader(void *arg)
{
    struct mem *mem = arg;
    unsigned int i;

    for (i = 0; !__atomic_load_n(&race.stop, __ATOMIC_RELAXED); i++) {
        int64_t v = guest_peek(mem, i % mem->npages);

        /* MMIO while there is no memslot, or a state that was just changed. */
        if (!check(v >= 0 || v == -1000 - KVM_EXIT_MMIO ||
                   (v == -EFAULT &&
                    mem->vm->run[0]->exit_reason == EXIT_MEMORY_FAULT),
                   "guest: %lld, exit %u", (long long)v,
                   mem->vm->run[0]->exit_reason)) {
            break;
        }
    }
    return NULL;
}

static void test_race_memslots(void)
{
    pthread_t threads[5];
    struct mem mem;
    struct vm vm;
    int i;

    memset(&race, 0, sizeof(race));
    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, RACE_VCPUS * RACE_PAGES, FLAG_INIT_SHARED);
    race.mem = mem;
    pthread_create(&threads[0], NULL, race_rebinder, &mem);
    pthread_create(&threads[1], NULL, race_puncher, &mem);
    pthread_create(&threads[2], NULL, race_reader, &mem);
    pthread_create(&threads[3], NULL, race_converter, (void *)3);
    pthread_create(&threads[4], NULL, race_toucher, (void *)4);
    pthread_join(threads[0], NULL);
    __atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
    for (i = 1; i < 5; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("# %u conversions, %u retries, %u reads\n", race.conversions,
           race.retries, race.touched);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* A page with a memory error is a problem of that page only. */
static void test_poison(void)
{
    struct mem mem;
    struct vm vm;
    uint64_t err;
    int i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 4, FLAG_INIT_SHARED);
    for (i = 0; i < 4; i++) {
        check(guest_poke(&mem, i, 0x10 + i) == 0);
        check(peek(page(&mem, i)) == 0x10 + i);
    }

    /* Raises SIGBUS itself, as the page is mapped here. */
    sigbus_expected = 1;
    if (!sigsetjmp(sigbus_env, 1)) {
        check(!madvise(page(&mem, 2), PAGE, MADV_HWPOISON));
    }
    sigbus_expected = 0;

    check(!accessible(page(&mem, 2)));
    check(guest_peek(&mem, 2) == -EHWPOISON);
    check(vm.run[0]->exit_reason == EXIT_MEMORY_FAULT &&
          memory_fault(&vm, 0)->gpa == DATA_GPA + 2 * PAGE);
    for (i = 0; i < 4; i++) {
        if (i != 2) {
            check(peek(page(&mem, i)) == 0x10 + i);
            check(guest_peek(&mem, i) == 0x10 + i);
        }
    }

    /* The handling of the error keeps the page, which is a reference. */
    check(convert(&mem, 0, 4, true, &err) == -EAGAIN && err == 2 * PAGE);
    check(to_private(&mem, 0, 2) == 0);
    check(punch(mem.fd, 2 * PAGE, PAGE) == 0);
    check(guest_peek(&mem, 2) == 0);
    /* The old mapping remembers the error. */
    check(mmap(page(&mem, 2), PAGE, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_FIXED, mem.fd, 2 * PAGE) == page(&mem, 2));
    check(peek(page(&mem, 2)) == 0);
    check(to_private(&mem, 0, 4) == 0);
    check(guest_peek(&mem, 3) == 0x13);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/* Everything is given back, whatever state it is in. */
static void test_cycles(void)
{
    long long unevictable, before = 0;
    struct mem mem;
    struct pin p;
    struct vm vm;
    int i;

    for (i = 0; i <= 1000; i++) {
        vm_create(&vm, VM_TYPE_SW_PROTECTED, i % 10 ? 0 : 1);
        mem_create(&mem, &vm, 32, i % 2 ? FLAG_INIT_SHARED : 0);
        if (i % 2) {
            memset(mem.map, 1, 32 * PAGE);
        } else {
            check(allocate(mem.fd, 0, 32 * PAGE) == 0);
        }
        check(convert(&mem, i % 16, 1 + i % 17, i % 2, NULL) == 0);
        if (!(i % 10)) {
            check(guest_peek(&mem, i % 16) == 0);
        }
        if (i % 20 == 1) {
            check(pin(&p, i % 40 == 1 ? PIN_VMSPLICE : PIN_IO_URING,
                      page(&mem, 31 - i % 2 * 31), 1) ==
                  accessible(page(&mem, 31 - i % 2 * 31)));
        }
        if (i % 3) {
            mem_destroy(&mem);
        } else {
            munmap(mem.map, 32 * PAGE);
            close(mem.fd);
        }
        if (i % 20 == 1) {
            unpin(&p);
        }
        vm_destroy(&vm);
        if (!i) {
            before = meminfo("Unevictable");
        }
    }

    /* io_uring lets go of its buffers some time after the file is closed. */
    for (i = 0; i < 50; i++) {
        unevictable = meminfo("Unevictable");
        if (unevictable == before) {
            break;
        }
        usleep(20000);
    }
    check(unevictable == before, "Unevictable: %lld kB before, %lld kB after",
          before, unevictable);
}

static const struct test tests_on[] = {
    { "capabilities", test_capabilities },
    { "seek", test_seek },
    { "arguments", test_arguments },
    { "init-private", test_init_private },
    { "init-shared", test_init_shared },
    { "indexing", test_indexing },
    { "unallocated", test_unallocated },
    { "punch", test_punch },
    { "memslots", test_memslots },
    { "pre-fault", test_pre_fault },
    { "same-state", test_same_state },
    { "pinned", test_pinned },
    { "processes", test_processes },
    { "random", test_random },
    { "race-vcpus", test_race_vcpus },
    { "race-vcpus-and-host", test_race_vcpus_and_host },
    { "race-host", test_race_host },
    { "race-memslots", test_race_memslots },
    { "poison", test_poison },
    { "cycles", test_cycles },
};

static const struct test tests_off[] = {
    { "off", test_off },
};

int main(int argc, char **argv)
{
    const char *reason = kvm_open();

    if (reason) {
        printf("1..0 # SKIP %s\n", reason);
        return 0;
    }
    sigbus_init();
    signal(SIGPIPE, SIG_IGN);
    if (kvm_parameter("gmem_in_place_conversion")) {
        return tap_run(tests_on, sizeof(tests_on) / sizeof(tests_on[0]),
                       argv + 1);
    }
    return tap_run(tests_off, sizeof(tests_off) / sizeof(tests_off[0]),
                   argv + 1);
}
