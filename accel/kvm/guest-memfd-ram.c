/*
 * Private memory of a RAMBlock
 *
 * The memory of a backend need not become RAM of the guest, and RAM can be
 * unplugged: a RAMBlock gets private memory and loses it, whenever that is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "hw/boards.h"
#include "migration/blocker.h"
#include "system/kvm.h"
#include "system/kvm-guest-memfd.h"
#include "system/ram_addr.h"
#include "system/ram-guest-memfd.h"

static int dup_ram_fd(RAMBlock *rb, Error **errp)
{
    ERRP_GUARD();
    int fd;

    if (!qemu_ram_fd_is_guest_memfd(rb)) {
        error_setg(errp, "memory '%s' cannot be converted between private and "
                   "shared in place: it is not in a guest_memfd",
                   memory_region_name(rb->mr));
        error_append_hint(errp, "Use memory-backend-guest-memfd for the "
                          "guest's RAM.\n");
        return -1;
    }
    fd = qemu_dup(rb->fd);
    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot duplicate the file of memory "
                         "'%s'", memory_region_name(rb->mr));
    }
    return fd;
}

/* Private memory, and devices that cannot lose parts of RAM, don't mix. */
static bool require_discard(Error **errp)
{
    ERRP_GUARD();
    int ret = ram_block_coordinated_discard_require(true);

    if (ret) {
        error_setg_errno(errp, -ret, "cannot set up private guest memory: "
                         "discard currently blocked");
        error_append_hint(errp, "A device, or KVM on this host, needs all of "
                          "the guest's memory to stay: leave out devices that "
                          "cannot lose parts of it, as vhost-vdpa.\n");
    }
    return !ret;
}

/* In place, what memory is private in is the RAM itself. */
static bool add_file(RAMBlock *rb, Error **errp)
{
    int fd = machine_converts_in_place(current_machine) ?
             dup_ram_fd(rb, errp) :
             kvm_create_guest_memfd(rb->max_length, 0, errp);
    RamBlockAttributes *attr;

    if (fd < 0) {
        return false;
    }
    attr = ram_block_attributes_create(rb);
    if (!attr) {
        error_setg(errp, "memory '%s' cannot be private: its pages are "
                   "given and taken away by a device; use pc-dimm",
                   memory_region_name(rb->mr));
        close(fd);
        return false;
    }
    ram_block_attributes_lock();
    rb->guest_memfd = fd;
    qatomic_set(&rb->attributes, attr);
    ram_block_attributes_unlock();
    return true;
}

/* vmstate_register_ram() blocks CPR for other memory that it is not for. */
static bool block_cpr(RAMBlock *rb, Error **errp)
{
    if (!ram_is_cpr_compatible(rb)) {
        return true;
    }
    error_setg(&rb->cpr_blocker, "memory '%s' can be private, which CPR does "
               "not support", memory_region_name(rb->mr));
    return !migrate_add_blocker_modes(&rb->cpr_blocker,
                                      BIT(MIG_MODE_CPR_TRANSFER), errp);
}

bool ram_block_add_guest_memfd(RAMBlock *rb, Error **errp)
{
    assert(rb->guest_memfd < 0);
    if (!kvm_enabled()) {
        error_setg(errp, "cannot set up private guest memory for %s: KVM "
                   "required; use -accel kvm",
                   object_get_typename(OBJECT(current_machine->cgs)));
        return false;
    }
    if (!require_discard(errp)) {
        return false;
    }
    if (!add_file(rb, errp)) {
        ram_block_coordinated_discard_require(false);
        return false;
    }
    if (!kvm_init_memory_state(rb, errp) || !block_cpr(rb, errp)) {
        ram_block_remove_guest_memfd(rb);
        return false;
    }
    return true;
}

static void reclaim_attributes(struct rcu_head *rcu)
{
    RamBlockAttributes *attr = container_of(rcu, RamBlockAttributes, rcu);

    close(attr->old_guest_memfd);
    ram_block_attributes_destroy(attr);
}

void ram_block_remove_guest_memfd(RAMBlock *rb)
{
    RamBlockAttributes *attr = rb->attributes;

    ram_block_del_cpr_blocker(rb);
    memory_region_set_ram_discard_manager(rb->mr, NULL);
    ram_block_attributes_lock();
    attr->old_guest_memfd = rb->guest_memfd;
    rb->guest_memfd = -1;
    qatomic_set(&rb->attributes, NULL);
    ram_block_attributes_unlock();
    /* Accesses that began before may still ask, and memory be given back. */
    call_rcu1(&attr->rcu, reclaim_attributes);
    ram_block_coordinated_discard_require(false);
}

RAMBlock *ram_alloc_guest_memfd(ram_addr_t size, uint32_t ram_flags,
                                MemoryRegion *mr, Error **errp)
{
    const size_t page = qemu_real_host_page_size();
    RAMBlock *rb;
    int fd;

    size = ROUND_UP(size, page);
    fd = kvm_create_shared_guest_memfd(size, page, errp);
    if (fd < 0) {
        return NULL;
    }
    mr->align = page;
    ram_flags &= ~RAM_PRIVATE;
    rb = qemu_ram_alloc_from_fd(size, size, NULL, mr, ram_flags | RAM_SHARED |
                                RAM_FD_IS_GUEST_MEMFD, fd, 0, false, errp);
    if (!rb) {
        close(fd);
    }
    return rb;
}
