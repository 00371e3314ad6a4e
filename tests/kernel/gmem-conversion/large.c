/*
 * Tests of conversions of much memory that nobody has touched
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#include "files.h"
#include "memory.h"
#include "tap.h"
#include "tests.h"

enum { CHUNKS = 16384 };

#define CHUNK   (2ul << 20)
#define STEP    (64ul << 20)
#define LARGE   (1ul << 40)

static bool over;

static void on_signal(int signal)
{
}

static void *interrupt(void *thread)
{
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        pthread_kill(*(pthread_t *)thread, SIGUSR1);
    }
    return NULL;
}

/* Returns as convert_bytes() does, if signals come all the time. */
static int convert_interrupted(int fd, uint64_t size, uint64_t *err)
{
    struct sigaction action = { .sa_handler = on_signal };
    pthread_t self = pthread_self(), other;
    int r;

    sigaction(SIGUSR1, &action, NULL);
    over = false;
    pthread_create(&other, NULL, interrupt, &self);
    r = convert_bytes(fd, 0, size, ATTRIBUTE_PRIVATE, err);
    __atomic_store_n(&over, true, __ATOMIC_RELAXED);
    pthread_join(other, NULL);
    return r;
}

/* A conversion ends at a signal, and says where to go on. */
void test_interrupted(void)
{
    struct mem mem;
    struct vm vm;
    uint64_t err;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 0);
    mem_create_unbound(&mem, &vm, LARGE / PAGE, FLAG_INIT_SHARED);
    check(convert_interrupted(mem.fd, LARGE, &err) == -EINTR);
    if (check(err && err < LARGE && err % STEP == 0)) {
        printf("# interrupted after %d steps\n", (int)(err / STEP));
        check(!accessible(mem.map) && !accessible(mem.map + err - PAGE));
        check(accessible(mem.map + err));
        check(accessible(mem.map + LARGE - PAGE));
    }
    check(convert_bytes(mem.fd, 0, LARGE, ATTRIBUTE_PRIVATE, NULL) == 0);
    check(!accessible(mem.map) && !accessible(mem.map + LARGE - PAGE));
    mem_destroy(&mem);
    vm_destroy(&vm);
}

/*
 * What it takes to know which memory is private is charged to the memory
 * control group: 64 bytes at least for each 2 MiB that have both.
 */
void test_charged(void)
{
    static const char dir[] = "/sys/fs/cgroup/charged";
    static const char current[] = "/sys/fs/cgroup/charged/memory.current";
    struct vm vm;
    long before;
    int i, fd;

    vm_create(&vm, VM_TYPE_SW_PROTECTED, 0);
    if (!check(write_string("/sys/fs/cgroup/cgroup.subtree_control",
                            "+memory") && !mkdir(dir, 0700) &&
               write_string("/sys/fs/cgroup/charged/cgroup.procs", "0"),
               "control group")) {
        return;
    }
    fd = gmem_create(&vm, CHUNKS * CHUNK, 0);
    before = read_number(current, "");
    for (i = 0; i < CHUNKS; i++) {
        if (!check(convert_bytes(fd, i * CHUNK, PAGE, 0, NULL) == 0)) {
            break;
        }
    }
    printf("# %ld bytes charged\n", read_number(current, "") - before);
    check(read_number(current, "") - before >= CHUNKS * 64);
    close(fd);
    vm_destroy(&vm);
    check(write_string("/sys/fs/cgroup/cgroup.procs", "0") && !rmdir(dir),
          "control group");
}
