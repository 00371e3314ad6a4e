/*
 * A driver for modern virtio devices with one queue, see the Virtual I/O Device
 * specification, 4.1
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GUEST_VIRTIO_MODERN_H
#define TESTS_GUEST_VIRTIO_MODERN_H

#include "runtime.h"

/* two pages, which the guest shares */
#define RING        (16 * MIB)
#define REQUESTS    (RING + PAGE)
#define AVAILABLE   (RING + 1024)
#define USED        (RING + 2048)

enum {
    QUEUE_SIZE = 8, VIRTIO_BAR = 4,     /* where QEMU has all of it */
    CAPABILITIES = 0x34, VENDOR = 9, COMMON = 1, NOTIFY = 2,
    /* the structure "common", 4.1.4.3 */
    FEATURES_SELECT = 8, FEATURES = 12, STATUS = 20, QUEUE_SIZE_AT = 24,
    QUEUE_ENABLE = 28, QUEUE_DESC = 32, QUEUE_DRIVER = 40, QUEUE_DEVICE = 48,
    ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8,
    VERSION_1 = 1, ACCESS_PLATFORM = 2,
    NEXT = 1, WRITES = 2,
};

struct descriptor {
    volatile uint64_t gpa;              /* the device reads it */
    volatile uint32_t size;             /* likewise */
    volatile uint16_t flags, next;      /* likewise */
};

static uint64_t common, notify;
static uint16_t submitted;

static void put64(unsigned int at, uint64_t value)
{
    *reg32(common, at) = value;
    *reg32(common, at + 4) = value >> 32;
}

static void find_structures(unsigned int device, uint64_t base)
{
    uint32_t at = pci_read32(device, CAPABILITIES) & 0xff;

    while (at) {
        uint32_t head = pci_read32(device, at);

        if ((head & 0xff) == VENDOR && head >> 24 == COMMON) {
            common = base + pci_read32(device, at + 8);
        } else if ((head & 0xff) == VENDOR && head >> 24 == NOTIFY) {
            notify = base + pci_read32(device, at + 8);
        }
        at = head >> 8 & 0xff;
    }
}

static void start_device(uint32_t features)
{
    *reg8(common, STATUS) = 0;
    *reg8(common, STATUS) = ACKNOWLEDGE | DRIVER;
    *reg32(common, FEATURES_SELECT) = 1;
    *reg32(common, FEATURES) = features;
    *reg8(common, STATUS) = ACKNOWLEDGE | DRIVER | FEATURES_OK;
    *reg16(common, QUEUE_SIZE_AT) = QUEUE_SIZE;
    put64(QUEUE_DESC, RING);
    put64(QUEUE_DRIVER, AVAILABLE);
    put64(QUEUE_DEVICE, USED);
    *reg16(common, QUEUE_ENABLE) = 1;
    *reg8(common, STATUS) = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
    submitted = 0;
    for (uint64_t at = RING; at < REQUESTS + PAGE; at += 8) {
        *word(at) = 0;
    }
}

/* Makes the chain that begins with this descriptor available. */
static void make_available(uint16_t first)
{
    *reg16(AVAILABLE, 4 + 2 * (submitted % QUEUE_SIZE)) = first;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    *reg16(AVAILABLE, 2) = ++submitted;
}

static void tell_device(void)
{
    *reg16(notify, 0) = 0;
}

static void await_device(void)
{
    tell_device();
    while (*reg16(USED, 2) != submitted) {
        asm volatile("pause");
    }
}

#endif
