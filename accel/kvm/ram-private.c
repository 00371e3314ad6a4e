/*
 * Accesses of QEMU itself to memory that is private in place
 *
 * A guest can point any device at its private memory, and the kernel answers
 * each access with SIGBUS.  What asks before it accesses memory gets an error.
 * What has a pointer gets a page of zeros that is mapped in the place of the
 * private one until that is shared.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/rcu.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "system/hostmem.h"
#include "system/numa.h"
#include "system/ram-private.h"
#include "trace.h"

#ifdef CONFIG_NUMA
#include <numaif.h>
#endif

/* Each parts a mapping, of which a process may have some 65,000. */
enum { MAX_STAND_INS = 1024 };

bool ram_is_private(RAMBlock *rb, uint64_t offset, uint64_t size)
{
    const size_t page = qemu_real_host_page_size();
    unsigned long end = DIV_ROUND_UP(offset + size, page);

    if (!ram_converts_in_place(rb) ||
        find_next_zero_bit(rb->attributes->bitmap, end, offset / page) >= end) {
        return false;
    }
    trace_ram_is_private(rb->idstr, offset, size);
    return true;
}

static bool is_dumped(RAMBlock *rb)
{
    HostMemoryBackend *backend = backend_of_ram(rb->mr);

    return machine_dump_guest_core(current_machine) &&
           (!backend || backend->dump);
}

/* The file has the policy; what maps it was given it, too. */
static void restore_policy(void *host, size_t size)
{
#ifdef CONFIG_NUMA
    DECLARE_BITMAP(nodes, MAX_NODES + 1) = {};
    int policy;

    if (!get_mempolicy(&policy, nodes, MAX_NODES + 1, host, MPOL_F_ADDR) &&
        policy != MPOL_DEFAULT) {
        mbind(host, size, policy, nodes, MAX_NODES + 1, 0);
    }
#endif
}

/*
 * Maps the file again, in the same way as the memory around it: otherwise the
 * kernel has one mapping more from then on, and a guest could use them all up.
 */
static void map_file(RAMBlock *rb, uint64_t offset)
{
    const size_t page = qemu_real_host_page_size();
    const int noreserve = qemu_ram_is_noreserve(rb) ? MAP_NORESERVE : 0;
    void *host = rb->host + offset;

    if (mmap(host, page, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED | noreserve,
             rb->fd, rb->fd_offset + offset) != host) {
        error_report_once("cannot map shared memory of '%s' again: %s",
                          rb->idstr, strerror(errno));
        return;
    }
    qemu_madvise(host, page, QEMU_MADV_HUGEPAGE);
    qemu_madvise(host, page, QEMU_MADV_DONTFORK);
    if (!is_dumped(rb)) {
        qemu_madvise(host, page, QEMU_MADV_DONTDUMP);
    }
    restore_policy(host, page);
    clear_bit(offset / page, rb->attributes->stand_ins);
    rb->attributes->nr_stand_ins--;
}

void ram_private_end(RAMBlock *rb, uint64_t offset, uint64_t size)
{
    const size_t page = qemu_real_host_page_size();
    unsigned long end = (offset + size) / page, at = offset / page;

    if (!rb->attributes->nr_stand_ins) {
        return;
    }
    for (at = find_next_bit(rb->attributes->stand_ins, end, at); at < end;
         at = find_next_bit(rb->attributes->stand_ins, end, at + 1)) {
        map_file(rb, at * page);
    }
}

static int add_stand_ins(RAMBlock *rb, void *count)
{
    if (rb->attributes) {
        *(unsigned long *)count += rb->attributes->nr_stand_ins;
    }
    return 0;
}

static int end_stand_ins(RAMBlock *rb, void *opaque)
{
    if (ram_converts_in_place(rb)) {
        ram_private_end(rb, 0, rb->max_length);
    }
    return 0;
}

static void make_room(void)
{
    unsigned long count = 0;

    qemu_ram_foreach_block(add_stand_ins, &count);
    if (count >= MAX_STAND_INS) {
        qemu_ram_foreach_block(end_stand_ins, NULL);
    }
}

static bool stand_in(RAMBlock *rb, uint64_t offset)
{
    const size_t page = qemu_real_host_page_size();
    void *host = rb->host + offset;

    make_room();
    if (mmap(host, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
             MAP_FIXED | MAP_NORESERVE, -1, 0) != host) {
        return false;
    }
    if (!test_and_set_bit(offset / page, rb->attributes->stand_ins)) {
        rb->attributes->nr_stand_ins++;
    }
    trace_ram_private_stand_in(rb->idstr, offset);
    return true;
}

/* The page may have become shared since the signal was sent. */
static bool is_there(RAMBlock *rb, uint64_t offset)
{
    return !qemu_madvise(rb->host + offset, qemu_real_host_page_size(),
                         QEMU_MADV_POPULATE_WRITE);
}

bool ram_private_stand_in(void *host)
{
    const size_t page = qemu_real_host_page_size();
    ram_addr_t offset;
    RAMBlock *rb;
    bool ok;

    RCU_READ_LOCK_GUARD();
    rb = qemu_ram_block_from_host(host, false, &offset);
    if (!rb || !ram_converts_in_place(rb)) {
        return false;
    }
    offset = QEMU_ALIGN_DOWN(offset, page);
    ram_block_attributes_lock();
    ok = ram_is_private(rb, offset, page) ? stand_in(rb, offset)
                                          : is_there(rb, offset);
    ram_block_attributes_unlock();
    return ok;
}
