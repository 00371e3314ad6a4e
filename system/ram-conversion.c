/*
 * Conversion of guest memory: requests of any size
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/rcu.h"
#include "qemu/rcu_queue.h"
#include "qemu/units.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "system/memory.h"
#include "system/ram-conversion.h"
#include "ram-conversion-find.h"
#include "ram-conversion-log.h"
#include "trace.h"

/* Until a vCPU that waits for others looks again whether it must pause. */
enum { PATIENCE_MS = 2 };

struct RamConversion {
    RAMBlock *rb;                   /* all of it, whoever sees it; or NULL */
    hwaddr start;                   /* as the guest sees it, or within @rb */
    hwaddr end;
    bool to_private;
    enum { WAIT, CONVERT, UNDO, FREE, END } phase;
    hwaddr next;                    /* what is before it is converted */
    unsigned int tries;             /* of the step there */
    int ret;
    RamConversionLog log;
    QTAILQ_ENTRY(RamConversion) node;
};

/* In the order in which they came; who overlaps one before waits for it. */
static QTAILQ_HEAD(, RamConversion) requests =
    QTAILQ_HEAD_INITIALIZER(requests);
static QemuMutex requests_mutex;
static QemuCond requests_cond;

static void __attribute__((__constructor__)) requests_init(void)
{
    qemu_mutex_init(&requests_mutex);
    qemu_cond_init(&requests_cond);
}

static bool is_first(const RamConversion *request)
{
    uint64_t size = request->end - request->start;
    RamConversion *other;

    QTAILQ_FOREACH(other, &requests, node) {
        if (other == request) {
            return true;
        }
        if (ranges_overlap(other->start, other->end - other->start,
                           request->start, size)) {
            return false;
        }
    }
    g_assert_not_reached();
}

static void enter_queue(RamConversion *request)
{
    QEMU_LOCK_GUARD(&requests_mutex);
    QTAILQ_INSERT_TAIL(&requests, request, node);
    request->phase = is_first(request) ? CONVERT : WAIT;
}

static void remove_request(RamConversion *request)
{
    if (QTAILQ_IN_USE(request, node)) {
        QTAILQ_REMOVE(&requests, request, node);
        if (!QTAILQ_EMPTY(&requests)) {
            qemu_cond_broadcast(&requests_cond);
        }
    }
}

static void leave_queue(RamConversion *request)
{
    QEMU_LOCK_GUARD(&requests_mutex);
    remove_request(request);
}

static void await_turn(RamConversion *request)
{
    QEMU_LOCK_GUARD(&requests_mutex);
    if (!is_first(request)) {
        qemu_cond_timedwait(&requests_cond, &requests_mutex, PATIENCE_MS);
        return;
    }
    request->phase = CONVERT;
}

/* Finds the first memory of what is left of a request from an address on. */
static int find_next(const RamConversion *request, hwaddr *at,
                     MemoryRegionSection *section)
{
    if (!request->rb) {
        return ram_conversion_find(at, request->end, request->to_private,
                                   section);
    }
    *section = (MemoryRegionSection) {
        .mr = request->rb->mr,
        .offset_within_address_space = *at,
        .offset_within_region = *at,
        .size = int128_make64(request->end - *at),
    };
    memory_region_ref(section->mr);
    return 1;
}

/* Nothing is done of a request that a look at the memory map refuses. */
static int check_memory(const RamConversion *request)
{
    MemoryRegionSection section;
    hwaddr at = request->start;
    int ret;

    do {
        ret = ram_conversion_find(&at, request->end, request->to_private,
                                  &section);
        if (ret > 0) {
            memory_region_unref(section.mr);
        }
    } while (ret > 0);
    return ret;
}

/* The first look at the memory map is the only one if it finds all of it. */
static int check_others(const RamConversion *request,
                        const MemoryRegionSection *section)
{
    hwaddr end = section->offset_within_address_space +
                 int128_get64(section->size);

    return request->next > request->start || end == request->end
        ? 0 : check_memory(request);
}

static int find_step(const RamConversion *request, hwaddr *at,
                     MemoryRegionSection *section)
{
    int ret = find_next(request, at, section), others;

    if (ret <= 0) {
        return ret;
    }
    others = check_others(request, section);
    if (others) {
        memory_region_unref(section->mr);
    }
    return others ?: ret;
}

/* A step ends where it should. */
static RamConversionStep first_step(const MemoryRegionSection *section)
{
    RamConversionStep step = {
        .rb = section->mr->ram_block,
        .offset = section->offset_within_region,
    };
    uint64_t most = ram_conversion_step_size(step.rb);
    uint64_t end = QEMU_ALIGN_DOWN(step.offset + most, most);

    step.size = MIN(int128_get64(section->size), end - step.offset);
    return step;
}

static void count_refusal(RamBlockAttributes *attr, bool again)
{
    if (again) {
        qatomic_inc(&attr->retries);
    } else {
        qatomic_inc(&attr->failures);
    }
}

static bool can_try_again(const RamConversion *request, int ret)
{
    return ret == -EAGAIN && request->tries < RAM_CONVERSION_TRIES;
}

static int convert_step(RamConversion *request)
{
    hwaddr at = request->next;
    MemoryRegionSection section;
    RamConversionStep step;
    RamConversionLogEntry *entry;
    int ret;

    /* What is unplugged meanwhile loses its attributes after this. */
    ram_block_attributes_lock();
    ret = find_step(request, &at, &section);
    if (ret <= 0) {
        ram_block_attributes_unlock();
        request->next = request->end;
        return ret;
    }
    step = first_step(&section);
    entry = ram_conversion_log_entry(&step);
    ret = ram_conversion_step_do(&entry->step, request->to_private);
    if (ret) {
        count_refusal(step.rb->attributes, can_try_again(request, ret));
    }
    ram_block_attributes_unlock();

    if (ret) {
        g_free(entry);
    } else {
        request->next = section.offset_within_address_space + entry->step.size;
        ram_conversion_log_add(&request->log, entry);
    }
    memory_region_unref(section.mr);
    return ret;
}

/*
 * Others may hold pages for a moment, the kernel among them.  Who holds one for
 * longer makes the conversion fail, after a tenth of a second.
 */
static void convert_next(RamConversion *request)
{
    int ret;

    /*
     * The view of memory in which regions are found stays as long, and with it
     * a reference to each: the last one must not be dropped without the BQL.
     */
    WITH_RCU_READ_LOCK_GUARD() {
        ret = convert_step(request);
        if (!ret && request->next == request->end) {
            ram_conversion_log_count(&request->log);
        }
    }
    if (can_try_again(request, ret)) {
        trace_ram_conversion_again(request->next, request->end,
                                   ram_state_name(request->to_private));
        ram_conversion_wait(request->tries++);
        return;
    }
    request->tries = 0;
    request->ret = ret;
    if (ret) {
        request->phase = UNDO;
    } else if (request->next == request->end) {
        /* In place, there is no other side. */
        request->phase = machine_converts_in_place(current_machine) ? END
                                                                    : FREE;
    }
}

/* Undoes a step, or frees what it left, from the end of the log on. */
static void work_off(RamConversion *request)
{
    RamConversionStep step;
    bool is_there;

    if (QSLIST_EMPTY(&request->log)) {
        request->phase = END;
        return;
    }
    RCU_READ_LOCK_GUARD();
    ram_block_attributes_lock();
    is_there = ram_conversion_log_last(&request->log, &step);
    if (is_there && request->phase == UNDO) {
        ram_conversion_step_undo(&step, request->to_private);
    }
    ram_block_attributes_unlock();
    if (is_there && request->phase == FREE) {
        ram_conversion_step_free(&step, request->to_private);
    }
    ram_conversion_log_drop(&request->log, &step);
}

static void work_on(RamConversion *request)
{
    switch (request->phase) {
    case WAIT:
        await_turn(request);
        break;
    case CONVERT:
        convert_next(request);
        break;
    case UNDO:
    case FREE:
        work_off(request);
        break;
    case END:
        break;
    }
}

static int try_step(const MemoryRegionSection *section, uint64_t size,
                    bool to_private, RamConversionStep *step)
{
    RamBlockAttributes *attr = section->mr->ram_block->attributes;
    unsigned long *pages = step->pages;
    int ret;

    *step = first_step(section);
    step->pages = pages;
    if (step->size != size) {
        return -EAGAIN;
    }
    ret = ram_conversion_step_do(step, to_private);
    if (ret) {
        count_refusal(attr, ret == -EAGAIN);
    } else {
        qatomic_inc(&attr->conversions);
    }
    return ret;
}

/* If there are no requests, or only those that wait for who calls this. */
static int try_range(hwaddr start, uint64_t size, bool to_private, bool first)
{
    unsigned long pages[BITS_TO_LONGS(RAM_CONVERSION_STEP / (4 * KiB))];
    RamConversionStep step = { .pages = pages };
    MemoryRegionSection section;
    hwaddr at = start;
    int ret = -EAGAIN;

    RCU_READ_LOCK_GUARD();
    ram_block_attributes_lock();
    /* Whoever begins a request after this waits for the lock. */
    if ((first || QTAILQ_EMPTY_RCU(&requests)) &&
        ram_conversion_find(&at, start + size, to_private, &section) > 0) {
        ret = try_step(&section, size, to_private, &step);
        memory_region_unref(section.mr);
    }
    ram_block_attributes_unlock();
    if (!ret) {
        ram_conversion_step_free(&step, to_private);
    }
    return ret;
}

/* With two backings others must wait until the other side is given back. */
static int try_in_queue(hwaddr start, uint64_t size, bool to_private)
{
    RamConversion request = {
        .start = start, .end = start + size, .to_private = to_private,
    };
    int ret = -EAGAIN;

    enter_queue(&request);
    if (request.phase == CONVERT) {
        ret = try_range(start, size, to_private, true);
    }
    leave_queue(&request);
    return ret;
}

int ram_conversion_try(hwaddr start, uint64_t size, bool to_private)
{
    int ret;

    if (!ram_conversion_is_range(start, size) || size > RAM_CONVERSION_STEP) {
        return -EAGAIN;
    }
    ret = machine_converts_in_place(current_machine)
        ? try_range(start, size, to_private, false)
        : try_in_queue(start, size, to_private);
    if (!ret) {
        trace_ram_conversion(start, size, ram_state_name(to_private));
        trace_ram_conversion_done(start, start + size,
                                  ram_state_name(to_private), 0);
    }
    return ret;
}

static RamConversion *new_request(hwaddr start, uint64_t size, bool to_private)
{
    RamConversion *request = g_new(RamConversion, 1);

    *request = (RamConversion) {
        .start = start, .end = start + size, .to_private = to_private,
        .next = start,
    };
    trace_ram_conversion(start, size, ram_state_name(to_private));
    return request;
}

RamConversion *ram_conversion_begin(hwaddr start, uint64_t size,
                                    bool to_private)
{
    RamConversion *request = new_request(start, size, to_private);

    if (ram_conversion_is_range(start, size)) {
        enter_queue(request);
    } else {
        request->phase = END;
        request->ret = -EINVAL;
    }
    return request;
}

static int end_request(RamConversion *request)
{
    int ret = request->ret;

    leave_queue(request);
    if (ret == -EAGAIN && !request->rb) {
        warn_report_once("guest memory at 0x%" HWADDR_PRIx ", size 0x%"
                         HWADDR_PRIx ", cannot become %s: something on the "
                         "host goes on using it", request->start,
                         request->end - request->start,
                         ram_state_name(request->to_private));
    }
    trace_ram_conversion_done(request->start, request->end,
                              ram_state_name(request->to_private), ret);
    ram_conversion_log_clear(&request->log);
    g_free(request);
    return ret;
}

/* A vCPU doesn't keep others waiting that want it to stop. */
static bool must_pause(void)
{
    return current_cpu && qatomic_load_acquire(&current_cpu->exit_request);
}

int ram_conversion_run(RamConversion *request, bool can_pause)
{
    while (request->phase != END) {
        work_on(request);
        if (can_pause && request->phase != END && must_pause()) {
            return -EINPROGRESS;
        }
    }
    return end_request(request);
}

int ram_conversion_convert_block(RAMBlock *rb, bool to_private)
{
    RamConversion *request = new_request(0, rb->max_length, to_private);

    request->rb = rb;
    request->phase = CONVERT;
    return ram_conversion_run(request, false);
}

static void abandon_request(RamConversion *request)
{
    request->phase = END;
    request->ret = -ECANCELED;
    remove_request(request);
}

void ram_conversion_abandon(RamConversion *request)
{
    QEMU_LOCK_GUARD(&requests_mutex);
    abandon_request(request);
}

void ram_conversion_abandon_all(void)
{
    RamConversion *request, *next;

    QEMU_LOCK_GUARD(&requests_mutex);
    QTAILQ_FOREACH_SAFE(request, &requests, node, next) {
        abandon_request(request);
    }
}
