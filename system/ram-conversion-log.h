/*
 * What a request to convert memory has done, and would have to undo
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_RAM_CONVERSION_LOG_H
#define SYSTEM_RAM_CONVERSION_LOG_H

#include "system/ram-conversion.h"

typedef struct RamConversionLog {
    GArray *entries;
} RamConversionLog;

/**
 * ram_conversion_log_init: begin a log
 * @log: set to an empty one; ram_conversion_log_clear() frees it
 */
void ram_conversion_log_init(RamConversionLog *log);

void ram_conversion_log_clear(RamConversionLog *log);

/**
 * ram_conversion_log_add: note a step that was done
 * @log: of the request
 * @step: whose @pages belong to the log from then on
 * @generation: of the RAMBlock's attributes, when the step was done
 *
 * Steps one after the other that changed all of their pages take no more memory
 * than one.
 */
void ram_conversion_log_add(RamConversionLog *log, RamConversionStep *step,
                            uint64_t generation);

/**
 * ram_conversion_log_is_empty: whether all was taken from a log
 * @log: of the request
 */
bool ram_conversion_log_is_empty(const RamConversionLog *log);

/**
 * ram_conversion_log_last: find what to undo next
 * @log: of the request
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
 * Context: RCU read lock; takes ram_block_attributes_lock().
 */
void ram_conversion_log_count(const RamConversionLog *log);

#endif
