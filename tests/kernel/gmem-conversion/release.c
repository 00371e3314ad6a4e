/*
 * Test of how memory is given back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <unistd.h>
#include <sys/mman.h>
#include "files.h"
#include "memory.h"
#include "pin.h"
#include "tap.h"
#include "tests.h"

static long unevictable_kb(void)
{
    write_string("/proc/sys/vm/stat_refresh", "1");
    return read_number("/proc/meminfo", "Unevictable:");
}

/* Everything is given back, whatever state it is in. */
void test_cycles(void)
{
    long unevictable, before = 0;
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
            before = unevictable_kb();
        }
    }

    /* io_uring lets go of its buffers some time after the file is closed. */
    for (i = 0; i < 50; i++) {
        unevictable = unevictable_kb();
        if (unevictable == before) {
            break;
        }
        usleep(20000);
    }
    check(unevictable == before, "Unevictable: %ld kB before, %ld kB after",
          before, unevictable);
}
