/*
 * A driver for virtio-balloon that gives the host what it is told to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GUEST_BALLOON_H
#define TESTS_GUEST_BALLOON_H

#include "virtio-modern.h"

#define BALLOON     0x10451af4u

static void start_balloon(void)
{
    unsigned int device = pci_find(BALLOON);

    must_convert(RING, 2 * PAGE, false);
    find_structures(device, pci_enable(device, VIRTIO_BAR));
    start_device(VERSION_1 | ACCESS_PLATFORM);
}

/* Gives up to 1,024 pages to the host, and waits until it has taken them. */
static void give(uint64_t gpa, uint32_t pages)
{
    struct descriptor *first = (struct descriptor *)RING;

    for (uint32_t i = 0; i < pages; i++) {
        *reg32(REQUESTS, 4 * i) = gpa / PAGE + i;
    }
    *first = (struct descriptor){ REQUESTS, 4 * pages, 0, 0 };
    make_available(0);
    await_device();
}

#endif
