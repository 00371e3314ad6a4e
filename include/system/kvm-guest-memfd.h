/*
 * KVM guest_memfd files: creation, and conversion of memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_KVM_GUEST_MEMFD_H
#define SYSTEM_KVM_GUEST_MEMFD_H

#include "exec/hwaddr.h"
#include "system/confidential-guest-support.h"
#include "system/memory.h"

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
 * know the type of the VM, and for page sizes there is no capability.  Huge
 * pages are looked at when they are made.
 *
 * The flags are those of Linux's include/uapi/linux/kvm.h.
 *
 * Context: kvm_enabled(); any thread.
 *
 * Return: a file descriptor with close-on-exec set, which the caller closes,
 *     or a negative errno with @errp set; -ENOMEM if huge pages are missing.
 */
int kvm_create_shared_guest_memfd(uint64_t size, uint64_t page_size,
                                  Error **errp);

/**
 * kvm_guest_memfd_choose_mode: decide whether memory is converted in place
 * @cgs: the machine's confidential guest; its converts_in_place is set
 * @errp: set if KVM cannot do what the user wants
 *
 * If it is, a guest_memfd that kvm_create_shared_guest_memfd() made is both the
 * private and the shared memory, and kvm_guest_memfd_convert() makes the one of
 * the other.  If not, private memory has a backing of its own.
 *
 * Context: the VM exists, and has no memory yet.
 *
 * Return: false with @errp set, or true.
 */
bool kvm_guest_memfd_choose_mode(ConfidentialGuestSupport *cgs, Error **errp);

/**
 * kvm_guest_memfd_convert: make memory private or shared, in place
 * @fd: the guest_memfd
 * @offset: in the file, in bytes, a multiple of the host's base page size
 * @size: in bytes, likewise
 * @to_private: what the memory is to be
 * @done: set to how many bytes from @offset are so now
 *
 * KVM_SET_MEMORY_ATTRIBUTES2 of Linux's in-place conversion series, as the lab
 * kernel's Documentation/virt/kvm/api.rst has it.
 *
 * Return: 0; -EAGAIN if someone holds a page, perhaps not for long, or a signal
 * came first; or another negative errno.
 */
int kvm_guest_memfd_convert(int fd, uint64_t offset, uint64_t size,
                            bool to_private, uint64_t *done);

/**
 * kvm_guest_memfd_move: move memory to the nodes of its policy
 * @fd: the guest_memfd, whose policy mbind() has set
 * @offset: in the file, in bytes, a multiple of the host's base page size
 * @size: in bytes, likewise
 * @moved: increased by how many bytes have moved
 * @failed: increased by how many have not, though they should: they are pinned,
 *     are being converted, or the nodes have no memory
 *
 * KVM_GUEST_MEMFD_MOVE, as the lab kernel's Documentation/virt/kvm/api.rst has
 * it.
 *
 * Context: any thread, with or without the BQL.
 *
 * Return: 0, or a negative errno.
 */
int kvm_guest_memfd_move(int fd, uint64_t offset, uint64_t size,
                         uint64_t *moved, uint64_t *failed);

/**
 * kvm_can_move_guest_memfd: whether KVM can move memory of a guest_memfd
 * @fd: the guest_memfd
 *
 * Context: any thread.
 *
 * Return: 0; -ENOTTY if KVM cannot move memory; -EOPNOTSUPP if it cannot move
 * this, as it is made of huge pages; or another negative errno.
 */
int kvm_can_move_guest_memfd(int fd);

/**
 * kvm_set_memory_state: tell KVM that memory is private or shared
 * @rb: RAMBlock with private memory
 * @offset: of the memory within @rb, in bytes
 * @size: in bytes
 * @private: what the memory is to be
 * @done: set to how many bytes from @offset are so now
 *
 * @offset and @size are multiples of the host's page size.
 *
 * Context: ram_block_attributes_lock().
 *
 * Return: as kvm_guest_memfd_convert(); with two backings, as
 * kvm_set_memory_attributes_private()
 */
int kvm_set_memory_state(RAMBlock *rb, uint64_t offset, uint64_t size,
                         bool private, uint64_t *done);

/**
 * kvm_can_convert_guest_memfd: whether KVM converts memory in place
 *
 * Found out by doing it, on a page.
 *
 * Context: as kvm_create_shared_guest_memfd().
 *
 * Return: 1, 0, or a negative errno if that could not be found out.
 */
int kvm_can_convert_guest_memfd(void);

/**
 * kvm_init_memory_state: make the pages of new memory private or shared
 * @rb: RAMBlock with private memory
 * @errp: set on failure
 *
 * Memory that is there when the machine starts may have to be shared until
 * images are loaded to it, that is, until kvm_end_loading().  Memory that is
 * plugged later is private.
 *
 * Return: false with @errp set, or true.
 */
bool kvm_init_memory_state(RAMBlock *rb, Error **errp);

/**
 * kvm_convert_all_in_place: make all memory private or shared
 * @to_private: what it is to be
 *
 * All of each RAMBlock that is converted in place, even if the guest doesn't
 * see it now.
 *
 * Context: no vCPU runs.
 *
 * Return: 0, or a negative errno, reported.
 */
int kvm_convert_all_in_place(bool to_private);

/**
 * kvm_begin_loading: take all memory from devices while images are loaded
 *
 * To what listens for it (VFIO), all memory is private from now on, whatever it
 * is and becomes.  Requests to convert memory that have paused are forgotten.
 *
 * Context: no vCPU runs.
 */
void kvm_begin_loading(void);

/**
 * kvm_end_loading: let devices have memory that is shared now, or later
 *
 * Context: as kvm_begin_loading(), or when what starts as shared is private.
 */
void kvm_end_loading(void);

/**
 * kvm_free_guest_memfds: give back all memory in guest_memfds
 *
 * In place this is all that a RAMBlock has, otherwise its private side.  It
 * starts again as zeros.  The kernel refuses as long as something holds a huge
 * page of it; this waits as kvm_convert_memory() does, for each RAMBlock.
 *
 * Context: no vCPU runs.
 *
 * Return: 0, or a negative errno, reported.
 */
int kvm_free_guest_memfds(void);

/**
 * kvm_forget_memory: make memory shared and empty
 * @rb: RAMBlock with private memory
 *
 * Both sides are freed, as kvm_free_guest_memfds() does it.
 *
 * Context: BQL; the memory is not mapped.
 *
 * Return: 0, or a negative errno, reported.
 */
int kvm_forget_memory(RAMBlock *rb);

/**
 * kvm_handle_memory_fault: deal with KVM_EXIT_MEMORY_FAULT
 * @start: guest-physical address
 * @size: in bytes
 * @flags: of the exit, see Linux's Documentation/virt/kvm/api.rst
 *
 * Converts the memory to what the access wants it to be, unless accesses of
 * this type of guest don't say so; then KVM maps it as it is.  What something
 * on the host holds stays what it is; the vCPU makes the access again, and this
 * is called again; after some ten seconds of that, the machine is paused.
 *
 * Context: a vCPU's thread, without the BQL.
 *
 * Return: 0 if the vCPU is to run again, EXCP_INTERRUPT if it is to pause, or a
 * negative errno, reported.
 */
int kvm_handle_memory_fault(hwaddr start, hwaddr size, uint64_t flags);

/**
 * kvm_memory_mapped: note that KVM has a new memslot
 * @rb: RAMBlock with private memory
 * @start: guest-physical address
 * @offset: of the memslot's memory within @rb, in bytes
 * @size: in bytes
 *
 * All are multiples of the host's page size.
 *
 * Context: BQL, until kvm_memory_map_changed().
 */
void kvm_memory_mapped(RAMBlock *rb, hwaddr start, uint64_t offset,
                       uint64_t size);

/**
 * kvm_memory_unmapped: note that KVM has a memslot no more
 * @rb: RAMBlock with private memory
 * @start: guest-physical address
 * @offset: of the memslot's memory within @rb, in bytes
 * @size: in bytes
 *
 * Context: as kvm_memory_mapped().
 */
void kvm_memory_unmapped(RAMBlock *rb, hwaddr start, uint64_t offset,
                         uint64_t size);

/**
 * kvm_memory_map_changed: give KVM the states of what has moved
 *
 * With two backings, KVM has states of addresses.  They become shared where
 * memory is gone, and what the bitmap says where it is new.  If KVM refuses
 * that, the memory is shared from then on, and a failure is counted.
 *
 * Context: BQL; after all changes of a memory map.
 */
void kvm_memory_map_changed(void);

#endif
