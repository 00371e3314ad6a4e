/*
 * Guest memory that other processes map by its file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/boards.h"
#include "system/ram-by-fd.h"

bool ram_by_fd_check(const char *what, const char *id, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *name = id ? g_strdup_printf("%s '%s'", what, id)
                               : g_strdup(what);

    if (!machine_converts_in_place(current_machine)) {
        return true;
    }
    error_setg(errp, "%s cannot have guest memory that is converted in place: "
               "its process would be killed by an access to private memory",
               name);
    error_append_hint(errp, "Use a device that QEMU itself or vhost in the "
                      "host's kernel serves, or convert-in-place=off where KVM "
                      "can keep shared memory in a backing of its own.\n");
    return false;
}
