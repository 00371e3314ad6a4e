/*
 * A naive model of who knows states of guest memory
 *
 * It has one boolean for each page in each place that knows its state: QEMU's
 * bitmap, KVM and a device; and it stands for all of them under the code that
 * converts memory.  Kernel and device refuse what they are told to.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RAM_CONVERSION_MODEL_H
#define RAM_CONVERSION_MODEL_H

#include "system/memory.h"
#include "system/ramblock.h"

enum {
    MODEL_BLOCKS = 3,
    MODEL_PAGES = 10000,            /* of a RAMBlock: some steps */
    MODEL_HUGE = 512,
    MODEL_ALL = 4 * MODEL_PAGES,    /* what the guest sees, with a hole */
};

typedef struct ModelBlock {
    RAMBlock rb;
    MemoryRegion mr;
    RamBlockAttributes attr;
    bool kvm[MODEL_PAGES];          /* shared */
    bool hidden[MODEL_PAGES];       /* from QEMU, in place */
    bool device[MODEL_PAGES];       /* has it */
    hwaddr page;                    /* where the guest sees it */
    bool is_mapped;
    bool is_unplugged;
} ModelBlock;

typedef bool ModelStates[MODEL_BLOCKS][MODEL_PAGES];

extern ModelBlock model_blocks[MODEL_BLOCKS];

/* All memory is private, and the guest sees all but the hole. */
void model_set_up(bool in_place);
void model_tear_down(void);

/* After so many calls the kernel or the device refuses so many. */
void model_refuse_after(int after, int times, int err);
/* How many it did. */
int model_refused(void);

/* Whether QEMU cannot be shown what becomes shared. */
extern bool model_hides;

/* The how manyth piece of memory devices refuse to give up; 0 if none */
extern int model_keeps;

/* How often devices were told of memory while the lock was held, at most */
extern int model_most_calls;
/* And of how much, in bytes */
extern uint64_t model_most_bytes;

/* No device has memory of a block any more. */
void model_lose_device(ModelBlock *block);

/* After so many steps the guest no longer sees a block. */
void model_lose_after(int after, ModelBlock *block, bool is_unplugged);
/* It sees it again, if it is lost, and new if it was unplugged. */
void model_find(ModelBlock *block);

bool model_is_shared(const ModelBlock *block, int page);
void model_copy(ModelStates states);

/* KVM and the bitmap are equal, and the device has what is shared, or less. */
void model_check_equal(bool device_has_all);
/* All of a range that the guest sees is so, and the rest is as it was. */
void model_check_converted(ModelStates before, hwaddr first, hwaddr count,
                           bool shared);
void model_check_unchanged(ModelStates before);

#endif
