/*
 * Memory of huge pages, and what of it is observed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HUGE_H
#define HUGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "memory.h"
#include "tap.h"

#define ORDER_2M        9
#define ORDER_1G        18
#define PAGES_2M        (1ul << ORDER_2M)
/* How many pages a conversion works off at a time. */
#define STEP_PAGES      (1ul << 14)

extern unsigned int order;
extern size_t hpages;           /* pages in a huge page */
extern size_t hsize;            /* bytes in a huge page */

/* The pages of a huge page that stand for all of them. */
extern size_t samples[16];
extern unsigned int nr_samples;

/* How many guest mappings there are, by size: of 4 KiB, 2 MiB and 1 GiB. */
struct mappings {
    long nr[3];
};

/**
 * choose_pages: choose the huge pages of all that follows, and their samples
 * @o: ORDER_2M or ORDER_1G
 */
void choose_pages(unsigned int o);

/**
 * huge_create: create a file of huge pages, its mapping and a memslot for it
 * @mem: set to what is created, for mem_destroy()
 * @vm: the VM that gets the memslot
 * @nr: number of huge pages
 * @flags: FLAG_INIT_SHARED or 0
 */
void huge_create(struct mem *mem, struct vm *vm, size_t nr, uint64_t flags);

/**
 * blocks: how much of a file is allocated
 * @fd: the file
 *
 * Return: the number of blocks of 512 bytes, or -1.
 */
long blocks(int fd);

/**
 * guest_fill: have the guest write a value to the start of each page of a range
 * @mem: the memory
 * @first: the first page
 * @npages: number of pages, of 4 KiB
 * @value: what is written
 */
void guest_fill(struct mem *mem, size_t first, size_t npages, uint32_t value);

/**
 * guest_sees: have the guest read the start of each page of a range
 * @mem: the memory
 * @first: the first page
 * @npages: number of pages, of 4 KiB
 * @value: what is expected
 *
 * Return: whether each page starts with @value, for the guest.
 */
bool guest_sees(struct mem *mem, size_t first, size_t npages, uint32_t value);

/**
 * count_mappings: count the guest mappings of a VM
 * @vm: the VM
 * @m: set to their numbers, with those of guest code
 */
void count_mappings(struct vm *vm, struct mappings *m);

/**
 * count_code: count the mappings of guest code
 * @vm: the VM
 * @code: set to their numbers, for the macros below
 *
 * To be called before the guest has seen its data.
 */
void count_code(struct vm *vm, struct mappings *code);

/* Check how many there are of each size, without those of guest code. */
#define check_mappings(vm, code, n4k, n2m, n1g) ({                      \
    struct mappings now_;                                               \
                                                                        \
    count_mappings(vm, &now_);                                          \
    check(now_.nr[0] - (code)->nr[0] == (n4k) &&                        \
          now_.nr[1] - (code)->nr[1] == (n2m) &&                        \
          now_.nr[2] - (code)->nr[2] == (n1g),                          \
          "%ld of 4k, %ld of 2m, %ld of 1g",                            \
          now_.nr[0] - (code)->nr[0], now_.nr[1] - (code)->nr[1],       \
          now_.nr[2] - (code)->nr[2]);                                  \
})

/* Mappings of @whole huge pages and of @split, all but a page of which are. */
#define check_huge_mappings(vm, code, whole, split)                     \
    check_mappings(vm, code, (split) * 512l,                            \
                   order == ORDER_2M ? (whole) : (split) * 511l,        \
                   order == ORDER_2M ? 0l : (whole))

#endif
