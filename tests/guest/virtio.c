/*
 * A guest whose network card the host's kernel serves
 *
 * It shares what the device is to reach, and then shows private memory to the
 * device, too.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "port.h"
#include "runtime.h"

#define ONE_QUEUE   (4 * PAGE)
#define QUEUES      (2 * ONE_QUEUE)     /* to receive, and to send */
#define QUEUE       (16 * MIB)
#define HEADER      (QUEUE + QUEUES)
#define DATA        (HEADER + PAGE)
#define SHARED_END  (DATA + PAGE)
#define HIDDEN      (32 * MIB)          /* is private */

#ifndef LOST
#define LOST        0                   /* whether conversion loses memory */
#endif

enum {
    VENDOR = 0x1af4, DEVICES = 32,
    COMMAND = 0x4, IO_AND_MASTER = 5, BAR0 = 0x10, PORT = 0xc000,
    /* the legacy interface's registers */
    QUEUE_PFN = PORT + 8, QUEUE_SIZE = PORT + 12, QUEUE_SELECT = PORT + 14,
    NOTIFY = PORT + 16, DEVICE_STATUS = PORT + 18,
    DRIVER = 3, DRIVER_OK = 7,
    NEXT = 1,
    HEADER_SIZE = 10, PACKET_SIZE = 512,
    RECEIVE = 0, SEND = 1,
};

struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
};

static uint16_t queue_size, done;
static uint64_t transfers;

static void find_device(void)
{
    for (unsigned int device = 1; device < DEVICES; device++) {
        if ((pci_read32(device, 0) & 0xffff) == VENDOR) {
            pci_write32(device, BAR0, PORT);
            pci_write8(device, COMMAND, IO_AND_MASTER);
            return;
        }
    }
    fail("no device");
}

static void clear(uint64_t gpa, uint64_t end)
{
    for (; gpa < end; gpa += sizeof(uint64_t)) {
        *word(gpa) = 0;
    }
}

static void set_queue(uint16_t number, uint64_t gpa)
{
    out16(QUEUE_SELECT, number);
    out32(QUEUE_PFN, gpa / PAGE);
}

/* Resets the device; its queue is to be at gpa. */
static void start(uint64_t gpa)
{
    out8(DEVICE_STATUS, 0);
    clear(gpa, gpa + QUEUES);
    done = 0;
    out8(DEVICE_STATUS, DRIVER);
    set_queue(RECEIVE, gpa + ONE_QUEUE);
    set_queue(SEND, gpa);
    queue_size = in16(QUEUE_SIZE);
    out8(DEVICE_STATUS, DRIVER_OK);
}

static void describe(unsigned int n, uint64_t gpa, uint32_t size,
                     uint16_t flags)
{
    ((struct descriptor *)QUEUE)[n] = (struct descriptor){
        gpa, size, flags, n + 1,
    };
}

static void kick(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    out16(NOTIFY, SEND);
}

/* Where the legacy interface has what is available. */
static uint16_t *available(void)
{
    return (uint16_t *)(QUEUE + queue_size * sizeof(struct descriptor));
}

/* And what is used: from the next page on. */
static uint16_t *used(void)
{
    uint64_t end = (uint64_t)(available() + 3 + queue_size);

    return (uint16_t *)((end + PAGE - 1) & -PAGE);
}

/* Has the device send what is at gpa. */
static void submit(uint64_t gpa)
{
    describe(0, HEADER, HEADER_SIZE, NEXT);
    describe(1, gpa, PACKET_SIZE, 0);
    /* flags, index, and a ring whose entries all stay 0: one chain at a time */
    available()[1]++;
    kick();
}

static void await(void)
{
    done++;
    while (__atomic_load_n(used() + 1, __ATOMIC_ACQUIRE) != done) {
        asm volatile("pause");
    }
    ask_host("done %x", ++transfers);
}

static void transfer(void)
{
    submit(DATA);
    await();
}

/* The device is told to send what is private: it waits until it can read it. */
static void hide_buffer(void)
{
    submit(HIDDEN);
    must_convert(HIDDEN, PAGE, false);
    await();
    must_convert(HIDDEN, PAGE, true);
}

/* The device is told that its queue is in private memory. */
static void hide_queue(void)
{
    start(HIDDEN);
    kick();
    kick();
    ask_host("served");
    out8(DEVICE_STATUS, 0);
    /* Where QEMU has looked, it sees zeros until the page is shared. */
    must_convert(HIDDEN, QUEUES, false);
    must_convert(HIDDEN, QUEUES, true);
}

/* The queue becomes private while the device uses it. */
static void take_queue(void)
{
    must_convert(QUEUE, QUEUES, true);
    kick();
    kick();
    must_convert(QUEUE, QUEUES, false);
    if (LOST) {
        start(QUEUE);
    }
}

int guest_main(void)
{
    must_convert(QUEUE, SHARED_END - QUEUE, false);
    find_device();
    start(QUEUE);
    transfer();
    transfer();
    hide_buffer();
    transfer();
    hide_queue();
    start(QUEUE);
    transfer();
    take_queue();
    transfer();
    out8(DEVICE_STATUS, 0);
    return 0;
}
