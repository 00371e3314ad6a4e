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
#include "hw/boards.h"
#include "system/confidential-guest-support.h"
#include "system/kvm.h"
#include "system/ram-conversion.h"
#include "map-gpa-range.h"

/* What the vCPU of this thread has begun. */
static __thread RamConversion *unfinished;
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

int map_gpa_range(hwaddr start, uint64_t size, bool to_private)
{
    RamConversion *request = ram_conversion_begin(start, size, to_private);
    int ret = ram_conversion_run(request, can_answer_later());

    if (ret == -EINPROGRESS) {
        unfinished = request;
        if (!at_exit.notify) {
            at_exit.notify = forget_unfinished;
            qemu_thread_atexit_add(&at_exit);
        }
    }
    return ret;
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

static void set_answer(CPUState *cpu, int ret)
{
    struct kvm_regs regs;

    if (!kvm_vcpu_ioctl(cpu, KVM_GET_REGS, &regs)) {
        regs.rax = map_gpa_range_answer(ret);
        kvm_vcpu_ioctl(cpu, KVM_SET_REGS, &regs);
    }
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
    /* After a reset there is nobody who asked. */
    if (ret && ret != -ECANCELED) {
        set_answer(cpu, ret);
    }
}
