/*
 * What a request to convert memory has done, and would have to undo
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_RAM_CONVERSION_LOG_H
#define SYSTEM_RAM_CONVERSION_LOG_H

#include "qemu/queue.h"
#include "system/ram-conversion.h"

/**
 * struct RamConversionLogEntry - a step that was done, or some in a row
 * @step: its @pages are those here; or NULL if all of them changed, and then
 *     it may stand for many steps
 * @generation: of the RAMBlock's attributes
 */
typedef struct RamConversionLogEntry {
    RamConversionStep step;
    uint64_t generation;
    QSLIST_ENTRY(RamConversionLogEntry) next;
    unsigned long pages[];
} RamConversionLogEntry;

/* The last that was done is the first; starts as all zeros. */
typedef QSLIST_HEAD(, RamConversionLogEntry) RamConversionLog;

/**
 * ram_conversion_log_entry: make an entry for a step
 * @step: of which RAMBlock, offset and size are known
 *
 * Context: RCU read lock, ram_block_attributes_lock().
 *
 * Return: an entry in no log, to be freed with g_free(); its step has room for
 * @pages.
 */
RamConversionLogEntry *ram_conversion_log_entry(const RamConversionStep *step);

/**
 * ram_conversion_log_add: note a step that was done
 * @log: of the request
 * @entry: of the step, which belongs to the log from then on
 *
 * Steps one after the other that changed all of their pages take no more memory
 * than one.
 */
void ram_conversion_log_add(RamConversionLog *log,
                            RamConversionLogEntry *entry);

/**
 * ram_conversion_log_clear: free what is in a log
 * @log: of a request
 */
void ram_conversion_log_clear(RamConversionLog *log);

/**
 * ram_conversion_log_last: find what to undo next
 * @log: of the request, not empty
 * @step: set to the last of what was done, no more than can be done in one
 *     step; good until ram_conversion_log_drop()
 *
 * Context: RCU read lock, ram_block_attributes_lock().
 *
 * Return: whether that memory is there still; if not, it is to be dropped only.
 */
bool ram_conversion_log_last(const RamConversionLog *log,
                             RamConversionStep *step);

/**
 * ram_conversion_log_drop: forget a step
 * @log: of the request
 * @step: what ram_conversion_log_last() found
 */
void ram_conversion_log_drop(RamConversionLog *log,
                             const RamConversionStep *step);

/**
 * ram_conversion_log_count: count a conversion for each RAMBlock in a log
 * @log: of the request
 *
 * Context: RCU read lock.
 */
void ram_conversion_log_count(const RamConversionLog *log);

#endif
