/*
 * The least that runs a bare-metal guest of tests/guest: what a conversion
 * costs without QEMU
 *
 * usage: least-vmm FIRMWARE SIZE_MIB PAGE_KIB
 *
 * Memory is converted in place: an exit, the ioctl, and back into the guest.
 * What the guest prints goes to stdout.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <x86intrin.h>
#include "memory.h"
#include "tap.h"

#define ROM_SIZE        0x10000ul
#define ROM_GPA         (0x100000000ul - ROM_SIZE)
#define MAX_CPUID       256

enum { HC_MAP_GPA_RANGE = 12, HC_PRIVATE = 1 << 4 };

/* The devices: those of QEMU, and one that tells what the last ioctl took. */
enum {
    SERIAL = 0x3f8, SERIAL_STATUS = SERIAL + 5, SERIAL_READY = 0x21,
    DEBUG_EXIT = 0xf4, GOOD_END = 21, /* of tests/guest/runtime/ */
    LAST_IOCTL = 0x1c0,
};

static struct vm vm;
static struct mem mem;
static uint32_t last_ioctl;

static void enable_hypercall(void)
{
    struct kvm_enable_cap cap = {
        .cap = CAP_EXIT_HYPERCALL, .args = { 1 << HC_MAP_GPA_RANGE },
    };

    if (ioctl(vm.fd, KVM_ENABLE_CAP, &cap)) {
        bail_out("KVM_CAP_EXIT_HYPERCALL");
    }
}

static void create_vcpu(void)
{
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + MAX_CPUID *
                                      sizeof(cpuid->entries[0]));

    if (ioctl(vm.fd, KVM_CREATE_IRQCHIP, 0)) {
        bail_out("KVM_CREATE_IRQCHIP");
    }
    vm.run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    vm.vcpu[0] = ioctl(vm.fd, KVM_CREATE_VCPU, 0);
    vm.run[0] = mmap(NULL, vm.run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                     vm.vcpu[0], 0);
    cpuid->nent = MAX_CPUID;
    if (vm.run[0] == MAP_FAILED ||
        ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) ||
        ioctl(vm.vcpu[0], KVM_SET_CPUID2, cpuid)) {
        bail_out("creating a vCPU");
    }
    free(cpuid);
}

static void load_firmware(const char *path)
{
    char *rom = mmap(NULL, ROM_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open(path, O_RDONLY);

    if (rom == MAP_FAILED || read(fd, rom, ROM_SIZE) != ROM_SIZE ||
        set_region(&vm, 0, ROM_GPA, ROM_SIZE, rom, -1, 0)) {
        bail_out("loading %s", path);
    }
    close(fd);
}

/* All private, as for a guest of QEMU's when it starts. */
static void create_memory(size_t size, unsigned int order)
{
    mem.vm = &vm;
    mem.npages = size / PAGE;
    mem.fd = order ? gmem_create_huge(&vm, size, FLAG_MMAP, order)
                   : gmem_create(&vm, size, FLAG_MMAP);
    mem.map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, mem.fd, 0);
    if (mem.fd < 0 || mem.map == MAP_FAILED ||
        set_region(&vm, 1, 0, size, mem.map, mem.fd, 0)) {
        bail_out("creating memory");
    }
}

static uint32_t read_port(uint16_t port)
{
    switch (port) {
    case SERIAL_STATUS:
        return SERIAL_READY;
    case LAST_IOCTL:
        return last_ioctl;
    default:
        return ~0;
    }
}

static void handle_io(struct kvm_run *run)
{
    void *data = (char *)run + run->io.data_offset;
    uint32_t value;

    if (run->io.direction == KVM_EXIT_IO_IN) {
        value = read_port(run->io.port);
        memcpy(data, &value, run->io.size);
    } else if (run->io.port == SERIAL) {
        putchar(*(char *)data);
    } else if (run->io.port == DEBUG_EXIT) {
        exit(*(uint8_t *)data == GOOD_END ? 0 : 1);
    }
}

static void handle_hypercall(struct kvm_run *run)
{
    const uint64_t *args = (uint64_t *)run->hypercall.args;
    uint64_t begin = __rdtsc();
    int r = args[2] & HC_PRIVATE
        ? to_private_retry(&mem, args[0] / PAGE, args[1], NULL)
        : to_shared(&mem, args[0] / PAGE, args[1]);

    last_ioctl = __rdtsc() - begin;
    run->hypercall.ret = r;
}

static void run(void)
{
    struct kvm_run *run = vm.run[0];

    for (;;) {
        if (ioctl(vm.vcpu[0], KVM_RUN, 0) && errno != EINTR) {
            bail_out("KVM_RUN");
        }
        switch (run->exit_reason) {
        case KVM_EXIT_IO:
            handle_io(run);
            break;
        case KVM_EXIT_HYPERCALL:
            handle_hypercall(run);
            break;
        case KVM_EXIT_INTR:
            break;
        default:
            bail_out("exit reason %u", run->exit_reason);
        }
    }
}

int main(int argc, char **argv)
{
    const char *reason = kvm_open();

    if (argc != 4) {
        bail_out("usage: least-vmm FIRMWARE SIZE_MIB PAGE_KIB");
    }
    if (reason) {
        bail_out("%s", reason);
    }
    vm_create(&vm, VM_TYPE_SW_PROTECTED, 0);
    enable_hypercall();
    create_vcpu();
    load_firmware(argv[1]);
    create_memory(atol(argv[2]) << 20,
                  __builtin_ctzl(atol(argv[3]) / 4));
    run();
}
