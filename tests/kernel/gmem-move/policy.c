/*
 * Tests of moving memory because user space wants it elsewhere
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>
#include <linux/mempolicy.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include "nodes.h"
#include "pin.h"
#include "tap.h"
#include "tests.h"

enum { NPAGES = 256 };

static void begin(struct mem *mem, struct vm *vm)
{
    vm_create(vm, VM_TYPE_SW_PROTECTED, 1);
    mem_create(mem, vm, NPAGES, FLAG_INIT_SHARED);
    nodes_bind(mem, 0);
    nodes_fill(mem);
}

static void end(struct mem *mem)
{
    mem_destroy(mem);
    vm_destroy(mem->vm);
}

void test_arguments(void)
{
    const struct guest_memfd_move wrong[] = {
        { .size = PAGE + 1 }, { .offset = 1, .size = PAGE },
        { .offset = NPAGES * PAGE, .size = PAGE },
        { .size = (NPAGES + 1) * PAGE }, { .offset = -PAGE, .size = 2 * PAGE },
        { .size = PAGE, .flags = 1 }, { .size = PAGE, .reserved[2] = 1 },
    };
    struct guest_memfd_move move;
    struct mem mem;
    struct vm vm;
    size_t i;

    begin(&mem, &vm);
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        move = wrong[i];
        check(ioctl(mem.fd, MOVE_GUEST_MEMFD, &move) && errno == EINVAL,
              "%zu", i);
    }
    /* All is where it should be. */
    check(nodes_move(&mem, &move) == 0 && !move.moved && !move.failed);
    check(move.offset == NPAGES * PAGE && move.size == 0);
    /* That is also so of nothing. */
    move = (struct guest_memfd_move) {};
    check(ioctl(mem.fd, MOVE_GUEST_MEMFD, &move) == 0 && !move.moved);
    nodes_check_contents(&mem);
    end(&mem);
}

/* Private and shared pages move, and are still there for guest and host. */
void test_policy(void)
{
    struct guest_memfd_move move;
    struct mem mem;
    struct vm vm;
    size_t i;

    begin(&mem, &vm);
    check(nodes_of(&mem, 0) == 0);
    nodes_bind(&mem, 1);
    check(nodes_move(&mem, &move) == 0);
    check(move.moved == NPAGES && move.failed == 0, "%llu moved, %llu not",
          (unsigned long long)move.moved, (unsigned long long)move.failed);
    nodes_check_contents(&mem);
    for (i = 0; i < NPAGES; i++) {
        check(nodes_of(&mem, i) == 1, "page %zu: %d", i, nodes_of(&mem, i));
    }
    end(&mem);
}

/* A page that is pinned stays, and all others move. */
void test_pinned(void)
{
    struct guest_memfd_move move;
    enum pin_kind kind;
    struct mem mem;
    struct vm vm;
    struct pin p;

    for (kind = 0; kind < PIN_KINDS; kind++) {
        begin(&mem, &vm);
        check(pin(&p, kind, page(&mem, 6), 1), "%s", pin_names[kind]);
        nodes_bind(&mem, 1);
        check(nodes_move(&mem, &move) == 0);
        check(move.moved == NPAGES - 1 && move.failed == 1,
              "%s: %llu moved, %llu not", pin_names[kind],
              (unsigned long long)move.moved, (unsigned long long)move.failed);
        check(nodes_of(&mem, 6) == 0 && nodes_of(&mem, 8) == 1);
        unpin(&p);
        nodes_check_contents(&mem);
        end(&mem);
    }
}

/* What is mapped moves as other files' pages do. */
void test_move_pages(void)
{
    struct mem mem;
    struct vm vm;
    void *address;
    int node = 1, status;

    begin(&mem, &vm);
    address = page(&mem, 4);
    check(syscall(SYS_move_pages, 0, 1, &address, &node, &status,
                  MPOL_MF_MOVE) == 0 && status == 1, "status %d", status);
    check(nodes_of(&mem, 4) == 1 && nodes_of(&mem, 2) == 0);
    nodes_check_contents(&mem);
    end(&mem);
}
