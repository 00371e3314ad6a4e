/*
 * Conversion of memory by the hypercall KVM_HC_MAP_GPA_RANGE
 *
 * A guest may ask for so much that others cannot wait for it.  When the vCPU is
 * to stop meanwhile, KVM gets an answer, and what is left is done before the
 * guest sees it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include "qapi/error.h"
#include "qapi/qapi-events-guest-memfd.h"
#include "qemu/main-loop.h"
#include "hw/boards.h"
#include "system/confidential-guest-support.h"
#include "system/kvm.h"
#include "system/ram-conversion.h"
#include "system/runstate.h"
#include "cpu.h"
#include "map-gpa-range.h"

/* What the vCPU of this thread has begun, and what it is about. */
static __thread RamConversion *unfinished;
static __thread struct {
    hwaddr start;
    uint64_t size;
    bool to_private;
} asked;
static __thread Notifier at_exit;

/* The vCPU is unplugged. */
static void forget_unfinished(Notifier *notifier, void *data)
{
    if (unfinished) {
        ram_conversion_abandon(unfinished);
        ram_conversion_run(unfinished, false);
        unfinished = NULL;
    }
}

/* The registers of other guests are not QEMU's to change. */
static bool can_answer_later(void)
{
    return current_machine->cgs->converts_by_request_only;
}

static int convert(hwaddr start, uint64_t size, bool to_private)
{
    int ret = ram_conversion_try(start, size, to_private);
    RamConversion *request;

    if (ret != -EAGAIN) {
        return ret;
    }
    request = ram_conversion_begin(start, size, to_private);
    ret = ram_conversion_run(request, can_answer_later());
    if (ret == -EINPROGRESS) {
        unfinished = request;
        if (!at_exit.notify) {
            at_exit.notify = forget_unfinished;
            qemu_thread_atexit_add(&at_exit);
        }
    }
    return ret;
}

/* Not of what a guest may not ask for, nor after a reset. */
static void report_failure(int ret)
{
    if (ret && ret != -EINPROGRESS && ret != -EINVAL && ret != -ECANCELED) {
        qapi_event_send_guest_memory_conversion_failed(
            asked.start, asked.size, asked.to_private, strerror(-ret));
    }
}

int map_gpa_range(hwaddr start, uint64_t size, bool to_private)
{
    int ret = convert(start, size, to_private);

    asked.start = start;
    asked.size = size;
    asked.to_private = to_private;
    report_failure(ret);
    return ret;
}

void map_gpa_range_pre_fault(CPUState *cpu, hwaddr start, uint64_t size)
{
    struct kvm_pre_fault_memory left = { .gpa = start, .size = size };

    if (!kvm_pre_fault_memory_supported || size > RAM_CONVERSION_STEP ||
        machine_converts_in_place(current_machine)) {
        return;
    }
    while (left.size && !qatomic_load_acquire(&cpu->exit_request) &&
           !kvm_vcpu_ioctl(cpu, KVM_PRE_FAULT_MEMORY, &left)) {
        /* KVM has done a part, and changed what is left. */
    }
}

uint64_t map_gpa_range_answer(int ret)
{
    if (!ret || ret == -EINPROGRESS) {
        return 0;
    }
    if (!machine_require_guest_memfd(current_machine) ||
        current_machine->cgs->converts_by_request_only) {
        return ret;
    }
    return ret == -EAGAIN ? EAGAIN : EINVAL;
}

/* Who was told that memory is private, and it is not, must not go on. */
static void stop_machine(Error *err)
{
    error_reportf_err(err, "cannot tell a guest that a conversion of its "
                      "memory failed: ");
    bql_lock();
    vm_stop(RUN_STATE_INTERNAL_ERROR);
    bql_unlock();
}

/* As KVM would, which has answered already; what is pending stays so. */
static void set_answer(CPUState *cpu, int ret)
{
    CPUX86State *env = &X86_CPU(cpu)->env;
    uint64_t answer = map_gpa_range_answer(ret);
    Error *err = NULL;

    kvm_cpu_synchronize_state(cpu);
    env->regs[R_EAX] = env->hflags & HF_CS64_MASK ? answer : (uint32_t)answer;
    ret = kvm_arch_put_registers(cpu, KVM_PUT_RUNTIME_STATE, &err);
    if (ret) {
        if (!err) {
            error_setg_errno(&err, -ret, "KVM refuses the registers");
        }
        stop_machine(err);
        return;
    }
    cpu->vcpu_dirty = false;
}

void map_gpa_range_finish(CPUState *cpu)
{
    int ret;

    if (likely(!unfinished) || qatomic_load_acquire(&cpu->exit_request)) {
        return;
    }
    ret = ram_conversion_run(unfinished, true);
    if (ret == -EINPROGRESS) {
        return;
    }
    unfinished = NULL;
    report_failure(ret);
    /* After a reset there is nobody who asked. */
    if (ret && ret != -ECANCELED) {
        set_answer(cpu, ret);
    }
}
