/*
 * Unit tests: creation of KVM guest_memfd files, and conversion in place,
 * against models of kernels
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include "qapi/error.h"
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "system/kvm.h"
#include "system/kvm-guest-memfd.h"

#define MMAP GUEST_MEMFD_FLAG_MMAP
#define INIT_SHARED GUEST_MEMFD_FLAG_INIT_SHARED
#define HUGETLB (1ULL << 2)

/* A kernel: what its KVM takes, and what it was asked last. */
static struct {
    bool missing;
    uint64_t flags;
    uint64_t max_size;
    uint8_t page_order;
    /* Of the pages that it makes, whatever it was asked for. */
    uint64_t page_size;
    int err;
    int punch_err;
    struct kvm_create_guest_memfd request;
    int fds;
    int convert_err;
    uint64_t error_offset;
    /* How often a signal ends a conversion. */
    int signals;
    int conversions;
    uint64_t conversion[16];
    /* How much has been, in steps that end where the kernel's do. */
    uint64_t converted;
    int move_err;
} kernel;

KVMState *kvm_state;

static int kernel_check(const struct kvm_create_guest_memfd *request)
{
    uint8_t page_order = *(const uint8_t *)request->reserved;

    if (kernel.missing) {
        return -ENOTTY;
    }
    if (request->flags & ~kernel.flags || request->size > kernel.max_size ||
        page_order != (request->flags & HUGETLB ? kernel.page_order : 0)) {
        return -EINVAL;
    }
    return kernel.err;
}

int kvm_vm_ioctl(KVMState *s, unsigned long type, ...)
{
    va_list ap;
    int fd;

    g_assert_cmphex(type, ==, KVM_CREATE_GUEST_MEMFD);
    va_start(ap, type);
    kernel.request = *va_arg(ap, struct kvm_create_guest_memfd *);
    va_end(ap);

    if (kernel_check(&kernel.request)) {
        return kernel_check(&kernel.request);
    }
    fd = open("/dev/null", O_RDWR);
    g_assert_cmpint(fd, >=, 0);
    kernel.fds++;
    return fd;
}

/* These take the place of the C library's. */
int fallocate(int fd, int mode, off_t offset, off_t len)
{
    g_assert_cmphex(mode, ==, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    if (kernel.punch_err) {
        errno = kernel.punch_err;
        return -1;
    }
    if (QEMU_IS_ALIGNED(offset, kernel.page_size) &&
        QEMU_IS_ALIGNED(len, kernel.page_size)) {
        return 0;
    }
    errno = EINVAL;
    return -1;
}

/* A signal comes after each page, of which every second one cannot move. */
static int move_page(uint64_t *move)
{
    const uint64_t page = qemu_real_host_page_size();

    g_assert_cmphex(move[2] | move[3] | move[4], ==, 0);
    if (kernel.move_err) {
        errno = kernel.move_err;
        return -1;
    }
    if (!move[1]) {
        return 0;
    }
    move[3 + move[0] / page % 2] = 1;
    move[0] += page;
    move[1] -= page;
    errno = EINTR;
    return move[1] ? -1 : 0;
}

static int convert(uint64_t *conversion)
{
    const uint64_t end = conversion[0] + conversion[1];

    memcpy(kernel.conversion, conversion, sizeof(kernel.conversion));
    kernel.conversions++;
    if (kernel.signals) {
        kernel.signals--;
        conversion[4] = kernel.error_offset;
        errno = EINTR;
        return -1;
    }
    if (!kernel.convert_err || kernel.error_offset >= end) {
        kernel.converted += conversion[1];
        return 0;
    }
    if (kernel.error_offset) {
        conversion[4] = kernel.error_offset;
        kernel.converted += MAX(conversion[0],
                                QEMU_ALIGN_DOWN(kernel.error_offset,
                                                64 * MiB)) - conversion[0];
    }
    errno = kernel.convert_err;
    return -1;
}

int ioctl(int fd, unsigned long request, ...)
{
    uint64_t *arg;
    va_list ap;

    va_start(ap, request);
    arg = va_arg(ap, uint64_t *);
    va_end(ap);

    if (request == 0xc040aed6) {
        return move_page(arg);
    }
    g_assert_cmphex(request, ==, 0xc080aed2);
    return convert(arg);
}

/* The numbers that open() gives out tell whether all others were closed. */
static int next_fd(void)
{
    int fd = open("/dev/null", O_RDWR);

    close(fd);
    return fd;
}

static void check_refused(uint64_t page_size, const char *text)
{
    int before = next_fd();
    Error *err = NULL;

    g_assert_cmpint(kvm_create_shared_guest_memfd(1 * GiB, page_size, &err),
                    <, 0);
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    g_assert_cmpint(next_fd(), ==, before);
    error_free(err);
}

static void check_created(uint64_t size, uint64_t page_size, uint64_t flags,
                          uint8_t page_order)
{
    int fd = kvm_create_shared_guest_memfd(size, page_size, &error_abort);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
    g_assert_cmphex(kernel.request.size, ==, size);
    g_assert_cmphex(kernel.request.flags, ==, flags);
    g_assert_cmphex(kernel.request.reserved[0], ==, page_order);
    g_assert_cmpint(kernel.fds, ==, 1);
    close(fd);
}

static void set_kernel(uint64_t flags)
{
    memset(&kernel, 0, sizeof(kernel));
    kernel.flags = flags;
    kernel.max_size = INT64_MAX;
}

static void test_created(void)
{
    set_kernel(MMAP | INIT_SHARED);
    check_created(3 * qemu_real_host_page_size(), qemu_real_host_page_size(),
                  MMAP | INIT_SHARED, 0);
}

static void test_created_hugetlb(void)
{
    uint8_t page_order = ctz64(2 * MiB / qemu_real_host_page_size());

    set_kernel(MMAP | INIT_SHARED | HUGETLB);
    kernel.page_order = page_order;
    kernel.page_size = 2 * MiB;
    check_created(4 * MiB, 2 * MiB, MMAP | INIT_SHARED | HUGETLB, page_order);
}

/* To a later kernel the flag may mean something else. */
static void test_other_pages(void)
{
    uint64_t sizes[] = {
        qemu_real_host_page_size(), 1 * MiB, 4 * MiB, 1 * GiB,
    };

    set_kernel(MMAP | INIT_SHARED | HUGETLB);
    kernel.page_order = ctz64(2 * MiB / qemu_real_host_page_size());
    for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
        kernel.page_size = sizes[i];
        check_refused(2 * MiB, "KVM on this host makes a guest_memfd of other "
                      "pages");
    }
}

/* Whose pages cannot be looked at may have the right ones. */
static void test_no_holes(void)
{
    set_kernel(MMAP | INIT_SHARED | HUGETLB);
    kernel.page_order = ctz64(2 * MiB / qemu_real_host_page_size());
    kernel.punch_err = EACCES;
    check_refused(2 * MiB, "cannot punch a hole into the guest_memfd: "
                  "Permission denied");
}

static void test_no_guest_memfd(void)
{
    set_kernel(0);
    kernel.missing = true;
    check_refused(qemu_real_host_page_size(),
                  "KVM on this host has no guest_memfd");
}

static void test_no_mmap(void)
{
    set_kernel(0);
    check_refused(qemu_real_host_page_size(),
                  "KVM on this host has guest_memfd, but cannot map it "
                  "(no GUEST_MEMFD_FLAG_MMAP)");
}

static void test_no_init_shared(void)
{
    set_kernel(MMAP);
    check_refused(qemu_real_host_page_size(),
                  "KVM cannot share guest_memfd memory with this type of VM "
                  "(no GUEST_MEMFD_FLAG_INIT_SHARED)");
}

static void test_no_hugetlb(void)
{
    set_kernel(MMAP | INIT_SHARED);
    check_refused(2 * MiB, "KVM on this host has no huge pages for "
                  "guest_memfd: Invalid argument");
}

/* What is missing more fundamentally comes first. */
static void test_no_mmap_hugetlb(void)
{
    set_kernel(0);
    check_refused(2 * MiB, "KVM on this host has guest_memfd, but cannot map "
                  "it (no GUEST_MEMFD_FLAG_MMAP)");
}

static void test_wrong_page_order(void)
{
    set_kernel(MMAP | INIT_SHARED | HUGETLB);
    kernel.page_order = 18;
    check_refused(2 * MiB, "KVM on this host has no huge pages for "
                  "guest_memfd: Invalid argument");
}

/* A size that is refused says nothing about the pages. */
static void test_wrong_size(void)
{
    set_kernel(MMAP | INIT_SHARED | HUGETLB);
    kernel.page_order = ctz64(2 * MiB / qemu_real_host_page_size());
    kernel.max_size = 512 * MiB;
    check_refused(2 * MiB, "KVM refuses the guest_memfd: Invalid argument");
    check_refused(qemu_real_host_page_size(),
                  "KVM refuses the guest_memfd: Invalid argument");
}

/* Out of something is not the same as not having it. */
static void test_exhausted(void)
{
    set_kernel(MMAP | INIT_SHARED | HUGETLB);
    kernel.page_order = ctz64(2 * MiB / qemu_real_host_page_size());
    kernel.err = -ENOMEM;
    check_refused(2 * MiB, "KVM cannot create the guest_memfd: "
                  "Cannot allocate memory");
    kernel.err = -EMFILE;
    check_refused(qemu_real_host_page_size(),
                  "KVM cannot create the guest_memfd: Too many open files");
}

static void check_conversion(bool to_private, int ret, uint64_t done)
{
    uint64_t so_much = 1;

    g_assert_cmpint(kvm_guest_memfd_convert(7, 3 * MiB, 8 * MiB, to_private,
                                            &so_much), ==, ret);
    g_assert_cmphex(so_much, ==, done);
    g_assert_cmphex(kernel.conversion[0], ==, 3 * MiB);
    g_assert_cmphex(kernel.conversion[1], ==, 8 * MiB);
    g_assert_cmphex(kernel.conversion[2], ==, to_private ? 8 : 0);
    g_assert_cmphex(kernel.conversion[3], ==, 0);
    for (int i = 5; i < ARRAY_SIZE(kernel.conversion); i++) {
        g_assert_cmphex(kernel.conversion[i], ==, 0);
    }
}

static void test_converted(void)
{
    set_kernel(0);
    check_conversion(true, 0, 8 * MiB);
    check_conversion(false, 0, 8 * MiB);
}

/* Pages are converted all or none. */
static void test_page_in_use(void)
{
    set_kernel(0);
    kernel.convert_err = EAGAIN;
    kernel.error_offset = 9 * MiB;
    check_conversion(true, -EAGAIN, 0);
}

static void check_large(int ret, uint64_t done, int conversions)
{
    uint64_t so_much = 1;

    kernel.conversions = 0;
    kernel.converted = 0;
    g_assert_cmpint(kvm_guest_memfd_convert(7, 50 * MiB, 175 * MiB, true,
                                            &so_much), ==, ret);
    g_assert_cmphex(so_much, ==, done);
    g_assert_cmphex(so_much, ==, kernel.converted);
    g_assert_cmpint(kernel.conversions, ==, conversions);
}

/* The kernel converts many pages in steps, of which one may fail. */
static void test_large(void)
{
    set_kernel(0);
    check_large(0, 175 * MiB, 4);
    g_assert_cmphex(kernel.conversion[0], ==, 192 * MiB);
    g_assert_cmphex(kernel.conversion[1], ==, 33 * MiB);
    kernel.convert_err = EAGAIN;
    kernel.error_offset = 150 * MiB;
    check_large(-EAGAIN, 78 * MiB, 3);
    g_assert_cmphex(kernel.conversion[0], ==, 128 * MiB);
    g_assert_cmphex(kernel.conversion[1], ==, 64 * MiB);
}

/* A signal lets others do something before it is tried again. */
static void test_interrupted(void)
{
    set_kernel(0);
    kernel.signals = 1;
    check_large(-EAGAIN, 0, 1);
}

/* The kernel does not say where it failed. */
static void test_conversion_refused(void)
{
    set_kernel(0);
    kernel.convert_err = EINVAL;
    check_conversion(true, -EINVAL, 0);
}

static void test_can_convert(void)
{
    int before = next_fd();

    set_kernel(MMAP);
    g_assert_cmpint(kvm_can_convert_guest_memfd(), ==, 0);
    set_kernel(MMAP | INIT_SHARED);
    g_assert_cmpint(kvm_can_convert_guest_memfd(), ==, 1);
    kernel.convert_err = ENOTTY;
    g_assert_cmpint(kvm_can_convert_guest_memfd(), ==, 0);
    /* These say nothing of what KVM can do. */
    kernel.convert_err = EACCES;
    g_assert_cmpint(kvm_can_convert_guest_memfd(), ==, -EACCES);
    kernel.err = -EMFILE;
    g_assert_cmpint(kvm_can_convert_guest_memfd(), ==, -EMFILE);
    g_assert_cmpint(next_fd(), ==, before);
}

static void test_moved(void)
{
    const uint64_t page = qemu_real_host_page_size();
    uint64_t moved = 1, failed = 2;

    memset(&kernel, 0, sizeof(kernel));
    g_assert_cmpint(kvm_can_move_guest_memfd(7), ==, 0);
    g_assert_cmpint(kvm_guest_memfd_move(7, page, 5 * page, &moved, &failed),
                    ==, 0);
    g_assert_cmphex(moved, ==, 1 + 2 * page);
    g_assert_cmphex(failed, ==, 2 + 3 * page);
}

static void test_move_refused(void)
{
    uint64_t moved = 0, failed = 0;

    memset(&kernel, 0, sizeof(kernel));
    kernel.move_err = EOPNOTSUPP;
    g_assert_cmpint(kvm_can_move_guest_memfd(7), ==, -EOPNOTSUPP);
    g_assert_cmpint(kvm_guest_memfd_move(7, 0, 1 * MiB, &moved, &failed), ==,
                    -EOPNOTSUPP);
    g_assert_cmphex(moved | failed, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kvm-guest-memfd/created", test_created);
    g_test_add_func("/kvm-guest-memfd/created-hugetlb", test_created_hugetlb);
    g_test_add_func("/kvm-guest-memfd/other-pages", test_other_pages);
    g_test_add_func("/kvm-guest-memfd/no-holes", test_no_holes);
    g_test_add_func("/kvm-guest-memfd/no-guest-memfd", test_no_guest_memfd);
    g_test_add_func("/kvm-guest-memfd/no-mmap", test_no_mmap);
    g_test_add_func("/kvm-guest-memfd/no-init-shared", test_no_init_shared);
    g_test_add_func("/kvm-guest-memfd/no-hugetlb", test_no_hugetlb);
    g_test_add_func("/kvm-guest-memfd/no-mmap-hugetlb", test_no_mmap_hugetlb);
    g_test_add_func("/kvm-guest-memfd/wrong-page-order", test_wrong_page_order);
    g_test_add_func("/kvm-guest-memfd/wrong-size", test_wrong_size);
    g_test_add_func("/kvm-guest-memfd/exhausted", test_exhausted);
    g_test_add_func("/kvm-guest-memfd/converted", test_converted);
    g_test_add_func("/kvm-guest-memfd/page-in-use", test_page_in_use);
    g_test_add_func("/kvm-guest-memfd/large", test_large);
    g_test_add_func("/kvm-guest-memfd/interrupted", test_interrupted);
    g_test_add_func("/kvm-guest-memfd/conversion-refused",
                    test_conversion_refused);
    g_test_add_func("/kvm-guest-memfd/can-convert", test_can_convert);
    g_test_add_func("/kvm-guest-memfd/moved", test_moved);
    g_test_add_func("/kvm-guest-memfd/move-refused", test_move_refused);
    return g_test_run();
}
