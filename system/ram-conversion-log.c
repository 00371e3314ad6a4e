/*
 * What a request to convert memory has done, and would have to undo
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "exec/ramlist.h"
#include "ram-conversion-log.h"

/* What was done: steps that are neighbours and changed all are one. */
typedef struct Entry {
    RamConversionStep step;
    uint64_t generation;            /* of the RAMBlock's attributes */
} Entry;

static Entry *nth_entry(const RamConversionLog *log, unsigned int n)
{
    return &g_array_index(log->entries, Entry, n);
}

static Entry *last_entry(const RamConversionLog *log)
{
    return nth_entry(log, log->entries->len - 1);
}

static void pop_entry(RamConversionLog *log)
{
    g_free(last_entry(log)->step.pages);
    g_array_set_size(log->entries, log->entries->len - 1);
}

void ram_conversion_log_init(RamConversionLog *log)
{
    log->entries = g_array_new(false, false, sizeof(Entry));
}

void ram_conversion_log_clear(RamConversionLog *log)
{
    while (!ram_conversion_log_is_empty(log)) {
        pop_entry(log);
    }
    g_array_unref(log->entries);
}

bool ram_conversion_log_is_empty(const RamConversionLog *log)
{
    return !log->entries->len;
}

static bool changed_all(const RamConversionStep *step)
{
    return bitmap_full(step->pages, step->size / qemu_real_host_page_size());
}

static bool continues_entry(const Entry *entry, const Entry *next)
{
    const RamConversionStep *step = &entry->step;

    return !step->pages && step->rb == next->step.rb &&
           entry->generation == next->generation &&
           step->offset + step->size == next->step.offset;
}

void ram_conversion_log_add(RamConversionLog *log, RamConversionStep *step,
                            uint64_t generation)
{
    Entry entry = { .step = *step, .generation = generation };

    if (changed_all(step)) {
        g_free(step->pages);
        entry.step.pages = NULL;
        if (!ram_conversion_log_is_empty(log) &&
            continues_entry(last_entry(log), &entry)) {
            last_entry(log)->step.size += step->size;
            return;
        }
    }
    g_array_append_val(log->entries, entry);
}

/* Memory may be gone that was converted, or have been plugged again. */
static bool is_there(const Entry *entry)
{
    RAMBlock *rb;

    RAMBLOCK_FOREACH(rb) {
        if (rb == entry->step.rb) {
            return rb->attributes &&
                   rb->attributes->generation == entry->generation;
        }
    }
    return false;
}

bool ram_conversion_log_last(const RamConversionLog *log,
                             RamConversionStep *step)
{
    const Entry *entry = last_entry(log);
    uint64_t begin, end = entry->step.offset + entry->step.size;

    *step = entry->step;
    if (!is_there(entry)) {
        return false;
    }
    begin = QEMU_ALIGN_DOWN(end - 1, ram_conversion_step_size(step->rb));
    step->offset = MAX(step->offset, begin);
    step->size = end - step->offset;
    return true;
}

void ram_conversion_log_drop(RamConversionLog *log,
                             const RamConversionStep *step)
{
    Entry *entry = last_entry(log);

    entry->step.size -= step->size;
    if (!entry->step.size) {
        pop_entry(log);
    }
}

static void count_conversion(const Entry *entry)
{
    ram_block_attributes_lock();
    if (is_there(entry)) {
        entry->step.rb->attributes->conversions++;
    }
    ram_block_attributes_unlock();
}

void ram_conversion_log_count(const RamConversionLog *log)
{
    RAMBlock *last = NULL;

    for (unsigned int i = 0; i < log->entries->len; i++) {
        Entry *entry = nth_entry(log, i);

        if (entry->step.rb != last) {
            count_conversion(entry);
        }
        last = entry->step.rb;
    }
}
