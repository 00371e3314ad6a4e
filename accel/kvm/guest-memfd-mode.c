/*
 * Whether memory of a confidential guest is converted in place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include "qapi/error.h"
#include "system/confidential-guest-support.h"
#include "system/kvm.h"
#include "system/kvm-guest-memfd.h"
#include "trace.h"

#define REFUSES "property 'convert-in-place' of %s doesn't take value '%s': "

/* Kernels that keep private memory apart from shared memory have these. */
static bool has_two_backings(void)
{
    return kvm_vm_check_extension(kvm_state, KVM_CAP_MEMORY_ATTRIBUTES) &
           KVM_MEMORY_ATTRIBUTE_PRIVATE;
}

static bool refuse_on(const char *type, const char *why, const char *hint,
                      Error **errp)
{
    ERRP_GUARD();

    error_setg(errp, REFUSES "%s", type, "on", why);
    error_append_hint(errp, "%s\n", hint);
    return false;
}

static bool refuse_off(const char *type, bool in_place, Error **errp)
{
    ERRP_GUARD();

    if (in_place) {
        error_setg(errp, REFUSES "KVM on this host converts memory in place "
                   "only", type, "off");
        error_append_hint(errp, "Leave 'convert-in-place' out, or load the "
                          "module kvm with gmem_in_place_conversion=0.\n");
    } else {
        error_setg(errp, REFUSES "KVM on this host has no private memory for "
                   "such a VM", type, "off");
        error_append_hint(errp, "Its kernel or its hardware lacks support for "
                          "such VMs (CONFIG_KVM_SW_PROTECTED_VM for "
                          "sw-protected-guest).\n");
    }
    return false;
}

/* Where KVM has two backings it has nothing else, so there is no doubt. */
static bool find_out(bool *in_place, Error **errp)
{
    int ret = kvm_can_convert_guest_memfd();

    *in_place = ret > 0;
    if (ret >= 0 || has_two_backings()) {
        return true;
    }
    error_setg_errno(errp, -ret, "cannot find out whether KVM on this host "
                     "converts a guest_memfd in place");
    return false;
}

/* Without these, no memslot can have a guest_memfd. */
static bool check_memslots(Error **errp)
{
    ERRP_GUARD();

    if (kvm_vm_check_extension(kvm_state, KVM_CAP_GUEST_MEMFD) > 0 &&
        kvm_vm_check_extension(kvm_state, KVM_CAP_USER_MEMORY2) > 0) {
        return true;
    }
    error_setg(errp, "KVM on this host has no guest_memfd for private memory "
               "(no KVM_CAP_GUEST_MEMFD, or no KVM_CAP_USER_MEMORY2)");
    error_append_hint(errp, "Linux has both since 6.8.\n");
    return false;
}

bool kvm_guest_memfd_choose_mode(ConfidentialGuestSupport *cgs, Error **errp)
{
    const char *type = object_get_typename(OBJECT(cgs));
    OnOffAuto wanted = cgs->convert_in_place;
    bool in_place;

    if (!cgs->require_guest_memfd) {
        return wanted != ON_OFF_AUTO_ON ||
               refuse_on(type, "its private memory is in no guest_memfd",
                         "Leave 'convert-in-place' out.", errp);
    }
    if (!check_memslots(errp) || !find_out(&in_place, errp)) {
        return false;
    }
    if (wanted == ON_OFF_AUTO_ON && !in_place) {
        return refuse_on(type, "KVM on this host cannot convert memory of such "
                         "a VM in place", "It needs KVM_SET_MEMORY_ATTRIBUTES2,"
                         " which no released kernel has, and its module kvm "
                         "loaded with gmem_in_place_conversion=1.", errp);
    }
    if (wanted == ON_OFF_AUTO_OFF && !has_two_backings()) {
        return refuse_off(type, in_place, errp);
    }
    cgs->converts_in_place = in_place && wanted != ON_OFF_AUTO_OFF;
    if (cgs->converts_in_place) {
        cgs->starts_shared = true;
    }
    trace_kvm_guest_memfd_mode(type, cgs->converts_in_place);
    return true;
}
