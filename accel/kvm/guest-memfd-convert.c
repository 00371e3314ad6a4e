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
#include "qapi/error.h"
#include "qapi/qapi-events-guest-memfd.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "exec/cpu-common.h"
#include "exec/target_page.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "hw/qdev-core.h"
#include "system/address-spaces.h"
#include "system/confidential-guest-support.h"
#include "system/kvm.h"
#include "system/kvm-guest-memfd.h"
#include "system/memory.h"
#include "system/ram-private.h"
#include "system/ramblock.h"
#include "system/runstate.h"
#include "trace.h"

enum {
    MAX_TRIES = 9, FIRST_DELAY_US = 100,
    /* of a tenth of a second each */
    MAX_WAITS = 100,
};

/* Memory of one RAMBlock that is to be converted. */
typedef struct Piece {
    MemoryRegion *mr;               /* holds a reference */
    RAMBlock *rb;
    hwaddr start;                   /* guest-physical */
    uint64_t offset;                /* within @rb */
    uint64_t size;
    /* the pages that are not yet what they are to be */
    unsigned long *changing;
    unsigned long few;              /* is @changing, if the pages are few */
} Piece;

/* Most requests have one piece, which is not worth an allocation. */
typedef struct Pieces {
    Piece first;
    GArray *more;
    unsigned int count;
} Pieces;

/* What is to be converted: a range that the guest sees, or all of @rb. */
typedef struct Request {
    RAMBlock *rb;
    hwaddr start;
    uint64_t size;
    bool to_private;
} Request;

/* A part of a piece; starts as all zeros. */
typedef struct Run {
    uint64_t offset;                /* within the piece */
    uint64_t size;
} Run;

static const char *state_name(bool private)
{
    return private ? "private" : "shared";
}

static Piece *nth_piece(Pieces *pieces, unsigned int n)
{
    return n ? &g_array_index(pieces->more, Piece, n - 1) : &pieces->first;
}

static void add_piece(Pieces *pieces, const Piece *piece)
{
    if (!pieces->count++) {
        pieces->first = *piece;
        return;
    }
    if (!pieces->more) {
        pieces->more = g_array_new(false, false, sizeof(Piece));
    }
    g_array_append_vals(pieces->more, piece, 1);
}

static void free_changing(Piece *piece)
{
    if (piece->changing != &piece->few) {
        g_free(piece->changing);
    }
}

static void free_pieces(Pieces *pieces)
{
    while (pieces->count) {
        Piece *piece = nth_piece(pieces, --pieces->count);

        free_changing(piece);
        memory_region_unref(piece->mr);
    }
    if (pieces->more) {
        g_array_unref(pieces->more);
    }
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

/* @piece stays where it is, from now on. */
static void find_changing(Piece *piece, bool to_private)
{
    const size_t page = qemu_real_host_page_size();
    unsigned long pages = piece->size / page;

    piece->changing = pages <= BITS_PER_LONG ? &piece->few : bitmap_new(pages);
    bitmap_copy_with_src_offset(piece->changing, piece->rb->attributes->bitmap,
                                piece->offset / page, pages);
    if (!to_private) {
        bitmap_complement(piece->changing, piece->changing, pages);
    }
}

static int set_state_in_place(const Piece *piece, const Run *run, bool private)
{
    RAMBlock *rb = piece->rb;
    uint64_t offset = piece->offset + run->offset, done;
    int ret = kvm_guest_memfd_convert(rb->guest_memfd, rb->page_size, offset,
                                      run->size, private, &done);
    int end;

    ram_block_attributes_set(rb->attributes, offset, done, !private);
    if (private) {
        return ret;
    }
    /* What QEMU cannot see must not be taken for shared. */
    end = ram_private_end(rb, offset, done);
    return ret ?: end;
}

static int set_state_by_address(const Piece *piece, const Run *run,
                                bool private)
{
    hwaddr start = piece->start + run->offset;
    int ret = private ? kvm_set_memory_attributes_private(start, run->size)
                      : kvm_set_memory_attributes_shared(start, run->size);

    if (!ret) {
        ram_block_attributes_set(piece->rb->attributes,
                                 piece->offset + run->offset, run->size,
                                 !private);
    }
    return ret;
}

/* Tells KVM, then the bitmap what KVM has done, even if it is but a part. */
static int set_state(const Piece *piece, const Run *run, bool private)
{
    return ram_converts_in_place(piece->rb)
        ? set_state_in_place(piece, run, private)
        : set_state_by_address(piece, run, private);
}

static bool has_listeners(const Piece *piece)
{
    return !QLIST_EMPTY(&piece->rb->attributes->rdl_list);
}

/* Listeners give up what they have of the pages before @end. */
static void notify_discard(const Piece *piece, uint64_t end)
{
    Run run = {};

    if (!has_listeners(piece)) {
        return;
    }
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

    if (!has_listeners(piece)) {
        return 0;
    }
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
static int restore_state(const Piece *piece, const Run *run, bool private)
{
    RAMBlock *rb = piece->rb;
    int ret = set_state(piece, run, private);

    if (ret) {
        rb->attributes->failures++;
        warn_report_once("memory '%s' at 0x%" PRIx64 ", size 0x%" PRIx64
                         ", cannot be made %s again: %s", rb->idstr,
                         piece->offset + run->offset, run->size,
                         state_name(private), strerror(-ret));
    }
    return ret;
}

static void restore_states(const Piece *piece, bool private)
{
    Run run = {};

    while (next_run(piece, &run)) {
        restore_state(piece, &run, private);
    }
}

/* Devices are to reach what stays shared, and may fail to. */
static void check_access(RAMBlock *rb, int ret)
{
    if (ret) {
        rb->attributes->failures++;
        warn_report_once("devices lose access to shared memory of '%s', of "
                         "which a conversion failed: %s", rb->idstr,
                         strerror(-ret));
    }
}

static void restore_access(const Piece *piece)
{
    check_access(piece->rb, notify_populate(piece));
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
    if (!ret && !to_private) {
        ret = notify_populate(piece);
    }
    if (ret) {
        restore_states(piece, !to_private);
        if (to_private) {
            restore_access(piece);
        }
    }
    return ret;
}

static void undo_piece(const Piece *piece, bool was_to_private)
{
    if (was_to_private) {
        restore_states(piece, false);
        restore_access(piece);
    } else {
        notify_discard(piece, piece->size);
        restore_states(piece, true);
    }
}

/* Gives back the memory that was the other side's. */
static void drop_other_side(const Piece *piece, bool to_private)
{
    Run run = {};

    if (ram_converts_in_place(piece->rb)) {
        return;
    }
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

static void count_refusal(RamBlockAttributes *attr, bool again)
{
    if (again) {
        attr->retries++;
    } else {
        attr->failures++;
    }
}

static int convert_pieces(Pieces *pieces, bool to_private, bool last_try)
{
    Piece *piece;
    int ret, i;

    for (i = 0; i < pieces->count; i++) {
        piece = nth_piece(pieces, i);
        find_changing(piece, to_private);
        ret = convert_piece(piece, to_private);
        if (ret) {
            count_refusal(piece->rb->attributes, ret == -EAGAIN && !last_try);
            while (i--) {
                undo_piece(nth_piece(pieces, i), to_private);
            }
            return ret;
        }
    }
    for (i = 0; i < pieces->count; i++) {
        piece = nth_piece(pieces, i);
        piece->rb->attributes->conversions++;
        drop_other_side(piece, to_private);
    }
    return 0;
}

/* A small BAR may hide a part of a page, which KVM has no memslot for then. */
static bool can_be_private(Piece *piece)
{
    const size_t page = qemu_real_host_page_size();
    hwaddr start = QEMU_ALIGN_UP(piece->start, page);
    hwaddr end = QEMU_ALIGN_DOWN(piece->start + piece->size, page);

    if (!memory_region_has_guest_memfd(piece->mr) || start >= end) {
        return false;
    }
    piece->rb = piece->mr->ram_block;
    piece->offset += start - piece->start;
    piece->start = start;
    piece->size = end - start;
    return QEMU_IS_ALIGNED(piece->offset, page);
}

static bool is_range(hwaddr start, hwaddr size)
{
    const size_t page = qemu_real_host_page_size();

    return size && QEMU_IS_ALIGNED(start, page) &&
           QEMU_IS_ALIGNED(size, page) && size <= HWADDR_MAX - start;
}

/*
 * What cannot be private is shared already, so that guests may ask for it: some
 * do that with all addresses of devices.
 */
static int find_mapped(Pieces *pieces, const Request *request)
{
    hwaddr start = request->start, end = start + request->size;

    if (!is_range(start, request->size)) {
        return -EINVAL;
    }
    while (start < end) {
        MemoryRegionSection section =
            memory_region_find(get_system_memory(), start, end - start);
        Piece piece = {
            .mr = section.mr,
            .start = section.offset_within_address_space,
            .offset = section.offset_within_region,
            .size = int128_get64(section.size),
        };
        hwaddr next = piece.start + piece.size;
        bool ok;

        if (!section.mr) {
            return request->to_private ? -EINVAL : 0;
        }
        ok = can_be_private(&piece);
        if (ok) {
            add_piece(pieces, &piece);
        } else {
            memory_region_unref(section.mr);
        }
        if (request->to_private && (!ok || piece.start != start)) {
            return -EINVAL;
        }
        start = next;
    }
    return 0;
}

static int find_pieces(Pieces *pieces, const Request *request)
{
    Piece whole = { .rb = request->rb, .size = request->size };

    if (!request->rb) {
        return find_mapped(pieces, request);
    }
    whole.mr = request->rb->mr;
    memory_region_ref(whole.mr);
    add_piece(pieces, &whole);
    return 0;
}

static int try_to_convert(const Request *request, bool last_try)
{
    Pieces pieces = {};
    int ret;

    /*
     * The view of memory in which regions are found stays as long, and with it
     * a reference to each: the last one must not be dropped without the BQL.
     */
    RCU_READ_LOCK_GUARD();
    /* What is unplugged meanwhile loses its attributes after this. */
    ram_block_attributes_lock();
    ret = find_pieces(&pieces, request);
    if (!ret) {
        ret = convert_pieces(&pieces, request->to_private, last_try);
    }
    ram_block_attributes_unlock();
    free_pieces(&pieces);
    return ret;
}

/*
 * Converts all or nothing; returns 0 or a negative errno.
 *
 * Others may hold pages for a moment, the kernel among them.  Who holds one for
 * longer makes the conversion fail, after a tenth of a second.
 */
static int convert(const Request *request)
{
    const char *to = state_name(request->to_private);
    int ret;

    trace_kvm_convert_memory(request->start, request->size, to);
    ret = try_to_convert(request, false);
    for (int tries = 1; ret == -EAGAIN && tries <= MAX_TRIES; tries++) {
        trace_kvm_convert_memory_again(request->start, request->size, to);
        g_usleep(FIRST_DELAY_US << tries);
        ret = try_to_convert(request, tries == MAX_TRIES);
    }
    if (ret == -EAGAIN) {
        warn_report_once("guest memory at 0x%" HWADDR_PRIx ", size 0x%"
                         HWADDR_PRIx ", cannot become %s: something on the "
                         "host goes on using it", request->start,
                         request->size, to);
    }
    trace_kvm_convert_memory_done(request->start, request->size, to, ret);
    return ret;
}

int kvm_convert_memory(hwaddr start, hwaddr size, bool to_private)
{
    const Request request = {
        .start = start, .size = size, .to_private = to_private,
    };

    return convert(&request);
}

static int convert_block(RAMBlock *rb, void *opaque)
{
    const Request request = {
        .rb = rb, .size = rb->max_length, .to_private = *(bool *)opaque,
    };
    int ret;

    if (!ram_converts_in_place(rb)) {
        return 0;
    }
    ret = convert(&request);
    if (ret) {
        error_report("memory '%s' cannot become %s: %s", rb->idstr,
                     state_name(request.to_private), strerror(-ret));
    }
    return ret;
}

int kvm_convert_all_in_place(bool to_private)
{
    return qemu_ram_foreach_block(convert_block, &to_private);
}

/* Tries as long as convert() does. */
static int be_patient(int (*action)(RAMBlock *rb), RAMBlock *rb)
{
    int ret = action(rb);

    for (int tries = 1; ret == -EAGAIN && tries <= MAX_TRIES; tries++) {
        g_usleep(FIRST_DELAY_US << tries);
        ret = action(rb);
    }
    return ret;
}

/* ram_block_discard_guest_memfd_range() would report each try */
static int punch(RAMBlock *rb)
{
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

    return fallocate(rb->guest_memfd, mode, 0, rb->max_length) ? -errno : 0;
}

static int free_block(RAMBlock *rb, void *opaque)
{
    int ret = rb->attributes ? be_patient(punch, rb) : 0;

    if (ret) {
        error_report("memory '%s' cannot be freed: %s", rb->idstr,
                     strerror(-ret));
    }
    return ret;
}

int kvm_free_guest_memfds(void)
{
    return qemu_ram_foreach_block(free_block, NULL);
}

int kvm_forget_memory(RAMBlock *rb)
{
    bool to_private = false;

    return free_block(rb, NULL) ?:
           ram_converts_in_place(rb) ? convert_block(rb, &to_private)
                                     : ram_block_discard_range(rb, 0,
                                                               rb->max_length);
}

/* Of all memory at once: nobody minds to give up what it doesn't have. */
static int begin_loading(RAMBlock *rb, void *opaque)
{
    if (rb->attributes) {
        ram_block_attributes_notify_discard(rb->attributes, 0, rb->max_length);
        rb->attributes->loading = true;
    }
    return 0;
}

void kvm_begin_loading(void)
{
    ram_block_attributes_lock();
    qemu_ram_foreach_block(begin_loading, NULL);
    ram_block_attributes_unlock();
}

static int end_loading(RAMBlock *rb, void *opaque)
{
    Piece piece = { .rb = rb, .size = rb->max_length };
    int ret;

    if (!rb->attributes || !rb->attributes->loading) {
        return 0;
    }
    rb->attributes->loading = false;
    find_changing(&piece, true);
    ret = notify_populate(&piece);
    free_changing(&piece);
    if (ret) {
        rb->attributes->failures++;
        warn_report_once("devices cannot be given shared memory of '%s': %s",
                         rb->idstr, strerror(-ret));
    }
    return 0;
}

void kvm_end_loading(void)
{
    ram_block_attributes_lock();
    qemu_ram_foreach_block(end_loading, NULL);
    ram_block_attributes_unlock();
}

static int make_private(RAMBlock *rb)
{
    uint64_t done;
    int ret = kvm_guest_memfd_convert(rb->guest_memfd, rb->page_size, 0,
                                      rb->max_length, true, &done);

    /* Huge pages are converted one by one. */
    if (ret && done) {
        kvm_guest_memfd_convert(rb->guest_memfd, rb->page_size, 0, done, false,
                                &done);
    }
    return ret;
}

bool kvm_init_memory_state(RAMBlock *rb, Error **errp)
{
    int ret;

    if (!current_machine->cgs->starts_shared) {
        return true;
    }
    if (!phase_check(PHASE_MACHINE_READY)) {
        ram_block_attributes_set(rb->attributes, 0, rb->max_length, true);
        rb->attributes->loading = true;
        return true;
    }
    if (!ram_converts_in_place(rb)) {
        return true;
    }
    ret = be_patient(make_private, rb);
    if (ret) {
        error_setg_errno(errp, -ret, "cannot make memory '%s' private",
                         memory_region_name(rb->mr));
    }
    return !ret;
}

/*
 * Linux 7.3 doesn't see that memory is private where the guest accessed a
 * device before, unless it is asked to map it.
 */
static void map_as_it_is(hwaddr start, hwaddr size)
{
    struct kvm_pre_fault_memory range = { .gpa = start, .size = size };

    /* If it cannot, the guest's access tells again. */
    (void)kvm_vcpu_ioctl(current_cpu, KVM_PRE_FAULT_MEMORY, &range);
}

/* How often the vCPU of this thread has waited since it last got memory. */
static __thread unsigned int waits;

/*
 * The guest makes the access again, until nothing holds the memory.  If that
 * takes too long, somebody is to see why.
 */
static int wait_for_memory(hwaddr start, hwaddr size, bool to_private)
{
    if (++waits < MAX_WAITS) {
        return 0;
    }
    waits = 0;
    error_report("a processor waits for guest memory at 0x%" HWADDR_PRIx
                 ", size 0x%" HWADDR_PRIx ", to become %s: something on the "
                 "host goes on using it", start, size, state_name(to_private));
    error_printf("The machine is paused.  End what holds the memory, then use "
                 "cont.\n");
    qapi_event_send_guest_memory_busy(start, size, to_private);
    bql_lock();
    vm_stop(RUN_STATE_PAUSED);
    bql_unlock();
    return EXCP_INTERRUPT;
}

int kvm_handle_memory_fault(hwaddr start, hwaddr size, uint64_t flags)
{
    bool to_private;
    int ret;

    if (flags & ~KVM_MEMORY_EXIT_FLAG_PRIVATE) {
        error_report("KVM_EXIT_MEMORY_FAULT: Unknown flag 0x%" PRIx64, flags);
        return -EINVAL;
    }
    /* Such an access met a conversion; what it wants is there when it ends. */
    if (current_machine->cgs &&
        current_machine->cgs->converts_by_request_only) {
        map_as_it_is(start, size);
        return 0;
    }
    to_private = flags & KVM_MEMORY_EXIT_FLAG_PRIVATE;
    ret = kvm_convert_memory(start, size, to_private);
    if (ret == -EAGAIN) {
        return wait_for_memory(start, size, to_private);
    }
    waits = 0;
    if (ret) {
        error_report("guest memory at 0x%" HWADDR_PRIx ", size 0x%" HWADDR_PRIx
                     ", cannot become %s as an access wants: %s", start, size,
                     state_name(to_private), strerror(-ret));
    }
    return ret;
}

void kvm_clear_memory_attributes(MemoryRegion *mr, hwaddr start, uint64_t size)
{
    /* In place, they belong to the file. */
    if (ram_converts_in_place(mr->ram_block)) {
        return;
    }
    ram_block_attributes_lock();
    kvm_set_memory_attributes_shared(start, size);
    ram_block_attributes_unlock();
}

void kvm_restore_memory_attributes(MemoryRegion *mr, hwaddr start,
                                   uint64_t offset, uint64_t size)
{
    RAMBlock *rb = mr->ram_block;
    Piece piece = {
        .rb = rb, .start = start, .offset = offset, .size = size,
    };
    Run run = {};

    if (ram_converts_in_place(rb)) {
        return;
    }
    ram_block_attributes_lock();
    /* KVM may have failed to forget what was there before. */
    if (kvm_set_memory_attributes_shared(start, size)) {
        rb->attributes->failures++;
    }
    /* All is shared now, so what is private changes. */
    find_changing(&piece, false);
    while (next_run(&piece, &run)) {
        if (restore_state(&piece, &run, true)) {
            ram_block_attributes_set(rb->attributes, offset + run.offset,
                                     run.size, true);
            check_access(rb, ram_block_attributes_notify_populate(
                rb->attributes, offset + run.offset, run.size));
        }
    }
    ram_block_attributes_unlock();
    free_changing(&piece);
}
