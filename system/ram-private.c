/*
 * Accesses of QEMU itself to private memory
 *
 * A guest can point any device at its private memory.  What accesses memory by
 * address finds a region there that reads as zeros and answers with an error.
 * What has a pointer already, in place, gets SIGBUS from the kernel, and then a
 * page of zeros that is mapped in the place of the private one until that is
 * shared.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/rcu.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "system/address-spaces.h"
#include "system/hostmem.h"
#include "system/numa.h"
#include "system/ram-private.h"
#include "trace.h"

#ifdef CONFIG_NUMA
#include <numaif.h>
#endif

/* Each parts a mapping, of which a process may have some 65,000. */
enum { MAX_STAND_INS = 1024 };

static MemoryRegion private_region;

static MemTxResult private_read(void *opaque, hwaddr addr, uint64_t *data,
                                unsigned int size, MemTxAttrs attrs)
{
    *data = 0;
    return MEMTX_ACCESS_ERROR;
}

static MemTxResult private_write(void *opaque, hwaddr addr, uint64_t data,
                                 unsigned int size, MemTxAttrs attrs)
{
    return MEMTX_ACCESS_ERROR;
}

static const MemoryRegionOps private_ops = {
    .read_with_attrs = private_read,
    .write_with_attrs = private_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

void ram_private_init(void)
{
    memory_region_init_io(&private_region, NULL, &private_ops, NULL, NULL,
                          UINT64_MAX);
    memory_region_enable_lockless_io(&private_region);
}

/* Cuts @size where the memory is no longer what its first page is. */
static bool is_private(RAMBlock *rb, uint64_t offset, hwaddr *size)
{
    /* It is removed when RAM is unplugged, and freed after a grace period. */
    RamBlockAttributes *attr = qatomic_read(&rb->attributes);
    const size_t page = qemu_real_host_page_size();
    unsigned long first = offset / page;
    unsigned long end = DIV_ROUND_UP(offset + *size, page);
    bool private;

    if (!attr) {
        return false;
    }
    private = !test_bit(first, attr->bitmap);
    end = private ? find_next_bit(attr->bitmap, end, first)
                  : find_next_zero_bit(attr->bitmap, end, first);
    *size = MIN(*size, end * page - offset);
    return private;
}

MemoryRegion *ram_private_region(MemoryRegion *mr, uint64_t offset,
                                 hwaddr *size)
{
    if (!is_private(mr->ram_block, offset, size)) {
        return mr;
    }
    trace_ram_private_region(mr->ram_block->idstr, offset, *size);
    return &private_region;
}

/* Guests do it as often as they like. */
static bool is_blamed_first(const char *device)
{
    static QemuMutex mutex;
    static GHashTable *blamed;
    static gsize is_ready;

    if (g_once_init_enter(&is_ready)) {
        qemu_mutex_init(&mutex);
        blamed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_once_init_leave(&is_ready, 1);
    }
    QEMU_LOCK_GUARD(&mutex);
    return g_hash_table_add(blamed, g_strdup(device));
}

static void blame(const AddressSpace *as)
{
    const char *device = as == &address_space_memory ? "a device" : as->name;

    if (is_blamed_first(device)) {
        warn_report("%s accesses private memory of the guest, and gets zeros",
                    device);
        error_printf("The guest has to share what devices access: the system "
                     "in it may be none for guests of this type.\n");
    }
}

void ram_private_found(const MemoryRegion *mr, const AddressSpace *as)
{
    if (mr == &private_region) {
        blame(as);
    }
}

void ram_private_look(AddressSpace *as, hwaddr addr, hwaddr size)
{
    if (!machine_require_guest_memfd(current_machine)) {
        return;
    }
    RCU_READ_LOCK_GUARD();
    while (size) {
        hwaddr xlat, part = size;

        ram_private_found(address_space_translate(as, addr, &xlat, &part, false,
                                                  MEMTXATTRS_UNSPECIFIED), as);
        addr += part;
        size -= part;
    }
}

static bool is_dumped(RAMBlock *rb)
{
    HostMemoryBackend *backend = backend_of_ram(rb->mr);

    return machine_dump_guest_core(current_machine) &&
           (!backend || backend->dump);
}

/*
 * The file has the policy, by pages; what maps it was given it, too.  Given
 * for all of it at once, it is one record of the kernel's again.
 */
static void restore_policy(RAMBlock *rb, uint64_t offset)
{
#ifdef CONFIG_NUMA
    DECLARE_BITMAP(nodes, MAX_NODES + 1) = {};
    int policy;

    if (!get_mempolicy(&policy, nodes, MAX_NODES + 1, rb->host + offset,
                       MPOL_F_ADDR) &&
        policy != MPOL_DEFAULT) {
        mbind(rb->host, rb->max_length, policy, nodes, MAX_NODES + 1, 0);
    }
#endif
}

/*
 * Maps the file again, in the same way as the memory around it: otherwise the
 * kernel has one mapping more from then on, and a guest could use them all up.
 */
static int map_file(RAMBlock *rb, uint64_t offset)
{
    const size_t page = qemu_real_host_page_size();
    const int noreserve = qemu_ram_is_noreserve(rb) ? MAP_NORESERVE : 0;
    void *host = rb->host + offset;

    if (mmap(host, page, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED | noreserve,
             rb->fd, rb->fd_offset + offset) != host) {
        return -errno;
    }
    qemu_madvise(host, page, QEMU_MADV_HUGEPAGE);
    qemu_madvise(host, page, QEMU_MADV_DONTFORK);
    if (!is_dumped(rb)) {
        qemu_madvise(host, page, QEMU_MADV_DONTDUMP);
    }
    clear_bit(offset / page, rb->attributes->stand_ins);
    qatomic_dec(&rb->attributes->nr_stand_ins);
    return 0;
}

int ram_private_end(RAMBlock *rb, uint64_t offset, uint64_t size)
{
    const size_t page = qemu_real_host_page_size();
    unsigned long end = (offset + size) / page, first;
    int ret = 0;

    if (!rb->attributes->nr_stand_ins) {
        return 0;
    }
    first = find_next_bit(rb->attributes->stand_ins, end, offset / page);
    for (unsigned long at = first; at < end && !ret;
         at = find_next_bit(rb->attributes->stand_ins, end, at + 1)) {
        ret = map_file(rb, at * page);
    }
    if (first < end) {
        restore_policy(rb, first * page);
    }
    return ret;
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
        qatomic_inc(&rb->attributes->nr_stand_ins);
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
    hwaddr page = qemu_real_host_page_size();
    /* of what the signal interrupted */
    int saved_errno = errno;
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
    ok = is_private(rb, offset, &page) ? stand_in(rb, offset)
                                       : is_there(rb, offset);
    ram_block_attributes_unlock();
    errno = saved_errno;
    return ok;
}
