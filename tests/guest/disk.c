/*
 * A guest that gives a virtio disk private memory: for its rings, for what it
 * reads and writes, and while it does so; with OTHERS=1, another process serves
 * the disk, and sees what was shared before
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "virtio-modern.h"

#define BUFFER      (RING + 2 * PAGE)   /* shared */
#define PRIVATE     (RING + 3 * PAGE)
#define STRADDLING  (PRIVATE - SECTOR)
#define END         (RING + 4 * PAGE)

#define BLOCK       0x10421af4u
#define SECTOR      512

#ifndef OTHERS
#define OTHERS      0
#endif

enum { SEED = 0x61, IN = 0, OUT = 1 };

static const uint32_t features = VERSION_1 | (OTHERS ? 0 : ACCESS_PLATFORM);

struct request {
    volatile uint32_t type, reserved;   /* the device reads it */
    volatile uint64_t sector;           /* likewise */
    volatile uint64_t status;           /* the device writes it */
};

/* Has room for two at a time. */
static struct request *submit(bool out, uint64_t sector, uint64_t gpa,
                              uint32_t size)
{
    unsigned int slot = submitted % 2;
    struct request *request = (struct request *)REQUESTS + slot;
    struct descriptor *first = (struct descriptor *)RING + 3 * slot;

    *request = (struct request){ out ? OUT : IN, 0, sector, UINT64_MAX };
    first[0] = (struct descriptor){ (uint64_t)request, 16, NEXT, 3 * slot + 1 };
    first[1] = (struct descriptor){ gpa, size, NEXT | (out ? 0 : WRITES),
                                    3 * slot + 2 };
    first[2] = (struct descriptor){ (uint64_t)&request->status, 1, WRITES, 0 };
    make_available(3 * slot);
    return request;
}

static uint8_t await(struct request *request)
{
    await_device();
    return request->status;
}

static void transfer(bool out, uint64_t gpa, uint32_t size)
{
    uint8_t status = await(submit(out, 0, gpa, size));

    if (status) {
        fail("%x bytes at %x: status %x", (uint64_t)size, gpa,
             (uint64_t)status);
    }
}

static void fill(uint64_t gpa, uint64_t seed)
{
    for (uint64_t at = gpa; at < gpa + PAGE; at += 8) {
        *word(at) = pattern(at, seed);
    }
}

/* Memory has what was filled into it at an address. */
static void must_have(const char *what, uint64_t gpa, uint64_t from,
                      uint64_t seed, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += 8) {
        if (*word(gpa + at) != pattern(from + at, seed)) {
            fail("%s: %x at %x", what, *word(gpa + at), gpa + at);
        }
    }
}

static void must_be_zero(const char *what, uint64_t gpa, uint64_t size)
{
    for (uint64_t at = gpa; at < gpa + size; at += 8) {
        if (*word(at)) {
            fail("%s: %x at %x", what, *word(at), at);
        }
    }
}

/* The device sees no request, and all of them when they are shared. */
static void try_private_ring(void)
{
    must_convert(RING, PAGE, true);
    tell_device();
    must_convert(RING, PAGE, false);
    start_device(features);
    fill(BUFFER, SEED);
    transfer(true, BUFFER, PAGE);
    fill(BUFFER, SEED + 2);
    transfer(false, BUFFER, PAGE);
    must_have("what was written to the disk", BUFFER, BUFFER, SEED, PAGE);
}

static void try_private_buffer(uint64_t size)
{
    fill(PRIVATE, SEED + 4);
    transfer(false, PRIVATE, size);
    must_have("private memory that the disk was read to", PRIVATE, PRIVATE,
              SEED + 4, PAGE);
    if (OTHERS) {
        return;
    }

    transfer(true, PRIVATE, size);
    transfer(false, BUFFER, size);
    must_be_zero("what the disk got", BUFFER, size);
}

/* Only the first half of it is shared. */
static void try_straddling_buffer(void)
{
    fill(BUFFER, SEED);
    transfer(true, BUFFER, 2 * SECTOR);
    fill(BUFFER, SEED + 2);
    transfer(false, STRADDLING, 2 * SECTOR);
    must_have("the shared part of a buffer", STRADDLING, BUFFER, SEED, SECTOR);
    must_have("the private part of a buffer", PRIVATE, PRIVATE, SEED + 4,
              PAGE);
    if (OTHERS) {
        return;
    }

    fill(BUFFER, SEED + 2);
    transfer(true, STRADDLING, 2 * SECTOR);
    transfer(false, BUFFER, 2 * SECTOR);
    must_have("what the disk got of a shared part", BUFFER, STRADDLING,
              SEED + 2, SECTOR);
    must_be_zero("what it got of a private one", BUFFER + SECTOR, SECTOR);
}

static void tell_host(const char *what)
{
    if (!OTHERS) {
        ask_host(what);
    }
}

/* The host holds the second request up while it loses its memory. */
static void lose_buffer(bool out)
{
    struct request *second;

    tell_host("hold");
    submit(out, 0, BUFFER, SECTOR);
    tell_device();
    /* apart from it, as QEMU makes one request of neighbours */
    second = submit(out, 16, PRIVATE, SECTOR);
    tell_device();
    if (!OTHERS) {
        ask_host("taken %x", (uint64_t)submitted);
    }
    must_convert(PRIVATE, PAGE, true);
    fill(PRIVATE, SEED + 6);
    tell_host("release");
    tell_host(await(second) ? "failed" : "done");
    must_have("memory that became private while the disk used it", PRIVATE,
              PRIVATE, SEED + 6, PAGE);
    must_convert(PRIVATE, PAGE, false);
}

int guest_main(void)
{
    unsigned int device = pci_find(BLOCK);

    must_convert(RING, END - RING, false);
    find_structures(device, pci_enable(device, VIRTIO_BAR));
    start_device(features);
    try_private_ring();
    must_convert(PRIVATE, PAGE, true);
    try_private_buffer(SECTOR);
    try_private_buffer(PAGE);
    try_straddling_buffer();
    must_convert(PRIVATE, PAGE, false);
    lose_buffer(false);
    lose_buffer(true);
    /* It still works. */
    transfer(false, BUFFER, PAGE);
    compare_states(RING, END);
    return 0;
}
