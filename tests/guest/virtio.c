/*
 * A guest with a virtio device that another process or the host's kernel
 * serves: a disk, or with NET a network card
 *
 * It shares what the device is to reach, and then shows private memory to the
 * device, too.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#ifndef NET
#define NET 0
#endif

#define ONE_QUEUE   (4 * PAGE)
#define QUEUES      (2 * ONE_QUEUE)     /* one receives for a network card */
#define QUEUE       (16 * MIB)
#define HEADER      (QUEUE + QUEUES)
#define STATUS      (HEADER + 64)
#define DATA        (HEADER + PAGE)
#define SHARED_END  (DATA + PAGE)
#define HIDDEN      (32 * MIB)          /* is private */

enum {
    SEED = 0x33, HIDDEN_SEED = 0x44,
    VENDOR = 0x1af4, DEVICES = 32,
    COMMAND = 0x4, IO_AND_MASTER = 5, BAR0 = 0x10, PORT = 0xc000,
    /* the legacy interface's registers */
    QUEUE_PFN = PORT + 8, QUEUE_SIZE = PORT + 12, QUEUE_SELECT = PORT + 14,
    NOTIFY = PORT + 16, DEVICE_STATUS = PORT + 18,
    DRIVER = 3, DRIVER_OK = 7,
    NEXT = 1, DEVICE_WRITES = 2,
    SECTOR = 512, NET_HEADER = 10,
};

struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
};

struct disk_header {
    uint32_t type, reserved;
    uint64_t sector;
};

static uint16_t queue_size, done;
static uint64_t transfers;

static void out8(uint16_t port, uint8_t value)
{
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static void out16(uint16_t port, uint16_t value)
{
    asm volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static void out32(uint16_t port, uint32_t value)
{
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static uint16_t in16(uint16_t port)
{
    uint16_t value;

    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static void make(uint64_t gpa, uint64_t end, bool private)
{
    if (convert(gpa, end - gpa, private)) {
        fail("conversion of %x to %x", gpa, end);
    }
}

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
    if (NET) {
        set_queue(0, gpa + ONE_QUEUE);
    }
    set_queue(NET, gpa);
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
    out16(NOTIFY, NET);
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

/* Has the device send what is at gpa, or read a sector to there. */
static void submit(uint64_t sector, uint64_t gpa)
{
    if (NET) {
        describe(0, HEADER, NET_HEADER, NEXT);
        describe(1, gpa, SECTOR, 0);
    } else {
        ((struct disk_header *)HEADER)->sector = sector;
        describe(0, HEADER, sizeof(struct disk_header), NEXT);
        describe(1, gpa, SECTOR, NEXT | DEVICE_WRITES);
        describe(2, STATUS, 1, DEVICE_WRITES);
    }
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

static void transfer(uint64_t sector)
{
    *word(DATA) = 0;
    *word(STATUS) = 1;
    submit(sector, DATA);
    await();
    if (!NET && (*word(STATUS) || *word(DATA) != pattern(sector, SEED))) {
        fail("sector %x: status %x, data %x", sector, *word(STATUS),
             *word(DATA));
    }
}

/* The device is told to use a buffer that is private. */
static void hide_buffer(void)
{
    write_pages(HIDDEN, HIDDEN + PAGE, HIDDEN_SEED);
    submit(0, HIDDEN);
    if (NET) {
        /* It waits until it can read that. */
        make(HIDDEN, HIDDEN + PAGE, false);
        await();
        make(HIDDEN, HIDDEN + PAGE, true);
        return;
    }
    await();
    check_pages(HIDDEN, HIDDEN + PAGE, HIDDEN_SEED);
}

/* The device is told that its queue is in private memory. */
static void hide_queue(void)
{
    start(HIDDEN);
    kick();
    kick();
}

/* The queue becomes private while the device uses it. */
static void take_queue(void)
{
    make(QUEUE, QUEUE + QUEUES, true);
    kick();
    kick();
    make(QUEUE, QUEUE + QUEUES, false);
}

int guest_main(void)
{
    make(QUEUE, SHARED_END, false);
    find_device();
    start(QUEUE);
    transfer(0);
    transfer(1);
    hide_buffer();
    transfer(2);
    hide_queue();
    start(QUEUE);
    transfer(3);
    if (NET) {
        take_queue();
        transfer(4);
    }
    out8(DEVICE_STATUS, 0);
    return 0;
}
