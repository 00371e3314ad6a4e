/*
 * Confidential guest for plain hardware: private memory without protection
 *
 * The VM is a KVM_X86_SW_PROTECTED_VM (Linux, Documentation/virt/kvm/api.rst).
 * It is there to build, test and debug what needs private memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm_para.h>
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/range.h"
#include "qemu/rcu.h"
#include "qom/object_interfaces.h"
#include "exec/target_page.h"
#include "hw/boards.h"
#include "hw/i386/directboot.h"
#include "hw/i386/x86.h"
#include "hw/loader.h"
#include "hw/qdev-core.h"
#include "hw/resettable.h"
#include "migration/blocker.h"
#include "migration/vmstate.h"
#include "system/address-spaces.h"
#include "system/hostmem.h"
#include "system/kvm.h"
#include "system/kvm-guest-memfd.h"
#include "system/ram-private.h"
#include "system/reset.h"
#include "system/system.h"
#include "../confidential-guest.h"
#include "../host-cpu.h"
#include "kvm_i386.h"
#include "private-memory-cpuid.h"
#include "trace.h"

#define TYPE_SW_PROTECTED_GUEST "sw-protected-guest"

OBJECT_DECLARE_SIMPLE_TYPE(SwProtectedGuest, SW_PROTECTED_GUEST)

struct SwProtectedGuest {
    X86ConfidentialGuest parent_obj;

    ResettableState reset_state;
    Notifier machine_done;
    Error *migration_blocker;
    bool was_reset;
    bool reset_failed;
};

OBJECT_DEFINE_SIMPLE_TYPE_WITH_INTERFACES(SwProtectedGuest, sw_protected_guest,
                                          SW_PROTECTED_GUEST,
                                          X86_CONFIDENTIAL_GUEST,
                                          { TYPE_USER_CREATABLE },
                                          { TYPE_RESETTABLE_INTERFACE }, {})

static int sw_protected_kvm_type(X86ConfidentialGuest *cg)
{
    if (!kvm_is_vm_type_supported(KVM_X86_SW_PROTECTED_VM)) {
        error_report("KVM on this host has no VMs for " TYPE_SW_PROTECTED_GUEST
                     " (KVM_X86_SW_PROTECTED_VM)");
        error_printf("It has them if its kernel was built with "
                     "CONFIG_KVM_SW_PROTECTED_VM, and the modules kvm_amd or "
                     "kvm_intel use nested page tables.\n");
        exit(1);
    }
    return KVM_X86_SW_PROTECTED_VM;
}

/*
 * KVM emulates accesses to devices.  Where the processor doesn't tell it the
 * instruction, it reads that through QEMU's mapping, as if it were shared.
 */
static void warn_of_private_code(void)
{
    const uint32_t needed = CPUID_SVM_NRIPSAVE | CPUID_SVM_DECODEASSIST;
    uint32_t edx = 0;

    if (!is_host_cpu_intel()) {
        host_cpuid(0x8000000a, 0, NULL, NULL, NULL, &edx);
    }
    if ((edx & needed) != needed) {
        warn_report("this processor does not decode instructions for KVM: "
                    "private code of a " TYPE_SW_PROTECTED_GUEST " cannot "
                    "access devices by memory");
        error_printf("It can on processors of AMD with the flags decodeassists "
                     "and nrip_save in /proc/cpuinfo.\n");
    }
}

static bool check_machine(Error **errp)
{
    ERRP_GUARD();
    X86MachineState *x86ms = (X86MachineState *)
        object_dynamic_cast(qdev_get_machine(), TYPE_X86_MACHINE);

    if (!x86ms) {
        error_setg(errp, "property 'confidential-guest-support' of the machine "
                   "doesn't take a " TYPE_SW_PROTECTED_GUEST);
        error_append_hint(errp, "Use -machine q35, pc or microvm.\n");
        return false;
    }
    if (x86ms->smm == ON_OFF_AUTO_ON) {
        error_setg(errp, "property 'smm' of the machine doesn't take value "
                   "'on': KVM has no SMM for VMs with private memory");
        error_append_hint(errp, "Leave 'smm' out, or use smm=off.\n");
        return false;
    }
    x86ms->smm = ON_OFF_AUTO_OFF;
    return true;
}

/* So that no saved state is loaded, either: it lacks what was private. */
static const VMStateDescription vmstate_sw_protected = {
    .name = TYPE_SW_PROTECTED_GUEST,
    .unmigratable = 1,
};

/*
 * After all buses: memory is emptied when devices were reset and, as the last
 * of them, IOMMUs.
 */
static void sw_protected_machine_done(Notifier *notifier, void *data)
{
    qemu_register_resettable(OBJECT(container_of(notifier, SwProtectedGuest,
                                                 machine_done)));
}

static int sw_protected_kvm_init(ConfidentialGuestSupport *cgs, Error **errp)
{
    SwProtectedGuest *guest = SW_PROTECTED_GUEST(cgs);
    int ret;

    if (!check_machine(errp)) {
        return -EINVAL;
    }
    if (!kvm_enable_hypercall(BIT_ULL(KVM_HC_MAP_GPA_RANGE))) {
        error_setg_errno(errp, errno, "KVM on this host doesn't hand on "
                         "guests' requests to convert memory "
                         "(KVM_CAP_EXIT_HYPERCALL)");
        return -EOPNOTSUPP;
    }
    error_setg(&guest->migration_blocker, TYPE_SW_PROTECTED_GUEST
               " cannot be migrated: its private memory cannot be read");
    ret = migrate_add_blocker(&guest->migration_blocker, errp);
    if (ret < 0) {
        return ret;
    }
    vmstate_register(NULL, 0, &vmstate_sw_protected, guest);
    warn_of_private_code();
    guest->machine_done.notify = sw_protected_machine_done;
    qemu_add_machine_init_done_notifier(&guest->machine_done);
    cgs->ready = true;
    return 0;
}

/* At start-up without memory there is no guest; later on it stops. */
static void give_up(const SwProtectedGuest *guest)
{
    if (!guest->was_reset) {
        exit(1);
    }
    error_printf("The machine stops.  End what holds the guest's memory, then "
                 "use system_reset and cont.\n");
}

static bool sw_protected_can_run(ConfidentialGuestSupport *cgs, Error **errp)
{
    ERRP_GUARD();

    if (SW_PROTECTED_GUEST(cgs)->reset_failed) {
        error_setg(errp, "the machine cannot run: its memory is not that of a "
                   "machine that was reset");
        error_append_hint(errp, "End what holds the guest's memory, then use "
                          "system_reset.\n");
        return false;
    }
    return true;
}

static bool convert_range(hwaddr start, hwaddr size, bool to_private)
{
    int ret = kvm_convert_memory(start, size, to_private);

    trace_sw_protected_guest_convert(start, size,
                                     to_private ? "private" : "shared", ret);
    if (ret) {
        error_report("cannot make memory at 0x%" HWADDR_PRIx ", size 0x%"
                     HWADDR_PRIx ", %s for " TYPE_SW_PROTECTED_GUEST ": %s",
                     start, size, to_private ? "private" : "shared",
                     strerror(-ret));
    }
    return !ret;
}

/* Finds memory of backends: firmware and ROMs, which have none, stay shared. */
static bool add_ram(Int128 start, Int128 size, const MemoryRegion *mr,
                    hwaddr offset, void *opaque)
{
    Range range;

    if (memory_region_has_guest_memfd((MemoryRegion *)mr) &&
        backend_of_ram((MemoryRegion *)mr)) {
        range_set_bounds(&range, int128_get64(start),
                         int128_get64(start) + int128_get64(size) - 1);
        g_array_append_val((GArray *)opaque, range);
    }
    return false;
}

/* Those of the loader, and those of a kernel that is booted in place */
static bool find_next_image(hwaddr addr, hwaddr *start, hwaddr *end)
{
    bool found = rom_find_next(addr, start, end);
    hwaddr piece, piece_end;

    if (directboot_find_next(addr, &piece, &piece_end) &&
        (!found || piece < *start)) {
        *start = piece;
        *end = piece_end;
        found = true;
    }
    return found;
}

static bool make_private_around_images(Range *ram)
{
    hwaddr start = range_lob(ram), end = range_upb(ram) + 1, image, image_end;

    while (start < end) {
        if (!find_next_image(start, &image, &image_end) || image >= end) {
            image = image_end = end;
        }
        image = MAX(start, QEMU_ALIGN_DOWN(image, TARGET_PAGE_SIZE));
        if (start < image && !convert_range(start, image - start, true)) {
            return false;
        }
        start = QEMU_ALIGN_UP(image_end, TARGET_PAGE_SIZE);
    }
    return true;
}

/* Nobody can write to private memory that has a backing of its own. */
static bool make_private_by_address(void)
{
    g_autoptr(GArray) ram = g_array_new(false, false, sizeof(Range));

    WITH_RCU_READ_LOCK_GUARD() {
        FlatView *view = address_space_to_flatview(&address_space_memory);

        flatview_for_each_range(view, add_ram, ram);
    }
    for (int i = 0; i < ram->len; i++) {
        if (!make_private_around_images(&g_array_index(ram, Range, i))) {
            return false;
        }
    }
    return true;
}

static bool make_all_private(void)
{
    return machine_converts_in_place(current_machine)
        ? !kvm_convert_all_in_place(true) : make_private_by_address();
}

static int mark_shared(RAMBlock *rb, void *opaque)
{
    if (rb->attributes) {
        ram_block_attributes_set(rb->attributes, 0, rb->max_length, true);
    }
    return 0;
}

/*
 * Memory that the guest has hidden behind devices is still as it was: KVM has
 * no attributes of it, and nothing can reach it.
 */
static bool make_shared_by_address(void)
{
    hwaddr all = QEMU_ALIGN_DOWN(HWADDR_MAX, TARGET_PAGE_SIZE);

    if (!convert_range(0, all, false)) {
        return false;
    }
    ram_block_attributes_lock();
    qemu_ram_foreach_block(mark_shared, NULL);
    ram_block_attributes_unlock();
    return !kvm_free_guest_memfds();
}

/* So that images can be written. */
static bool make_all_shared(void)
{
    return machine_converts_in_place(current_machine)
        ? !kvm_convert_all_in_place(false) : make_shared_by_address();
}

static int preallocate_again(RAMBlock *rb, void *opaque)
{
    HostMemoryBackend *backend = backend_of_ram(rb->mr);
    Error *err = NULL;

    if (ram_converts_in_place(rb) && backend && backend->prealloc &&
        !MEMORY_BACKEND_GET_CLASS(backend)->prealloc(backend, false, &err)) {
        warn_report_err(err);
    }
    return 0;
}

/* What a guest had in memory is not for the host, nor for the next guest. */
static bool forget_all(SwProtectedGuest *guest)
{
    return !guest->was_reset || !machine_converts_in_place(current_machine) ||
           !kvm_free_guest_memfds();
}

static bool renew_memory(SwProtectedGuest *guest)
{
    if (!forget_all(guest) || !make_all_shared()) {
        return false;
    }
    rom_load_all();
    directboot_load();
    if (!make_all_private()) {
        return false;
    }
    kvm_end_loading();
    return true;
}

/*
 * A guest that wakes up goes on with the memory that it has.  What was saved of
 * a machine would follow the reset.
 */
static bool keeps_memory(ResetType type)
{
    return type == RESET_TYPE_WAKEUP || type == RESET_TYPE_SNAPSHOT_LOAD;
}

/* Assigned devices, which have been reset, lose memory before IOMMUs do. */
static void sw_protected_reset_hold(Object *obj, ResetType type)
{
    if (!keeps_memory(type)) {
        kvm_begin_loading();
    }
}

static void sw_protected_reset_exit(Object *obj, ResetType type)
{
    SwProtectedGuest *guest = SW_PROTECTED_GUEST(obj);

    if (type == RESET_TYPE_SNAPSHOT_LOAD) {
        /* Nothing follows: such a machine is not saved. */
        guest->reset_failed = true;
    }
    if (keeps_memory(type)) {
        return;
    }
    guest->reset_failed = !renew_memory(guest);
    if (guest->reset_failed) {
        give_up(guest);
        return;
    }
    if (guest->was_reset) {
        qemu_ram_foreach_block(preallocate_again, NULL);
    }
    guest->was_reset = true;
}

static ResettableState *sw_protected_get_reset_state(Object *obj)
{
    return &SW_PROTECTED_GUEST(obj)->reset_state;
}

static void sw_protected_guest_init(Object *obj)
{
    ConfidentialGuestSupport *cgs = CONFIDENTIAL_GUEST_SUPPORT(obj);

    cgs->require_guest_memfd = true;
    cgs->starts_shared = true;
    cgs->converts_by_request_only = true;
    cgs->loads_images = true;
}

static void sw_protected_guest_finalize(Object *obj)
{
    migrate_del_blocker(&SW_PROTECTED_GUEST(obj)->migration_blocker);
}

static void sw_protected_guest_class_init(ObjectClass *oc, const void *data)
{
    ConfidentialGuestSupportClass *klass = CONFIDENTIAL_GUEST_SUPPORT_CLASS(oc);
    X86ConfidentialGuestClass *x86_klass = X86_CONFIDENTIAL_GUEST_CLASS(oc);
    ResettableClass *rc = RESETTABLE_CLASS(oc);

    klass->kvm_init = sw_protected_kvm_init;
    klass->can_run = sw_protected_can_run;
    x86_klass->kvm_type = sw_protected_kvm_type;
    x86_klass->add_kvm_cpuid = kvm_add_private_memory_cpuid;
    x86_klass->flash_is_rom = true;
    x86_klass->direct_boot = true;
    rc->get_state = sw_protected_get_reset_state;
    rc->phases.hold = sw_protected_reset_hold;
    rc->phases.exit = sw_protected_reset_exit;
}
