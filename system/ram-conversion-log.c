/*
 * What a request to convert memory has done, and would have to undo
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "exec/ramlist.h"
#include "ram-conversion-log.h"

static unsigned long count_pages(const RamConversionStep *step)
{
    return step->size / qemu_real_host_page_size();
}

/* Not cleared, which takes longer than a conversion does otherwise. */
RamConversionLogEntry *ram_conversion_log_entry(const RamConversionStep *step)
{
    size_t words = BITS_TO_LONGS(count_pages(step));
    RamConversionLogEntry *entry =
        g_malloc(sizeof(*entry) + words * sizeof(*entry->pages));

    entry->step = *step;
    entry->step.pages = entry->pages;
    entry->generation = step->rb->attributes->generation;
    return entry;
}

static bool changed_all(const RamConversionStep *step)
{
    return bitmap_full(step->pages, count_pages(step));
}

static bool continues_entry(const RamConversionLogEntry *entry,
                            const RamConversionLogEntry *next)
{
    const RamConversionStep *step = &entry->step;

    return !step->pages && step->rb == next->step.rb &&
           entry->generation == next->generation &&
           step->offset + step->size == next->step.offset;
}

void ram_conversion_log_add(RamConversionLog *log, RamConversionLogEntry *entry)
{
    RamConversionLogEntry *last = QSLIST_FIRST(log);

    if (changed_all(&entry->step)) {
        entry->step.pages = NULL;
        if (last && continues_entry(last, entry)) {
            last->step.size += entry->step.size;
            g_free(entry);
            return;
        }
    }
    QSLIST_INSERT_HEAD(log, entry, next);
}

static void pop_entry(RamConversionLog *log)
{
    RamConversionLogEntry *entry = QSLIST_FIRST(log);

    QSLIST_REMOVE_HEAD(log, next);
    g_free(entry);
}

void ram_conversion_log_clear(RamConversionLog *log)
{
    while (!QSLIST_EMPTY(log)) {
        pop_entry(log);
    }
}

/* Memory may be gone that was converted, or have been plugged again. */
static RamBlockAttributes *attributes_of(const RamConversionLogEntry *entry)
{
    RamBlockAttributes *attr;
    RAMBlock *rb;

    RAMBLOCK_FOREACH(rb) {
        if (rb == entry->step.rb) {
            attr = qatomic_read(&rb->attributes);
            return attr && attr->generation == entry->generation ? attr : NULL;
        }
    }
    return NULL;
}

bool ram_conversion_log_last(const RamConversionLog *log,
                             RamConversionStep *step)
{
    const RamConversionLogEntry *entry = QSLIST_FIRST(log);
    uint64_t begin, end = entry->step.offset + entry->step.size;

    *step = entry->step;
    if (!attributes_of(entry)) {
        return false;
    }
    if (!step->pages) {
        begin = QEMU_ALIGN_DOWN(end - 1, ram_conversion_step_size(step->rb));
        step->offset = MAX(step->offset, begin);
        step->size = end - step->offset;
    }
    return true;
}

void ram_conversion_log_drop(RamConversionLog *log,
                             const RamConversionStep *step)
{
    RamConversionLogEntry *entry = QSLIST_FIRST(log);

    entry->step.size -= step->size;
    if (!entry->step.size) {
        pop_entry(log);
    }
}

void ram_conversion_log_count(const RamConversionLog *log)
{
    RamConversionLogEntry *entry;
    RAMBlock *last = NULL;

    QSLIST_FOREACH(entry, log, next) {
        RamBlockAttributes *attr = NULL;

        if (entry->step.rb != last) {
            attr = attributes_of(entry);
        }
        if (attr) {
            qatomic_inc(&attr->conversions);
        }
        last = entry->step.rb;
    }
}
