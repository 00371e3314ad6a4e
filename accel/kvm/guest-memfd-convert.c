/*
 * Conversion of guest memory between private and shared
 *
 * QEMU's bitmap of a RAMBlock (RamBlockAttributes) and the attributes that KVM
 * has of its memslots are equal after each conversion, also after one that
 * failed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "exec/target_page.h"
#include "hw/boards.h"
#include "system/address-spaces.h"
#include "system/confidential-guest-support.h"
#include "system/kvm.h"
#include "system/kvm-guest-memfd.h"
#include "system/memory.h"
#include "system/ramblock.h"
#include "trace.h"

/* Memory of one RAMBlock that is to be converted. */
typedef struct Piece {
    MemoryRegion *mr;               /* holds a reference */
    RAMBlock *rb;
    hwaddr start;                   /* guest-physical */
    uint64_t offset;                /* within @rb */
    uint64_t size;
    /* the pages that are not yet what they are to be */
    unsigned long *changing;
} Piece;

/* A part of a piece; starts as all zeros. */
typedef struct Run {
    uint64_t offset;                /* within the piece */
    uint64_t size;
} Run;

static const char *state_name(bool private)
{
    return private ? "private" : "shared";
}

static void free_piece(void *opaque)
{
    Piece *piece = opaque;

    g_free(piece->changing);
    memory_region_unref(piece->mr);
}

/* Goes on to the next run of pages that change. */
static bool next_run(const Piece *piece, Run *run)
{
    const size_t page = qemu_real_host_page_size();
    unsigned long pages = piece->size / page;
    unsigned long begin, end = (run->offset + run->size) / page;

    begin = find_next_bit(piece->changing, pages, end);
    if (begin >= pages) {
        return false;
    }
    end = find_next_zero_bit(piece->changing, pages, begin);
    run->offset = begin * page;
    run->size = (end - begin) * page;
    return true;
}

static void find_changing(Piece *piece, bool to_private)
{
    const size_t page = qemu_real_host_page_size();
    unsigned long pages = piece->size / page;

    piece->changing = bitmap_new(pages);
    bitmap_copy_with_src_offset(piece->changing, piece->rb->attributes->bitmap,
                                piece->offset / page, pages);
    if (!to_private) {
        bitmap_complement(piece->changing, piece->changing, pages);
    }
}

/* Tells KVM, then the bitmap. */
static int set_state(const Piece *piece, const Run *run, bool private)
{
    int ret = private
        ? kvm_set_memory_attributes_private(piece->start + run->offset,
                                            run->size)
        : kvm_set_memory_attributes_shared(piece->start + run->offset,
                                           run->size);

    if (!ret) {
        ram_block_attributes_set(piece->rb->attributes,
                                 piece->offset + run->offset, run->size,
                                 !private);
    }
    return ret;
}

/* Listeners give up what they have of the pages before @end. */
static void notify_discard(const Piece *piece, uint64_t end)
{
    Run run = {};

    while (next_run(piece, &run) && run.offset < end) {
        ram_block_attributes_notify_discard(piece->rb->attributes,
                                            piece->offset + run.offset,
                                            run.size);
    }
}

/* Listeners get all pages that change, or none. */
static int notify_populate(const Piece *piece)
{
    Run run = {};
    int ret;

    while (next_run(piece, &run)) {
        ret = ram_block_attributes_notify_populate(piece->rb->attributes,
                                                   piece->offset + run.offset,
                                                   run.size);
        if (ret) {
            notify_discard(piece, run.offset);
            return ret;
        }
    }
    return 0;
}

/* Pages that cannot be put back stay what KVM has them for. */
static void restore_states(const Piece *piece, bool private)
{
    Run run = {};

    while (next_run(piece, &run)) {
        set_state(piece, &run, private);
    }
}

/*
 * What devices may reach must be shared: they lose it before it becomes
 * private, and get it after it became shared.
 */
static int convert_piece(const Piece *piece, bool to_private)
{
    const Run all = { .size = piece->size };
    int ret;

    if (to_private) {
        notify_discard(piece, piece->size);
    }
    /* Also what is so already: KVM may have failed to restore it. */
    ret = set_state(piece, &all, to_private);
    if (ret) {
        if (to_private) {
            notify_populate(piece);
        }
        return ret;
    }
    if (!to_private) {
        ret = notify_populate(piece);
        if (ret) {
            restore_states(piece, true);
        }
    }
    return ret;
}

static void undo_piece(const Piece *piece, bool was_to_private)
{
    if (was_to_private) {
        restore_states(piece, false);
        notify_populate(piece);
    } else {
        notify_discard(piece, piece->size);
        restore_states(piece, true);
    }
}

/* Gives back the memory that was the other side's. */
static void drop_other_side(const Piece *piece, bool to_private)
{
    Run run = {};

    /* Huge pages of the shared side are set aside for it anyway. */
    if (to_private && piece->rb->page_size != qemu_real_host_page_size()) {
        return;
    }
    while (next_run(piece, &run)) {
        uint64_t offset = piece->offset + run.offset;

        if (to_private) {
            ram_block_discard_range(piece->rb, offset, run.size);
        } else {
            ram_block_discard_guest_memfd_range(piece->rb, offset, run.size);
        }
    }
}

static int convert_pieces(GArray *pieces, bool to_private)
{
    int ret = 0, i;

    for (i = 0; i < pieces->len && !ret; i++) {
        Piece *piece = &g_array_index(pieces, Piece, i);

        find_changing(piece, to_private);
        ret = convert_piece(piece, to_private);
    }
    if (ret) {
        for (i -= 2; i >= 0; i--) {
            undo_piece(&g_array_index(pieces, Piece, i), to_private);
        }
        return ret;
    }
    for (i = 0; i < pieces->len; i++) {
        drop_other_side(&g_array_index(pieces, Piece, i), to_private);
    }
    return 0;
}

static bool can_be_private(const MemoryRegionSection *section)
{
    const size_t page = qemu_real_host_page_size();

    return memory_region_has_guest_memfd(section->mr) &&
           QEMU_IS_ALIGNED(section->offset_within_address_space, page) &&
           QEMU_IS_ALIGNED(int128_get64(section->size), page);
}

/*
 * What cannot be private is shared already, so that guests may ask for it: some
 * do that with all addresses of devices.
 */
static int find_pieces(GArray *pieces, hwaddr start, hwaddr size,
                       bool to_private)
{
    hwaddr end = start + size;

    while (start < end) {
        MemoryRegionSection section =
            memory_region_find(get_system_memory(), start, end - start);
        Piece piece = {
            .mr = section.mr,
            .start = section.offset_within_address_space,
            .offset = section.offset_within_region,
            .size = int128_get64(section.size),
        };

        if (!section.mr) {
            return to_private ? -EINVAL : 0;
        }
        if (can_be_private(&section)) {
            piece.rb = section.mr->ram_block;
            g_array_append_val(pieces, piece);
        } else {
            memory_region_unref(section.mr);
        }
        if (to_private && (!piece.rb || piece.start != start)) {
            return -EINVAL;
        }
        start = piece.start + piece.size;
    }
    return 0;
}

static bool is_range(hwaddr start, hwaddr size)
{
    const size_t page = qemu_real_host_page_size();

    return size && QEMU_IS_ALIGNED(start, page) &&
           QEMU_IS_ALIGNED(size, page) && size <= HWADDR_MAX - start;
}

/* Converts all of the range or nothing; returns 0 or a negative errno. */
int kvm_convert_memory(hwaddr start, hwaddr size, bool to_private)
{
    g_autoptr(GArray) pieces = g_array_new(false, false, sizeof(Piece));
    int ret = -EINVAL;

    g_array_set_clear_func(pieces, free_piece);
    trace_kvm_convert_memory(start, size, state_name(to_private));
    if (is_range(start, size)) {
        /* What is unplugged meanwhile loses its attributes after this. */
        ram_block_attributes_lock();
        ret = find_pieces(pieces, start, size, to_private);
        if (!ret) {
            ret = convert_pieces(pieces, to_private);
        }
        ram_block_attributes_unlock();
    }
    trace_kvm_convert_memory_done(start, size, state_name(to_private), ret);
    return ret;
}

int kvm_handle_memory_fault(hwaddr start, hwaddr size, uint64_t flags)
{
    int ret;

    if (flags & ~KVM_MEMORY_EXIT_FLAG_PRIVATE) {
        error_report("KVM_EXIT_MEMORY_FAULT: Unknown flag 0x%" PRIx64, flags);
        return -EINVAL;
    }
    /* Such an access met a conversion; what it wants is there when it ends. */
    if (current_machine->cgs &&
        current_machine->cgs->converts_by_request_only) {
        return 0;
    }
    ret = kvm_convert_memory(start, size, flags & KVM_MEMORY_EXIT_FLAG_PRIVATE);
    if (ret) {
        error_report("guest memory at 0x%" HWADDR_PRIx ", size 0x%" HWADDR_PRIx
                     ", cannot become %s as an access wants: %s", start, size,
                     state_name(flags & KVM_MEMORY_EXIT_FLAG_PRIVATE),
                     strerror(-ret));
    }
    return ret;
}

void kvm_clear_memory_attributes(hwaddr start, uint64_t size)
{
    ram_block_attributes_lock();
    kvm_set_memory_attributes_shared(start, size);
    ram_block_attributes_unlock();
}

void kvm_restore_memory_attributes(MemoryRegion *mr, hwaddr start,
                                   uint64_t offset, uint64_t size)
{
    const size_t page = qemu_real_host_page_size();
    RAMBlock *rb = mr->ram_block;
    Piece piece = {
        .rb = rb, .start = start, .offset = offset, .size = size,
        .changing = bitmap_new(size / page),
    };

    ram_block_attributes_lock();
    /* Where there was no memslot, all is shared. */
    bitmap_copy_with_src_offset(piece.changing, rb->attributes->bitmap,
                                offset / page, size / page);
    bitmap_complement(piece.changing, piece.changing, size / page);
    restore_states(&piece, true);
    ram_block_attributes_unlock();
    g_free(piece.changing);
}
