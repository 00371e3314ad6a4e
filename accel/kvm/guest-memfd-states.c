/*
 * States of guest memory in KVM: private or shared
 *
 * In place, they belong to the file.  With two backings they are attributes of
 * guest-physical addresses: memory has them where KVM has it mapped, and gets
 * them where it is mapped anew.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/interval-tree.h"
#include "system/kvm.h"
#include "system/kvm-guest-memfd.h"
#include "system/memory.h"
#include "system/ram-conversion.h"
#include "system/ram-private.h"
#include "system/ramblock.h"

/* Memory that a guest sees; the interval is one of ram_addr_t. */
typedef struct Mapping {
    IntervalTreeNode node;
    RAMBlock *rb;
    hwaddr start;                   /* guest-physical */
} Mapping;

/* Protected by ram_block_attributes_lock(). */
static IntervalTreeRoot mappings;

/* What the current change of the memory map takes away and adds, under BQL. */
static IntervalTreeRoot unmapped, mapped;

static uint64_t mapping_size(const Mapping *mapping)
{
    return mapping->node.last - mapping->node.start + 1;
}

static Mapping *first_mapping(IntervalTreeRoot *root, uint64_t start,
                              uint64_t last)
{
    IntervalTreeNode *node = interval_tree_iter_first(root, start, last);

    return node ? container_of(node, Mapping, node) : NULL;
}

static void insert_mapping(IntervalTreeRoot *root, const Mapping *like,
                           uint64_t start, uint64_t last)
{
    Mapping *mapping = g_new0(Mapping, 1);

    mapping->node.start = start;
    mapping->node.last = last;
    mapping->rb = like->rb;
    mapping->start = like->start + (start - like->node.start);
    interval_tree_insert(&mapping->node, root);
}

static void remove_mapping(IntervalTreeRoot *root, Mapping *mapping)
{
    interval_tree_remove(&mapping->node, root);
    g_free(mapping);
}

static void remove_all(IntervalTreeRoot *root)
{
    Mapping *mapping;

    while ((mapping = first_mapping(root, 0, UINT64_MAX))) {
        remove_mapping(root, mapping);
    }
}

/* Takes a part out of the mappings that are there. */
static void cut_out(const Mapping *part)
{
    const uint64_t start = part->node.start, last = part->node.last;
    Mapping *mapping;

    while ((mapping = first_mapping(&mappings, start, last))) {
        if (mapping->node.start < start) {
            insert_mapping(&mappings, mapping, mapping->node.start, start - 1);
        }
        if (mapping->node.last > last) {
            insert_mapping(&mappings, mapping, last + 1, mapping->node.last);
        }
        remove_mapping(&mappings, mapping);
    }
}

/* Whether a set has the same where a part begins; cuts it where that ends. */
static bool has_part(IntervalTreeRoot *root, Mapping *part)
{
    Mapping *mapping = first_mapping(root, part->node.start, part->node.last);

    if (!mapping) {
        return false;
    }
    if (mapping->node.start > part->node.start) {
        part->node.last = mapping->node.start - 1;
        return false;
    }
    part->node.last = MIN(part->node.last, mapping->node.last);
    return mapping->start + (part->node.start - mapping->node.start) ==
           part->start;
}

/* Does something with what is in one set and not in another. */
static void for_difference(IntervalTreeRoot *set, IntervalTreeRoot *other,
                           void (*action)(const Mapping *part))
{
    IntervalTreeNode *node;

    for (node = interval_tree_iter_first(set, 0, UINT64_MAX); node;
         node = interval_tree_iter_next(node, 0, UINT64_MAX)) {
        Mapping rest = *container_of(node, Mapping, node);

        while (rest.node.start <= node->last) {
            Mapping part = rest;

            if (!has_part(other, &part)) {
                action(&part);
            }
            rest.start += mapping_size(&part);
            rest.node.start += mapping_size(&part);
        }
    }
}

static void add_part(const Mapping *part)
{
    insert_mapping(&mappings, part, part->node.start, part->node.last);
}

/* Does something in steps, of which each has the lock for itself. */
static void in_steps(const Mapping *part, void (*action)(RamConversionStep *,
                                                         hwaddr start))
{
    const uint64_t size = mapping_size(part);

    for (uint64_t at = 0; at < size; at += RAM_CONVERSION_STEP) {
        RamConversionStep step = {
            .rb = part->rb,
            .offset = part->node.start - part->rb->offset + at,
            .size = MIN(size - at, RAM_CONVERSION_STEP),
        };

        ram_block_attributes_lock();
        action(&step, part->start + at);
        ram_block_attributes_unlock();
    }
}

/* What takes its place is not private. */
static void clear_step(RamConversionStep *step, hwaddr start)
{
    kvm_set_memory_attributes_shared(start, step->size);
}

static void restore_step(RamConversionStep *step, hwaddr start)
{
    /* KVM may have failed to forget what was there before. */
    if (kvm_set_memory_attributes_shared(start, step->size)) {
        qatomic_inc(&step->rb->attributes->failures);
    }
    ram_conversion_step_restore(step);
}

static void clear_part(const Mapping *part)
{
    in_steps(part, clear_step);
}

static void restore_part(const Mapping *part)
{
    in_steps(part, restore_step);
}

static void note_change(IntervalTreeRoot *root, RAMBlock *rb, hwaddr start,
                        uint64_t offset, uint64_t size)
{
    const Mapping like = {
        .node.start = rb->offset + offset, .rb = rb, .start = start,
    };

    if (!ram_converts_in_place(rb)) {
        insert_mapping(root, &like, like.node.start,
                       like.node.start + size - 1);
    }
}

void kvm_memory_mapped(RAMBlock *rb, hwaddr start, uint64_t offset,
                       uint64_t size)
{
    note_change(&mapped, rb, start, offset, size);
}

void kvm_memory_unmapped(RAMBlock *rb, hwaddr start, uint64_t offset,
                         uint64_t size)
{
    note_change(&unmapped, rb, start, offset, size);
}

/*
 * Memory that is mapped again where it was, as all is beside a PC's PAM
 * registers when a guest changes them, keeps its states: that is up to all of
 * it.
 */
void kvm_memory_map_changed(void)
{
    ram_block_attributes_lock();
    for_difference(&unmapped, &mapped, cut_out);
    ram_block_attributes_unlock();
    for_difference(&unmapped, &mapped, clear_part);

    ram_block_attributes_lock();
    for_difference(&mapped, &unmapped, add_part);
    ram_block_attributes_unlock();
    for_difference(&mapped, &unmapped, restore_part);

    remove_all(&unmapped);
    remove_all(&mapped);
}

/* Of memory that a guest doesn't see, only the bitmap knows the states. */
static int set_attributes(ram_addr_t at, uint64_t size, bool private,
                          uint64_t *done)
{
    const uint64_t last = at + size - 1;
    IntervalTreeNode *node;

    for (node = interval_tree_iter_first(&mappings, at, last); node;
         node = interval_tree_iter_next(node, at, last)) {
        Mapping *mapping = container_of(node, Mapping, node);
        uint64_t begin = MAX(at, node->start);
        uint64_t part = MIN(last, node->last) - begin + 1;
        hwaddr start = mapping->start + (begin - node->start);
        int ret = private ? kvm_set_memory_attributes_private(start, part)
                          : kvm_set_memory_attributes_shared(start, part);

        if (ret) {
            *done = begin - at;
            return ret;
        }
    }
    *done = size;
    return 0;
}

int kvm_set_memory_state(RAMBlock *rb, uint64_t offset, uint64_t size,
                         bool private, uint64_t *done)
{
    if (ram_converts_in_place(rb)) {
        return kvm_guest_memfd_convert(rb->guest_memfd, offset, size, private,
                                       done);
    }
    return set_attributes(rb->offset + offset, size, private, done);
}

int kvm_convert_memory(hwaddr start, hwaddr size, bool to_private)
{
    int ret = ram_conversion_try(start, size, to_private);

    if (ret != -EAGAIN) {
        return ret;
    }
    return ram_conversion_run(ram_conversion_begin(start, size, to_private),
                              false);
}
