/*
 * A virtual machine, and a guest that does as it is told
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "tap.h"
#include "vm.h"

int kvm;

/*
 * The guest: 32 bits, flat, no paging.  It does one of these at a time, with
 * registers as parameters, and says by an OUT that it is done.
 */
#define LABEL(name) ".globl code_" name "\ncode_" name ":\n"

asm(".pushsection .rodata\n"
    ".code32\n"
    LABEL("start")
    LABEL("read")
    "    mov (%ebx), %eax\n"
    "    out %al, $0x10\n"
    LABEL("write")
    "    mov %ecx, (%ebx)\n"
    "    out %al, $0x10\n"
    /* Write a dword to each of ECX pages from EBX on. */
    LABEL("fill")
    "    mov %eax, (%ebx)\n"
    "    add $0x1000, %ebx\n"
    "    loop code_fill\n"
    "    out %al, $0x10\n"
    /* Compare a dword in each of ECX pages from EBX on with EAX. */
    LABEL("compare")
    "    cmp %eax, (%ebx)\n"
    "    jne 4f\n"
    "    add $0x1000, %ebx\n"
    "    loop code_compare\n"
    "    out %al, $0x10\n"
    /* Ask for the ECX pages from EBX on to become what EDX says. */
    LABEL("hypercall")
    "    vmmcall\n"
    "    test %eax, %eax\n"
    "    jnz 4f\n"
    "    out %al, $0x10\n"
    /*
     * Count in each of ECX pages from EBX on, EDX times, each time checking
     * that the page still holds what was counted before.
     */
    LABEL("count")
    "    xor %eax, %eax\n"
    "1:  push %ecx\n"
    "    mov %ebx, %edi\n"
    "2:  cmp %eax, (%edi)\n"
    "    jne 3f\n"
    "    incl (%edi)\n"
    "    add $0x1000, %edi\n"
    "    loop 2b\n"
    "    pop %ecx\n"
    "    inc %eax\n"
    "    cmp %edx, %eax\n"
    "    jb 1b\n"
    "    out %al, $0x10\n"
    "3:\n"
    "4:  out %al, $0x11\n"
    LABEL("end")
    ".code64\n"
    ".popsection\n");

const char *kvm_open(void)
{
    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        return "/dev/kvm cannot be opened";
    }
    if (!(vm_cap(kvm, CAP_VM_TYPES) & (1 << VM_TYPE_SW_PROTECTED))) {
        return "no software-protected VMs";
    }
    return NULL;
}

int vm_cap(int fd, long cap)
{
    return ioctl(fd, KVM_CHECK_EXTENSION, cap);
}

int set_region(struct vm *vm, uint32_t slot, uint64_t gpa, uint64_t size,
               void *hva, int gmem, uint64_t offset)
{
    struct region2 region = {
        .slot = slot,
        .flags = gmem >= 0 ? MEM_GUEST_MEMFD : 0,
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uintptr_t)hva,
        .guest_memfd = gmem >= 0 ? gmem : 0,
        .guest_memfd_offset = offset,
    };

    return ioctl(vm->fd, SET_USER_MEMORY_REGION2, &region);
}

bool kvm_parameter(const char *name)
{
    char path[80];
    FILE *f;
    int c;

    snprintf(path, sizeof(path), "/sys/module/kvm/parameters/%s", name);
    f = fopen(path, "r");
    c = f ? fgetc(f) : 'N';
    if (f) {
        fclose(f);
    }
    return c == 'Y';
}

static void set_up_vcpu(struct vm *vm, int i)
{
    struct kvm_sregs sregs;

    vm->run[i] = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                      vm->vcpu[i], 0);
    if (vm->run[i] == MAP_FAILED || ioctl(vm->vcpu[i], KVM_GET_SREGS, &sregs)) {
        bail_out("setting up a vCPU");
    }
    sregs.cs = (struct kvm_segment) {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1,
        .db = 1, .s = 1, .g = 1,
    };
    sregs.ds = sregs.cs;
    sregs.ds.selector = 16;
    sregs.ds.type = 3;
    sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
    sregs.cr0 |= 1;
    if (ioctl(vm->vcpu[i], KVM_SET_SREGS, &sregs)) {
        bail_out("setting up a vCPU's segments");
    }
}

void vm_add_vcpus(struct vm *vm, int nr_vcpus)
{
    int i;

    vm->nr_vcpus = nr_vcpus;
    vm->code = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (vm->code == MAP_FAILED ||
        set_region(vm, 0, CODE_GPA, 16 * PAGE, vm->code, -1, 0)) {
        bail_out("memory for code");
    }
    memcpy(vm->code, GUEST(start), GUEST(end) - GUEST(start));
    vm->run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

    for (i = 0; i < nr_vcpus; i++) {
        vm->vcpu[i] = ioctl(vm->fd, KVM_CREATE_VCPU, i);
        if (vm->vcpu[i] < 0) {
            bail_out("creating a vCPU");
        }
        set_up_vcpu(vm, i);
    }
}

void vm_create(struct vm *vm, int type, int nr_vcpus)
{
    memset(vm, 0, sizeof(*vm));
    do {
        /* io_uring lets go of pins later, and interrupts system calls then. */
        vm->fd = ioctl(kvm, KVM_CREATE_VM, type);
    } while (vm->fd < 0 && errno == EINTR);
    if (vm->fd < 0) {
        bail_out("creating a VM of type %d", type);
    }
    if (nr_vcpus) {
        vm_add_vcpus(vm, nr_vcpus);
    }
}

void vm_destroy(struct vm *vm)
{
    int i;

    for (i = 0; i < vm->nr_vcpus; i++) {
        munmap(vm->run[i], vm->run_size);
        close(vm->vcpu[i]);
    }
    if (vm->code) {
        munmap(vm->code, 16 * PAGE);
    }
    close(vm->fd);
}

int vcpu_resume(struct vm *vm, int n)
{
    struct kvm_run *run = vm->run[n];

    while (ioctl(vm->vcpu[n], KVM_RUN, 0)) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    if (run->exit_reason == KVM_EXIT_IO && run->io.port == 0x10) {
        return 0;
    }
    if (run->exit_reason == KVM_EXIT_MMIO) {
        /* Complete it, so that it doesn't spoil what is run next. */
        vm->mmio = run->mmio.phys_addr;
        run->immediate_exit = 1;
        ioctl(vm->vcpu[n], KVM_RUN, 0);
        run->immediate_exit = 0;
        return KVM_EXIT_MMIO;
    }
    return run->exit_reason;
}

int vcpu_run(struct vm *vm, int n, const char *entry, uint32_t eax,
             uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    struct kvm_regs regs = {
        .rip = CODE_GPA + (entry - GUEST(start)),
        .rflags = 2,
        .rsp = CODE_GPA + (16 - 2 * n) * PAGE,
        .rax = eax, .rbx = ebx, .rcx = ecx, .rdx = edx,
    };

    if (ioctl(vm->vcpu[n], KVM_SET_REGS, &regs)) {
        bail_out("KVM_SET_REGS");
    }
    return vcpu_resume(vm, n);
}

int vcpu_count(struct vm *vm, int n, uint64_t gpa, uint32_t npages,
               uint32_t rounds, unsigned int *spurious)
{
    struct kvm_run *run = vm->run[n];
    int r = vcpu_run(vm, n, GUEST(count), 0, gpa, npages, rounds);

    while (r == -EAGAIN ||
           (r == -EFAULT && run->exit_reason == EXIT_MEMORY_FAULT)) {
        if (r == -EFAULT) {
            __atomic_add_fetch(spurious, 1, __ATOMIC_RELAXED);
        }
        r = vcpu_resume(vm, n);
    }
    return r;
}

int vcpu_pre_fault(struct vm *vm, int n, struct pre_fault *range)
{
    while (range->size) {
        if (ioctl(vm->vcpu[n], PRE_FAULT_MEMORY, range)) {
            return -errno;
        }
    }
    return 0;
}

int64_t guest_peek_gpa(struct vm *vm, uint64_t gpa)
{
    struct kvm_regs regs;
    int r = vcpu_run(vm, 0, GUEST(read), 0, gpa, 0, 0);

    if (r) {
        return r > 0 ? -1000 - r : r;
    }
    if (ioctl(vm->vcpu[0], KVM_GET_REGS, &regs)) {
        bail_out("KVM_GET_REGS");
    }
    return (uint32_t)regs.rax;
}

struct memory_fault *memory_fault(struct vm *vm, int n)
{
    return (struct memory_fault *)vm->run[n]->padding;
}
