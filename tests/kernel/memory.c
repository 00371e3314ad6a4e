/*
 * guest_memfd memory, as the host and the guest see it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <unistd.h>
#include <linux/falloc.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "memory.h"
#include "tap.h"

/*
 * A signal handler that returns to where the access was tried.  The flag is
 * volatile because the handler reads it between two writes to it.
 */
static __thread sigjmp_buf sigbus_env;
static __thread volatile sig_atomic_t sigbus_expected;

static void on_sigbus(int sig)
{
    if (!sigbus_expected) {
        static const char msg[] = "Bail out! unexpected SIGBUS\n";

        if (write(1, msg, sizeof(msg) - 1) < 0) {
            _exit(2);
        }
        _exit(1);
    }
    siglongjmp(sigbus_env, 1);
}

int64_t peek(const void *addr)
{
    int64_t value = -1;
    uint32_t v;

    sigbus_expected = 1;
    if (!sigsetjmp(sigbus_env, 1)) {
        asm volatile("movl %1, %0" : "=r"(v) : "m"(*(const uint32_t *)addr));
        value = v;
    }
    sigbus_expected = 0;
    return value;
}

bool poke(void *addr, uint32_t value)
{
    bool done = false;

    sigbus_expected = 1;
    if (!sigsetjmp(sigbus_env, 1)) {
        asm volatile("movl %1, %0" : "=m"(*(uint32_t *)addr) : "r"(value));
        done = true;
    }
    sigbus_expected = 0;
    return done;
}

bool accessible(const void *addr)
{
    return peek(addr) != -1;
}

bool poison(void *addr)
{
    bool done = true;

    sigbus_expected = 1;
    /* It raises SIGBUS itself, as the page is mapped here. */
    if (!sigsetjmp(sigbus_env, 1)) {
        done = !madvise(addr, PAGE, MADV_HWPOISON);
    }
    sigbus_expected = 0;
    return done;
}

void signals_init(void)
{
    struct sigaction sa = { .sa_handler = on_sigbus };

    sigaction(SIGBUS, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int gmem_create(struct vm *vm, size_t size, uint64_t flags)
{
    struct create_guest_memfd args = { .size = size, .flags = flags };

    return ioctl(vm->fd, CREATE_GUEST_MEMFD, &args);
}

int gmem_create_huge(struct vm *vm, size_t size, uint64_t flags, int order)
{
    struct create_guest_memfd args = {
        .size = size, .flags = flags | FLAG_HUGETLB, .page_order = order,
    };

    return ioctl(vm->fd, CREATE_GUEST_MEMFD, &args);
}

static void mem_map(struct mem *mem, struct vm *vm, size_t npages, int fd)
{
    if (fd < 0) {
        bail_out("creating a guest_memfd");
    }
    mem->vm = vm;
    mem->npages = npages;
    mem->fd = fd;
    mem->map = mmap(NULL, npages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                    fd, 0);
    if (mem->map == MAP_FAILED) {
        bail_out("mapping a guest_memfd");
    }
}

static void mem_bind(struct mem *mem)
{
    if (set_region(mem->vm, 1, DATA_GPA, mem->npages * PAGE, mem->map,
                   mem->fd, 0)) {
        bail_out("adding a memslot");
    }
}

void mem_create_unbound(struct mem *mem, struct vm *vm, size_t npages,
                        uint64_t flags)
{
    mem_map(mem, vm, npages, gmem_create(vm, npages * PAGE, FLAG_MMAP | flags));
}

void mem_create(struct mem *mem, struct vm *vm, size_t npages, uint64_t flags)
{
    mem_create_unbound(mem, vm, npages, flags);
    mem_bind(mem);
}

void mem_create_huge(struct mem *mem, struct vm *vm, size_t npages,
                     uint64_t flags, int order)
{
    mem_map(mem, vm, npages,
            gmem_create_huge(vm, npages * PAGE, FLAG_MMAP | flags, order));
    mem_bind(mem);
}

void mem_destroy(struct mem *mem)
{
    set_region(mem->vm, 1, DATA_GPA, 0, mem->map, mem->fd, 0);
    munmap(mem->map, mem->npages * PAGE);
    close(mem->fd);
}

char *page(struct mem *mem, size_t n)
{
    return mem->map + n * PAGE;
}

int convert_bytes(int fd, uint64_t offset, uint64_t size, uint64_t attrs,
                  uint64_t *err)
{
    struct attributes2 args = {
        .offset = offset,
        .size = size,
        .attributes = attrs,
        .error_offset = SENTINEL,
    };
    int r = ioctl(fd, SET_ATTRIBUTES2, &args) ? -errno : 0;

    if (err) {
        *err = args.error_offset;
    }
    return r;
}

int convert_read_only(int fd, uint64_t offset, uint64_t size, uint64_t attrs)
{
    struct attributes2 *args = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int r;

    if (args == MAP_FAILED) {
        bail_out("memory for an argument");
    }
    args->offset = offset;
    args->size = size;
    args->attributes = attrs;
    mprotect(args, PAGE, PROT_READ);
    r = ioctl(fd, SET_ATTRIBUTES2, args) ? -errno : 0;
    munmap(args, PAGE);
    return r;
}

int convert(struct mem *mem, size_t first, size_t npages, bool private,
            uint64_t *err)
{
    int r;

    do {
        r = convert_bytes(mem->fd, first * PAGE, npages * PAGE,
                          private ? ATTRIBUTE_PRIVATE : 0, err);
    } while (r == -EINTR);
    return r;
}

int to_private(struct mem *mem, size_t first, size_t npages)
{
    return convert(mem, first, npages, true, NULL);
}

int to_shared(struct mem *mem, size_t first, size_t npages)
{
    return convert(mem, first, npages, false, NULL);
}

int to_private_retry(struct mem *mem, size_t first, size_t npages,
                     unsigned int *retries)
{
    unsigned int i;
    int r = 0;

    for (i = 0; i < 10000; i++) {
        r = to_private(mem, first, npages);
        if (r != -EAGAIN) {
            break;
        }
        if (retries) {
            __atomic_add_fetch(retries, 1, __ATOMIC_RELAXED);
        }
        if (i > 100) {
            usleep(100);
        } else {
            sched_yield();
        }
    }
    return r;
}

int punch(int fd, uint64_t offset, uint64_t size)
{
    return fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset,
                     size);
}

int allocate(int fd, uint64_t offset, uint64_t size)
{
    int r;

    do {
        r = fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, size);
    } while (r && errno == EINTR);
    return r;
}

int64_t guest_peek(struct mem *mem, size_t n)
{
    return guest_peek_gpa(mem->vm, DATA_GPA + n * PAGE);
}

int guest_poke(struct mem *mem, size_t n, uint32_t value)
{
    return vcpu_run(mem->vm, 0, GUEST(write), 0, DATA_GPA + n * PAGE, value, 0);
}
