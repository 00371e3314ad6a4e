/*
 * Preloaded into QEMU, this ends it if KVM is to write a dirty log to less
 * memory than it takes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include "kvm-abi.h"
#include "next-ioctl.h"

#define PAGE    4096

enum { MAX_SLOTS = 1024 };

/* of memslots in each address space: the upper half of their number */
static uint64_t sizes[2][MAX_SLOTS];

static uint64_t *size_of(uint32_t slot)
{
    return &sizes[slot >> 16 & 1][slot % MAX_SLOTS];
}

static void check_log(const struct kvm_dirty_log *log)
{
    size_t room = malloc_usable_size(log->dirty_bitmap);

    if (room * 8 * PAGE < *size_of(log->slot)) {
        fprintf(stderr, "the dirty log of memslot %u has %zu bytes\n",
                log->slot, room);
        abort();
    }
}

static int own_ioctl(int fd, unsigned long request, void *arg)
{
    const struct region2 *region = arg;
    int ret;

    if (request == KVM_GET_DIRTY_LOG) {
        check_log(arg);
    }
    ret = next_ioctl(fd, request, arg);
    if (!ret && request == SET_USER_MEMORY_REGION2) {
        *size_of(region->slot) = region->memory_size;
    }
    return ret;
}
