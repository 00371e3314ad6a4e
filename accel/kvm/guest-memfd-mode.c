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
    in_place = kvm_can_convert_guest_memfd();
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
