/*
 * Conversion of guest memory between private and shared
 *
 * A guest may ask for any amount at once.  That is worked off in steps, each of
 * which holds the lock of states only for itself; who asks for memory that a
 * request before is about waits for that.  All of a request is done, or
 * nothing: a log says what to undo.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_RAM_CONVERSION_H
#define SYSTEM_RAM_CONVERSION_H

#include "qemu/units.h"
#include "exec/hwaddr.h"
#include "system/ramblock.h"

/* Of one step, in bytes */
#define RAM_CONVERSION_STEP (4 * MiB)

/*
 * Of one step if devices have the memory mapped: a mapping is what they get in
 * one step.  VFIO has 65,535 of them by default, half of which QEMU keeps for
 * other memory, so this is for 256 GiB.
 */
#define RAM_CONVERSION_STEP_MAPPED (8 * MiB)

/* Of such a step: runs of pages, or mappings, as many as the other one has. */
#define RAM_CONVERSION_RUNS 512

/* How often it is tried again if something on the host uses memory. */
#define RAM_CONVERSION_TRIES 9

/**
 * ram_conversion_wait: wait before it is tried again
 * @tries: how often that was done
 *
 * All waits together take a tenth of a second.
 */
static inline void ram_conversion_wait(unsigned int tries)
{
    g_usleep(200 << tries);
}

static inline const char *ram_state_name(bool private)
{
    return private ? "private" : "shared";
}

/**
 * struct RamConversionStep - pages of one RAMBlock that are converted at once
 * @rb: the RAMBlock
 * @offset: of the first page within @rb, in bytes
 * @size: in bytes
 * @pages: bitmap of the pages that change, or changed; NULL if all of them did
 *
 * All sizes are multiples of the host's page size.
 */
typedef struct RamConversionStep {
    RAMBlock *rb;
    uint64_t offset;
    uint64_t size;
    unsigned long *pages;
} RamConversionStep;

/**
 * ram_conversion_step_size: how much of a RAMBlock is converted at once
 * @rb: RAMBlock with private memory
 *
 * Pages of 2 MiB are whole, of larger ones it is a part.
 *
 * Context: ram_block_attributes_lock(); after that it can be another size.
 *
 * Return: in bytes
 */
uint64_t ram_conversion_step_size(RAMBlock *rb);

/**
 * ram_conversion_step_do: make pages private or shared
 * @step: what to convert; @pages has room for those that change, and is filled;
 *     @size may become less, if devices have too many parts of it
 * @to_private: what the pages are to be
 *
 * What devices may reach must be shared: they lose it before it becomes
 * private, and get it after it became shared.
 *
 * Context: RCU read lock, and ram_block_attributes_lock().
 *
 * Return: 0; or a negative errno, and all is as it was, but for what cannot be
 * put back, see ram_conversion_step_undo().
 */
int ram_conversion_step_do(RamConversionStep *step, bool to_private);

/**
 * ram_conversion_step_undo: put pages back
 * @step: what changed
 * @was_to_private: what it changed to
 *
 * Pages that cannot be put back are counted as failures, and stay what they
 * are, for KVM, devices and the bitmap alike.
 *
 * Context: as ram_conversion_step_do().
 */
void ram_conversion_step_undo(RamConversionStep *step, bool was_to_private);

/**
 * ram_conversion_step_free: give back the memory of the other side
 * @step: what changed
 * @to_private: what it changed to
 *
 * With two backings only: what was shared, or private, is there still.
 *
 * Context: RCU read lock.
 */
void ram_conversion_step_free(const RamConversionStep *step, bool to_private);

/**
 * ram_conversion_step_restore: tell KVM again what is private
 * @step: pages that are all shared for KVM where it has them mapped
 *
 * What KVM refuses is shared from then on, and counted as a failure.
 *
 * Context: as ram_conversion_step_do().
 */
void ram_conversion_step_restore(const RamConversionStep *step);

/**
 * ram_conversion_step_populate: let devices have what is shared
 * @step: some pages
 *
 * Context: ram_block_attributes_lock().
 *
 * Return: 0; or the negative errno of a device, and none has any of it.
 */
int ram_conversion_step_populate(const RamConversionStep *step);

/**
 * ram_conversion_try: convert memory if one step does it
 * @start: guest-physical address
 * @size: in bytes
 * @to_private: what the memory is to be
 *
 * Most requests are for a page or a few, and nobody is in their way: this takes
 * half the instructions of a RamConversion.
 *
 * Context: not within ram_block_attributes_lock() or the RCU read lock.
 *
 * Return: 0; -EAGAIN if ram_conversion_begin() is to do it, or says why not; or
 * another negative errno.  If not 0, nothing was done.
 */
int ram_conversion_try(hwaddr start, uint64_t size, bool to_private);

typedef struct RamConversion RamConversion;

/**
 * ram_conversion_begin: take up a request to convert memory
 * @start: guest-physical address, a multiple of the host's page size
 * @size: in bytes, likewise
 * @to_private: what the memory is to be
 *
 * A guest may ask for any range.  What has no private side is shared: it is
 * skipped on the way to shared, and makes a request fail on that to private.
 *
 * Return: the request, for ram_conversion_run()
 */
RamConversion *ram_conversion_begin(hwaddr start, uint64_t size,
                                    bool to_private);

/**
 * ram_conversion_run: work a request off
 * @request: what ram_conversion_begin() returned; freed at the end
 * @can_pause: whether to return when the vCPU of this thread is to stop
 *
 * Requests for the same memory are worked off in the order in which they began.
 * All of a request is done, or nothing.
 *
 * Context: without the BQL if the request may be large, or may meet one that
 * has paused; not within ram_block_attributes_lock() or the RCU read lock.
 *
 * Return: 0; -EAGAIN if something on the host goes on using the memory;
 * -EINPROGRESS if @can_pause, and this is to be called again; -ECANCELED if the
 * machine was reset meanwhile; or another negative errno
 */
int ram_conversion_run(RamConversion *request, bool can_pause);

/**
 * ram_conversion_convert_block: convert all of a RAMBlock
 * @rb: RAMBlock with private memory, whether a guest sees it or not
 * @to_private: what it is to be
 *
 * Context: no vCPU runs, or none sees the memory.
 *
 * Return: as ram_conversion_run()
 */
int ram_conversion_convert_block(RAMBlock *rb, bool to_private);

/**
 * ram_conversion_abandon: leave memory as it is
 * @request: one that has paused; ram_conversion_run() frees it
 */
void ram_conversion_abandon(RamConversion *request);

/**
 * ram_conversion_abandon_all: forget requests that have paused
 *
 * Their memory is what it is: for a reset, which makes all of it new.
 *
 * Context: no vCPU runs.
 */
void ram_conversion_abandon_all(void);

#endif
