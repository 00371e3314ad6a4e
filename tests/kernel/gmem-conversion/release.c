/*
 * Test of how memory is given back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>
#include "memory.h"
#include "pin.h"
#include "tap.h"
#include "tests.h"

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

/* Everything is given back, whatever state it is in. */
void test_cycles(void)
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
