/*
 * Creation of KVM guest_memfd files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_KVM_GUEST_MEMFD_H
#define SYSTEM_KVM_GUEST_MEMFD_H

/**
 * kvm_create_shared_guest_memfd: create a guest_memfd that is all shared
 * @size: size in bytes, a multiple of @page_size
 * @page_size: size in bytes of the pages that the file is to be made of: the
 *     host's base page size, or a huge page size of the host
 * @errp: set on failure, to what it is that KVM does not have: guest_memfd at
 *     all, mapping it, sharing it with this type of VM, or pages of that size
 *
 * The file belongs to the VM of the running KVM accelerator, starts empty, and
 * can be mapped with MAP_SHARED only.  What KVM can do is found out by doing
 * it, on the VM itself: asked on /dev/kvm, KVM_CAP_GUEST_MEMFD_FLAGS does not
 * know the type of the VM, and for page sizes there is no capability.
 *
 * The flags are those of Linux's include/uapi/linux/kvm.h.
 *
 * Context: kvm_enabled(); any thread.
 *
 * Return: a file descriptor with close-on-exec set, which the caller closes,
 *     or -1 with @errp set.
 */
int kvm_create_shared_guest_memfd(uint64_t size, uint64_t page_size,
                                  Error **errp);

#endif
