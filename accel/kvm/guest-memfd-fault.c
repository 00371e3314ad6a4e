/*
 * Accesses of guests that want memory to be private, or shared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include "qapi/qapi-events-guest-memfd.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "system/confidential-guest-support.h"
#include "system/kvm.h"
#include "system/kvm-guest-memfd.h"
#include "system/ram-conversion.h"
#include "system/runstate.h"

/* of a tenth of a second each */
enum { MAX_WAITS = 100, WAIT_US = 100000 };

/*
 * Linux 7.3 doesn't see that memory is private where the guest accessed a
 * device before, unless it is asked to map it.
 */
static void map_as_it_is(hwaddr start, hwaddr size)
{
    struct kvm_pre_fault_memory range = { .gpa = start, .size = size };

    /* If it cannot, the guest's access tells again. */
    (void)kvm_vcpu_ioctl(current_cpu, KVM_PRE_FAULT_MEMORY, &range);
}

/* How often the vCPU of this thread has waited since it last got memory. */
static __thread unsigned int waits;

static void report_wait(hwaddr start, hwaddr size, bool to_private, int err)
{
    bool is_full = err == -ENOSPC;

    error_report("a processor waits for guest memory at 0x%" HWADDR_PRIx
                 ", size 0x%" HWADDR_PRIx ", to become %s: %s", start, size,
                 ram_state_name(to_private),
                 is_full ? "a device has as many mappings as it may"
                         : "something on the host goes on using it");
    error_printf("The machine is paused.  %s, then use cont.\n",
                 is_full ? "Ask the guest for the device by device_del"
                         : "End what holds the memory");
}

/*
 * The guest makes the access again, until nothing holds the memory, or other
 * processors have given some back.  If that takes too long, somebody is to see
 * why.
 */
static int wait_for_memory(hwaddr start, hwaddr size, bool to_private, int err)
{
    if (++waits < MAX_WAITS) {
        return 0;
    }
    waits = 0;
    report_wait(start, size, to_private, err);
    qapi_event_send_guest_memory_busy(start, size, to_private);
    bql_lock();
    vm_stop(RUN_STATE_PAUSED);
    bql_unlock();
    return EXCP_INTERRUPT;
}

int kvm_handle_memory_fault(hwaddr start, hwaddr size, uint64_t flags)
{
    bool to_private;
    int ret;

    if (flags & ~KVM_MEMORY_EXIT_FLAG_PRIVATE) {
        error_report("KVM_EXIT_MEMORY_FAULT: Unknown flag 0x%" PRIx64, flags);
        return -EINVAL;
    }
    /* Such an access met a conversion; what it wants is there when it ends. */
    if (current_machine->cgs &&
        current_machine->cgs->converts_by_request_only) {
        map_as_it_is(start, size);
        return 0;
    }
    to_private = flags & KVM_MEMORY_EXIT_FLAG_PRIVATE;
    ret = kvm_convert_memory(start, size, to_private);
    if (ret == -ENOSPC) {
        /* What is in use has been waited for. */
        g_usleep(WAIT_US);
    }
    if (ret == -EAGAIN || ret == -ENOSPC) {
        return wait_for_memory(start, size, to_private, ret);
    }
    waits = 0;
    if (ret) {
        error_report("guest memory at 0x%" HWADDR_PRIx ", size 0x%" HWADDR_PRIx
                     ", cannot become %s as an access wants: %s", start, size,
                     ram_state_name(to_private), strerror(-ret));
    }
    return ret;
}
