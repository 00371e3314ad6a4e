/*
 * Preloaded into QEMU, this makes calls fail that are about the memory of
 * guest_memfds
 *
 * The environment variable FAULTS names a file with an order, which says what
 * fails and can be changed while QEMU runs. FAULTS_LOG names a file that gets a
 * line for each call: its name, its errno or 0, and its answer.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "kvm-abi.h"
#include "next-ioctl.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof(*(array)))
#define PAGE    4096

enum { MAX_SLOTS = 1024, MAX_RANGES = 256 };

/* testlib/faults.py writes it, so that it knows, too. */
struct order {
    char call[60];                  /* its name, as in the log */
    uint32_t seen;                  /* so many of it, with this order */
    uint32_t first;                 /* that fails, from 1 */
    uint32_t count;                 /* of those that fail */
    int32_t error;                  /* or 0, for an answer of 0 */
};

struct range {
    uintptr_t start;
    size_t size;
};

static const struct {
    unsigned long number;
    const char *name;
} capabilities[] = {
    { 16, "KVM_CAP_SYNC_MMU" },
    { 201, "KVM_CAP_EXIT_HYPERCALL" },
    { 231, "KVM_CAP_USER_MEMORY2" },
    { 233, "KVM_CAP_MEMORY_ATTRIBUTES" },
    { 234, "KVM_CAP_GUEST_MEMFD" },
    { 235, "KVM_CAP_VM_TYPES" },
    { 236, "KVM_CAP_PRE_FAULT_MEMORY" },
    { 244, "KVM_CAP_GUEST_MEMFD_FLAGS" },
};

static const struct {
    int number;
    const char *name;
} advice[] = {
    { MADV_DONTNEED, "madvise DONTNEED" },
    { MADV_DONTFORK, "madvise DONTFORK" },
    { MADV_HUGEPAGE, "madvise HUGEPAGE" },
    { MADV_DONTDUMP, "madvise DONTDUMP" },
    { MADV_POPULATE_WRITE, "madvise POPULATE_WRITE" },
};

static struct order *order;
static int log_fd;
static bool slot_has_file[MAX_SLOTS];
/* of the last file that was made only to see whether KVM can */
static int probe_fd = -1;
/* where memory is mapped that may be a guest's */
static struct range ranges[MAX_RANGES];
static pthread_mutex_t ranges_mutex = PTHREAD_MUTEX_INITIALIZER;

static void __attribute__((constructor)) begin(void)
{
    int fd = open(getenv("FAULTS"), O_RDWR | O_CLOEXEC);

    order = mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                 0);
    log_fd = open(getenv("FAULTS_LOG"), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (order == MAP_FAILED || log_fd < 0) {
        perror("FAULTS");
        abort();
    }
    close(fd);
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* Keeps errno. */
static long told(const char *call, long answer)
{
    int error = errno;

    dprintf(log_fd, "%s\t%d\t%ld\n", call, answer == -1 ? error : 0, answer);
    errno = error;
    return answer;
}

static bool fails(const char *call)
{
    uint32_t seen;

    if (strcmp(order->call, call)) {
        return false;
    }
    seen = __atomic_add_fetch(&order->seen, 1, __ATOMIC_SEQ_CST);
    return seen >= order->first && seen - order->first < order->count;
}

static long refuse(const char *call)
{
    errno = order->error;
    return told(call, order->error ? -1 : 0);
}

static bool is_named(int fd, const char *part)
{
    char path[32], name[64] = "";

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return fd >= 0 && readlink(path, name, sizeof(name) - 1) > 0 &&
           strstr(name, part);
}

static bool is_guest_memfd(int fd)
{
    return is_named(fd, "[kvm-gmem]");
}

/* The shared side, if there are two backings */
static bool is_memfd(int fd)
{
    return is_named(fd, "memory-backend-guest-memfd");
}

static bool is_ours(int fd)
{
    return is_guest_memfd(fd) || is_memfd(fd);
}

static void add_range(const void *start, size_t size)
{
    pthread_mutex_lock(&ranges_mutex);
    for (int i = 0; i < MAX_RANGES; i++) {
        if (!ranges[i].size) {
            ranges[i] = (struct range) { (uintptr_t)start, size };
            pthread_mutex_unlock(&ranges_mutex);
            return;
        }
    }
    abort();
}

/* The range that has an address, or NULL */
static struct range *find_range(const void *address)
{
    struct range *found = NULL;

    pthread_mutex_lock(&ranges_mutex);
    for (int i = 0; i < MAX_RANGES && !found; i++) {
        if ((uintptr_t)address - ranges[i].start < ranges[i].size) {
            found = &ranges[i];
        }
    }
    pthread_mutex_unlock(&ranges_mutex);
    return found;
}

static const char *name_mapping(const void *address, int protection, int flags,
                                int fd)
{
    if (find_range(address)) {
        return fd < 0 ? "mmap of zeros" : "mmap again";
    }
    if (is_ours(fd)) {
        return "mmap";
    }
    /* of memory of any kind */
    return protection == PROT_NONE && flags & MAP_ANONYMOUS ?
           "mmap of addresses" : NULL;
}

/* as programs with large files know mmap() */
void *mmap64(void *address, size_t size, int protection, int flags, int fd,
             off64_t offset)
{
    void *(*call)(void *, size_t, int, int, int, off64_t) = next("mmap64");
    const char *name = name_mapping(address, protection, flags, fd);
    void *mapping;

    if (!name) {
        return call(address, size, protection, flags, fd, offset);
    }
    if (fails(name)) {
        return (void *)refuse(name);
    }
    mapping = call(address, size, protection, flags, fd, offset);
    if (mapping != MAP_FAILED && !strcmp(name, "mmap")) {
        add_range(mapping, size);
    }
    return (void *)told(name, (long)mapping);
}

int munmap(void *address, size_t size)
{
    int (*call)(void *, size_t) = next("munmap");
    struct range *range = find_range(address);

    if (!range) {
        return call(address, size);
    }
    if (fails("munmap")) {
        return refuse("munmap");
    }
    range->size = 0;
    return told("munmap", call(address, size));
}

int madvise(void *address, size_t size, int number)
{
    int (*call)(void *, size_t, int) = next("madvise");
    const char *name = NULL;

    for (int i = 0; i < ARRAY_SIZE(advice); i++) {
        if (advice[i].number == number) {
            name = advice[i].name;
        }
    }
    if (!name || !find_range(address)) {
        return call(address, size, number);
    }
    if (fails(name)) {
        return refuse(name);
    }
    return told(name, call(address, size, number));
}

long mbind(void *address, unsigned long size, int mode,
           const unsigned long *nodes, unsigned long max, unsigned int flags)
{
    long (*call)(void *, unsigned long, int, const unsigned long *,
                 unsigned long, unsigned int) = next("mbind");

    if (!find_range(address)) {
        return call(address, size, mode, nodes, max, flags);
    }
    if (fails("mbind")) {
        return refuse("mbind");
    }
    return told("mbind", call(address, size, mode, nodes, max, flags));
}

static const char *name_fallocate(int fd, int mode)
{
    if (!(mode & FALLOC_FL_PUNCH_HOLE)) {
        return "fallocate";
    }
    return is_memfd(fd) ? "fallocate PUNCH_HOLE, memfd"
                        : "fallocate PUNCH_HOLE";
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    int (*call)(int, int, off64_t, off64_t) = next("fallocate64");
    const char *name = name_fallocate(fd, mode);

    if (!is_ours(fd)) {
        return call(fd, mode, offset, size);
    }
    if (fails(name)) {
        return refuse(name);
    }
    return told(name, call(fd, mode, offset, size));
}

int ftruncate64(int fd, off64_t size)
{
    int (*call)(int, off64_t) = next("ftruncate64");

    if (!is_ours(fd)) {
        return call(fd, size);
    }
    if (fails("ftruncate")) {
        return refuse("ftruncate");
    }
    return told("ftruncate", call(fd, size));
}

int memfd_create(const char *name, unsigned int flags)
{
    int (*call)(const char *, unsigned int) = next("memfd_create");

    if (!strstr(name, "memory-backend-guest-memfd")) {
        return call(name, flags);
    }
    if (fails("memfd_create")) {
        return refuse("memfd_create");
    }
    return told("memfd_create", call(name, flags));
}

/* QEMU duplicates files so. */
int fcntl64(int fd, int command, ...)
{
    int (*call)(int, int, ...) = next("fcntl64");
    va_list list;
    void *arg;

    va_start(list, command);
    arg = va_arg(list, void *);
    va_end(list);
    if (command != F_DUPFD_CLOEXEC || !is_ours(fd)) {
        return call(fd, command, arg);
    }
    if (fails("fcntl DUPFD")) {
        return refuse("fcntl DUPFD");
    }
    return told("fcntl DUPFD", call(fd, command, arg));
}

static const char *name_capability(const char *prefix, unsigned long number)
{
    static __thread char name[sizeof(order->call)];

    for (int i = 0; i < ARRAY_SIZE(capabilities); i++) {
        if (capabilities[i].number == number) {
            snprintf(name, sizeof(name), "%s %s", prefix,
                     capabilities[i].name);
            return name;
        }
    }
    return NULL;
}

static const char *name_slot(const struct region2 *region)
{
    if (region->memory_size && region->flags & MEM_GUEST_MEMFD) {
        return "KVM_SET_USER_MEMORY_REGION2";
    }
    if (!region->memory_size && slot_has_file[region->slot % MAX_SLOTS]) {
        return "KVM_SET_USER_MEMORY_REGION2 of 0";
    }
    return find_range((void *)region->userspace_addr) ?
           "KVM_SET_USER_MEMORY_REGION2, not bound" : NULL;
}

static const char *name_creation(const struct create_guest_memfd *request)
{
    return request->size == PAGE ? "KVM_CREATE_GUEST_MEMFD to probe"
                                 : "KVM_CREATE_GUEST_MEMFD";
}

static const char *name_conversion(int fd)
{
    return fd == probe_fd ? "KVM_SET_MEMORY_ATTRIBUTES2 to probe"
                          : "KVM_SET_MEMORY_ATTRIBUTES2";
}

static const char *name_ioctl(int fd, unsigned long request, void *arg)
{
    const struct kvm_enable_cap *cap = arg;

    switch (request) {
    case KVM_CREATE_VM:
        return (uintptr_t)arg == VM_TYPE_SW_PROTECTED ? "KVM_CREATE_VM" : NULL;
    case KVM_CHECK_EXTENSION:
        return name_capability("KVM_CHECK_EXTENSION", (uintptr_t)arg);
    case KVM_ENABLE_CAP:
        return name_capability("KVM_ENABLE_CAP", cap->cap);
    case CREATE_GUEST_MEMFD:
        return name_creation(arg);
    case SET_USER_MEMORY_REGION2:
        return name_slot(arg);
    case SET_ATTRIBUTES:
        return "KVM_SET_MEMORY_ATTRIBUTES";
    case SET_ATTRIBUTES2:
        return name_conversion(fd);
    case MOVE_GUEST_MEMFD:
        return "KVM_GUEST_MEMFD_MOVE";
    case PRE_FAULT_MEMORY:
        return "KVM_PRE_FAULT_MEMORY";
    default:
        return NULL;
    }
}

/* What later calls cannot be told by themselves */
static void remember(unsigned long request, void *arg, int answer)
{
    const struct create_guest_memfd *file = arg;
    const struct region2 *region = arg;

    if (request == CREATE_GUEST_MEMFD) {
        probe_fd = file->size == PAGE ? answer : -1;
    }
    if (request == SET_USER_MEMORY_REGION2 && !answer) {
        slot_has_file[region->slot % MAX_SLOTS] =
            region->memory_size && region->flags & MEM_GUEST_MEMFD;
    }
}

static int own_ioctl(int fd, unsigned long request, void *arg)
{
    const char *name = name_ioctl(fd, request, arg);
    int ret;

    /* There are too many to tell of each. */
    if (request == KVM_RUN && fails("KVM_RUN")) {
        return refuse("KVM_RUN");
    }
    if (name && fails(name)) {
        return refuse(name);
    }
    ret = next_ioctl(fd, request, arg);
    remember(request, arg, ret);
    return name ? told(name, ret) : ret;
}
