/*
 * Tests of what the lab's emulated processor owes to nested guests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "emulator-guest.h"
#include "tap.h"
#include "vm.h"

enum { RUNS = 200000, NOTIFICATIONS = 1000, INJECTIONS = 5000, HLT = 0xf4 };

#define OUR_CODE        PAGE            /* offset from CODE_GPA */
#define GDT             (2 * PAGE)
#define MMIO_GPA        0xe0000000ul
#define NO_HYPERCALL    (-1000)         /* -KVM_ENOSYS */
#define CR0_CD          0x40000000ul
#define CR4_PGE         0x80ul

static bool stop;

static void run_on_cpu(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    check(!sched_setaffinity(0, sizeof(set), &set), "processor %d", cpu);
}

/* Loading the FPU's state used to write to the first processor's flags. */
static void *load_fpu_state(void *arg)
{
    static char area[512] __attribute__((aligned(16)));

    run_on_cpu(1);
    asm volatile("fxsave %0" : "=m" (area));
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        asm volatile("fxrstor %0" : : "m" (area));
    }
    return NULL;
}

/* Entering a guest is not disturbed by what other processors do. */
static void test_entry(void)
{
    pthread_t other;
    struct vm vm;
    int i, r = 0;

    vm_create(&vm, VM_TYPE_DEFAULT, 1);
    run_on_cpu(0);
    pthread_create(&other, NULL, load_fpu_state, NULL);
    for (i = 0; i < RUNS && !r; i++) {
        r = vcpu_run(&vm, 0, GUEST(read), 0, CODE_GPA, 0, 0);
    }
    check(!r, "run %d: %d", i, r);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(other, NULL);
    vm_destroy(&vm);
}

static void *page_of(uint64_t value)
{
    uint64_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED) {
        bail_out("a page");
    }
    *page = value;
    return page;
}

static void give(struct vm *vm, void *page, uint64_t size)
{
    if (set_region(vm, 1, DATA_GPA, size, page, -1, 0)) {
        bail_out("memory of the guest");
    }
}

static void check_page(struct vm *vm, int value)
{
    int64_t seen = guest_peek_gpa(vm, DATA_GPA);

    check(seen == value, "%d in place of %d", (int)seen, value);
}

/*
 * The processor keeps its translations while it leaves a guest and comes back,
 * but one guest's are not another's, and a hypervisor can end them.
 */
static void test_translations(void)
{
    void *pages[] = { page_of(1), page_of(2), page_of(3) };
    struct vm one, other;
    int i;

    run_on_cpu(0);
    vm_create(&one, VM_TYPE_DEFAULT, 1);
    vm_create(&other, VM_TYPE_DEFAULT, 1);
    give(&one, pages[0], PAGE);
    give(&other, pages[1], PAGE);
    for (i = 0; i < 2; i++) {
        check_page(&one, 1);
        check_page(&other, 2);
    }
    check_page(&one, 1);
    give(&one, NULL, 0);
    give(&one, pages[2], PAGE);
    check_page(&one, 3);
    vm_destroy(&other);
    vm_destroy(&one);
    for (i = 0; i < 3; i++) {
        munmap(pages[i], PAGE);
    }
}

static uint32_t gpa_of(const char *label)
{
    return CODE_GPA + OUR_CODE + (label - emu_start);
}

static void add_code(struct vm *vm)
{
    memcpy(vm->code + OUR_CODE, emu_start, emu_end - emu_start);
}

static void create(struct vm *vm, int type)
{
    vm_create(vm, type, 1);
    add_code(vm);
}

/* Returns as vcpu_run() does. */
static int run_with(struct vm *vm, struct kvm_regs *regs)
{
    regs->rflags = 2;
    regs->rsp = CODE_GPA + 16 * PAGE;
    if (ioctl(vm->vcpu[0], KVM_SET_REGS, regs)) {
        bail_out("KVM_SET_REGS");
    }
    return vcpu_resume(vm, 0);
}

static struct kvm_regs get_regs(struct vm *vm)
{
    struct kvm_regs regs;

    if (ioctl(vm->vcpu[0], KVM_GET_REGS, &regs)) {
        bail_out("KVM_GET_REGS");
    }
    return regs;
}

static struct kvm_sregs get_sregs(struct vm *vm)
{
    struct kvm_sregs sregs;

    if (ioctl(vm->vcpu[0], KVM_GET_SREGS, &sregs)) {
        bail_out("KVM_GET_SREGS");
    }
    return sregs;
}

static uint64_t gate(uint32_t handler)
{
    return (handler & 0xffff) | (8ull << 16) | (0x8eull << 40) |
           ((uint64_t)(handler >> 16) << 48);
}

/* Descriptor tables that no page table of KVM's has an entry for yet. */
static void set_tables(struct vm *vm, uint64_t *idt)
{
    const uint64_t gdt[] = { 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };
    struct kvm_sregs sregs = get_sregs(vm);

    memcpy(vm->code + GDT, gdt, sizeof(gdt));
    sregs.gdt.base = CODE_GPA + GDT;
    sregs.gdt.limit = sizeof(gdt) - 1;
    sregs.idt.base = DATA_GPA;
    sregs.idt.limit = PAGE - 1;
    idt[3] = idt[0x40] = gate(gpa_of(emu_handler));
    idt[0x41] = gate(gpa_of(emu_return));
    idt[0x42] = gate(gpa_of(emu_once));
    if (set_region(vm, 1, DATA_GPA, PAGE, idt, -1, 0) ||
        ioctl(vm->vcpu[0], KVM_SET_SREGS, &sregs)) {
        bail_out("descriptor tables");
    }
}

/* Returns where the interrupt came from that the code at @entry gets. */
static uint32_t interrupted_at(struct vm *vm, const char *entry)
{
    struct kvm_regs regs = { .rip = gpa_of(entry) };
    uint64_t *idt = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int r;

    set_tables(vm, idt);
    r = run_with(vm, &regs);
    check(!r, "%d", r);
    munmap(idt, PAGE);
    return get_regs(vm).rax;
}

static void run_interrupt(const char *entry, const char *end)
{
    struct vm vm;
    uint32_t at;

    create(&vm, VM_TYPE_DEFAULT);
    at = interrupted_at(&vm, entry);
    check(at == gpa_of(end), "0x%x", at);
    vm_destroy(&vm);
}

/*
 * A software interrupt returns to what comes after it, also if the processor
 * exits while it looks for the handler and the hypervisor has to inject it.
 */
static void test_interrupts(void)
{
    run_interrupt(emu_int, emu_int_end);
    run_interrupt(emu_int3, emu_int3_end);
}

/* With the interrupt controller of a processor in the kernel. */
static void create_with_apic(struct vm *vm)
{
    struct kvm_enable_cap apic = {
        .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = 24,
    };

    vm_create(vm, VM_TYPE_DEFAULT, 0);
    check(!ioctl(vm->fd, KVM_ENABLE_CAP, &apic), "interrupt controller");
    vm_add_vcpus(vm, 1);
    add_code(vm);
}

/*
 * A guest may write to CR8 while its hypervisor waits for it to take
 * interrupts, which QEMU's emulator took for an error of its own.
 */
static void test_priority(void)
{
    struct vm vm;
    uint32_t at;

    create_with_apic(&vm);
    at = interrupted_at(&vm, emu_cr8);
    check(at == gpa_of(emu_cr8_end), "0x%x", at);
    vm_destroy(&vm);
}

/*
 * An interrupt that the hypervisor injects is delivered once, also if the
 * emulator lets the processor stop for a moment while it is handled.
 */
static void test_injection(void)
{
    struct kvm_regs regs = { .rip = gpa_of(emu_injected), .rcx = INJECTIONS };
    uint64_t *idt = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct vm vm;
    int r;

    create_with_apic(&vm);
    set_tables(&vm, idt);
    r = run_with(&vm, &regs);
    regs = get_regs(&vm);
    check(!r && !regs.rax && regs.rbx == INJECTIONS,
          "%d, EFLAGS 0x%llx after %d interrupts", r, regs.rax, (int)regs.rbx);
    vm_destroy(&vm);
    munmap(idt, PAGE);
}

/* Returns how often a guest's processor has exited. */
static uint64_t exits(const struct vm *vm)
{
    char path[64];
    uint64_t count = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/exits", getpid(),
             vm->fd);
    file = fopen(path, "r");
    if (!file || fscanf(file, "%" SCNu64, &count) != 1) {
        bail_out("%s", path);
    }
    fclose(file);
    return count;
}

/*
 * An interrupt that the guest has taken is not one that it takes when it exits
 * next: KVM lets the guest try again then, or gives up.
 */
static void test_vectoring(void)
{
    struct kvm_regs regs = {
        .rip = gpa_of(emu_notify), .rbx = MMIO_GPA, .rcx = NOTIFICATIONS,
    };
    struct kvm_ioeventfd notify = {
        .addr = MMIO_GPA, .fd = eventfd(0, EFD_NONBLOCK),
    };
    uint64_t *idt = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t count = 0, before;
    struct vm vm;
    int r;

    create(&vm, VM_TYPE_DEFAULT);
    check(!ioctl(vm.fd, KVM_IOEVENTFD, &notify), "KVM_IOEVENTFD");
    set_tables(&vm, idt);
    before = exits(&vm);
    r = run_with(&vm, &regs);
    check(!r && read(notify.fd, &count, sizeof(count)) == sizeof(count) &&
          count == NOTIFICATIONS, "%d, %d times", r, (int)count);
    check(exits(&vm) - before < NOTIFICATIONS * 3 / 2, "%d exits",
          (int)(exits(&vm) - before));
    close(notify.fd);
    vm_destroy(&vm);
    munmap(idt, PAGE);
}

/*
 * A guest whose data memory is private: the host has something else there, so
 * that a hypervisor that reads instructions itself gets the wrong ones.
 */
struct private_guest {
    struct vm vm;
    int gmem;
    char *map;
};

static void private_create(struct private_guest *g)
{
    struct create_guest_memfd args = { .size = 2 * PAGE };
    struct attributes attributes = {
        .address = DATA_GPA, .size = 2 * PAGE, .attributes = ATTRIBUTE_PRIVATE,
    };

    create(&g->vm, VM_TYPE_SW_PROTECTED);
    g->gmem = ioctl(g->vm.fd, CREATE_GUEST_MEMFD, &args);
    g->map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(g->map, HLT, 2 * PAGE);
    if (g->gmem < 0 ||
        set_region(&g->vm, 1, DATA_GPA, 2 * PAGE, g->map, g->gmem, 0) ||
        ioctl(g->vm.fd, SET_ATTRIBUTES, &attributes)) {
        bail_out("private memory");
    }
}

static void private_destroy(struct private_guest *g)
{
    vm_destroy(&g->vm);
    munmap(g->map, 2 * PAGE);
    close(g->gmem);
}

/* Has the guest move a piece of code into private memory and run it there. */
static int run_private(struct private_guest *g, const char *code,
                       uint32_t offset, uint32_t ebx)
{
    struct kvm_regs regs = {
        .rip = gpa_of(emu_move), .rsi = gpa_of(code),
        .rdi = DATA_GPA + offset, .rdx = DATA_GPA + offset,
        .rcx = 64, .rbx = ebx,
    };

    return run_with(&g->vm, &regs);
}

/* The hypervisor learns where the next instruction is without looking. */
static void test_next_rip(void)
{
    struct private_guest g;
    struct kvm_regs regs;
    int r;

    private_create(&g);
    r = run_private(&g, emu_cpuid, 0, 0);
    regs = get_regs(&g.vm);
    check(!r && !regs.rbx, "%d, EBX 0x%llx", r, regs.rbx);
    r = run_private(&g, emu_msr, 0, 0);
    check(!r, "%d", r);
    r = run_private(&g, emu_vmmcall, 0, 0);
    regs = get_regs(&g.vm);
    check(!r && (int32_t)regs.rax == NO_HYPERCALL, "%d, EAX 0x%llx", r,
          regs.rax);
    private_destroy(&g);
}

/* It is told the instruction that it must emulate. */
static void test_instruction(void)
{
    /* the other crosses pages */
    const uint32_t offsets[] = { 0, PAGE - 4 };
    struct private_guest g;
    unsigned int i;
    int r;

    private_create(&g);
    for (i = 0; i < 2; i++) {
        struct kvm_run *run = g.vm.run[0];

        r = run_private(&g, emu_mmio, offsets[i], MMIO_GPA);
        check(r == KVM_EXIT_MMIO && g.vm.mmio == MMIO_GPA + PAGE &&
              run->mmio.is_write && run->mmio.len == 4 &&
              !memcmp(run->mmio.data, "\x44\x33\x22\x11", 4),
              "%d, address 0x%llx", r, (unsigned long long)g.vm.mmio);
        r = vcpu_resume(&g.vm, 0);
        check(!r, "%d", r);
    }
    private_destroy(&g);
}

/* It is told the registers of moves to and from control and debug registers. */
static void test_registers(void)
{
    struct kvm_guest_debug debug = {
        .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
        .arch.debugreg[7] = 0x400,
    };
    struct private_guest g;
    struct kvm_regs regs;
    int r;

    private_create(&g);
    r = run_private(&g, emu_cr, 0, 0);
    check(!r && (get_sregs(&g.vm).cr4 & CR4_PGE) &&
          (get_sregs(&g.vm).cr0 & CR0_CD), "%d", r);
    check(!ioctl(g.vm.vcpu[0], KVM_SET_GUEST_DEBUG, &debug), "debugging");
    r = run_private(&g, emu_dr, 0, 0x12345000);
    regs = get_regs(&g.vm);
    check(!r && regs.rdi == 0x12345000, "%d, EDI 0x%llx", r, regs.rdi);
    private_destroy(&g);
}

static const struct test tests[] = {
    { "entry", test_entry },
    { "translations", test_translations },
    { "interrupts", test_interrupts },
    { "priority", test_priority },
    { "injection", test_injection },
    { "vectoring", test_vectoring },
    { "next-rip", test_next_rip },
    { "instruction", test_instruction },
    { "registers", test_registers },
};

int main(int argc, char **argv)
{
    const char *reason = kvm_open();

    if (reason) {
        bail_out("%s", reason);
    }
    return tap_run(tests, sizeof(tests) / sizeof(tests[0]), argv + 1);
}
