/*
 * Tests of memslots, and of mapping their memory beforehand
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <unistd.h>
#include <sys/mman.h>
#include "memory.h"
#include "tap.h"
#include "tests.h"

void test_memslots(void)
{
    struct mem mem;
    struct vm vm;
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

    /* An ordinary VM has all of a file, whatever the host may access. */
    vm_create(&vm, VM_TYPE_DEFAULT, 1);
    mem_create(&mem, &vm, 2, 0);
    check(guest_poke(&mem, 1, 4) == 0 && guest_peek(&mem, 1) == 4);
    check(!accessible(page(&mem, 1)));
    mem_destroy(&mem);
    mem_create(&mem, &vm, 2, FLAG_INIT_SHARED);
    check(poke(page(&mem, 1), 5) && guest_peek(&mem, 1) == 5);
    check(guest_poke(&mem, 0, 6) == 0 && peek(page(&mem, 0)) == 6);
    mem_destroy(&mem);
    vm_destroy(&vm);
}

void test_pre_fault(void)
{
    struct pre_fault range;
    struct mem mem;
    struct vm vm;
    int i;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(&mem, &vm, 16, FLAG_INIT_SHARED);
    check(to_private(&mem, 4, 4) == 0);
    for (i = 0; i < 2; i++) {
        range = (struct pre_fault) { .gpa = DATA_GPA, .size = 17 * PAGE };
        check(vcpu_pre_fault(&vm, 0, &range) == -ENOENT, "end of the memslot");
        check(range.size == PAGE && range.gpa == DATA_GPA + 16 * PAGE);
        check(to_private(&mem, 0, 16) == 0, "guest mappings do not matter");
        check(to_shared(&mem, 8, 8) == 0);
    }
    check(guest_peek(&mem, 5) == 0 && guest_peek(&mem, 12) == 0);
    mem_destroy(&mem);
    vm_destroy(&vm);
}
