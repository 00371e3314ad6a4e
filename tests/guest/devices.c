/*
 * A guest that points devices at its private memory: they must see zeros there,
 * never what they or QEMU had before, and must leave it alone
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "edu.h"

/* Pages of the guest: two private ones with a shared one before each */
#define SHARED      (16 * MIB)
#define PRIVATE     (SHARED + PAGE)
#define RECEIVED    (SHARED + 2 * PAGE)
#define SECRET      (SHARED + 3 * PAGE)
#define RINGS       (SHARED + 4 * PAGE)
#define END         (SHARED + 5 * PAGE)

#define RTL8139     0x813910ecu
#define TULIP       0x00191011u

enum { SEED = 0x51, SHARED_SEED = 0x52, FRAME = 1024 };

static void fill(uint64_t gpa, uint64_t size, uint64_t seed)
{
    for (uint64_t at = 0; at < size; at += 8) {
        *word(gpa + at) = pattern(gpa + at, seed);
    }
}

static void clear(uint64_t gpa, uint64_t size, uint64_t value)
{
    for (uint64_t at = 0; at < size; at += 8) {
        *word(gpa + at) = value;
    }
}

static void must_have(const char *what, uint64_t gpa, uint64_t size,
                      uint64_t seed)
{
    for (uint64_t at = gpa; at < gpa + size; at += 8) {
        if (*word(at) != pattern(at, seed)) {
            fail("%s: %x at %x", what, *word(at), at);
        }
    }
}

static void must_be_zeros(const char *what, uint64_t gpa, uint64_t size)
{
    for (uint64_t at = gpa; at < gpa + size; at += 8) {
        if (*word(at)) {
            fail("%s got %x at %x", what, *word(at), at);
        }
    }
}

static void try_edu(void)
{
    uint64_t base = pci_enable(pci_find(EDU), 0);

    /* Its buffer has something that it must not take for what is private. */
    edu(base, SHARED, PAGE, false);
    edu(base, PRIVATE, PAGE, false);
    edu(base, RECEIVED, PAGE, true);
    must_be_zeros("a device that read private memory", RECEIVED, PAGE);

    /* The half that is shared is there. */
    edu(base, SHARED, PAGE, false);
    edu(base, PRIVATE - PAGE / 2, PAGE, false);
    edu(base, RECEIVED, PAGE, true);
    for (uint64_t at = 0; at < PAGE / 2; at += 8) {
        if (*word(RECEIVED + at) != *word(PRIVATE - PAGE / 2 + at)) {
            fail("shared memory beside private memory: %x at %x",
                 *word(RECEIVED + at), at);
        }
    }
    must_be_zeros("a device that read half private memory",
                  RECEIVED + PAGE / 2, PAGE / 2);

    edu(base, SHARED, PAGE, false);
    edu(base, PRIVATE, PAGE, true);
    edu(base, SECRET - 8, 16, true);
    must_have("private memory that a device wrote to", PRIVATE, PAGE, SEED);
    must_have("private memory, in part", SECRET, PAGE, SEED);
}

struct descriptor {
    volatile uint32_t command, vlan;    /* the device reads and writes it */
    volatile uint64_t gpa;              /* likewise */
};

enum {
    COMMAND = 0x37, RECEIVES = 8, SENDS = 4, TX_CONFIG = 0x40,
    LOOP_BACK = 3 << 17, RX_CONFIG = 0x44, ALL = 1, TX_POLL = 0xd9,
    NORMAL = 0x40, CPLUS = 0xe0, BOTH = 3, RX_RING = 0xe4, TX_RING = 0x20,
};

/* In its C+ mode, with what it sends looped back to it */
static void start_rtl8139(uint64_t base)
{
    *reg8(base, COMMAND) = RECEIVES | SENDS;
    *reg16(base, CPLUS) = BOTH;
    *reg32(base, TX_CONFIG) = LOOP_BACK;
    *reg32(base, RX_CONFIG) = ALL;
    *reg32(base, TX_RING) = RINGS;
    *reg32(base, TX_RING + 4) = 0;
    *reg32(base, RX_RING) = RINGS + sizeof(struct descriptor);
    *reg32(base, RX_RING + 4) = 0;
}

static void send_frame(uint64_t base, uint64_t gpa)
{
    const uint32_t own = 1u << 31, last = 1u << 30, whole = 3u << 28;
    struct descriptor *tx = (struct descriptor *)RINGS;
    struct descriptor *rx = tx + 1;

    clear(RECEIVED, PAGE, UINT64_MAX);
    *tx = (struct descriptor){ own | last | whole | FRAME, 0, gpa };
    *rx = (struct descriptor){ own | last | (FRAME + 64), 0, RECEIVED };
    *reg8(base, TX_POLL) = NORMAL;
    if (rx->command & own) {
        fail("the network card has received nothing: %x", rx->command);
    }
}

static void try_rtl8139(void)
{
    uint64_t base = pci_enable(pci_find(RTL8139), 1);

    start_rtl8139(base);
    /* The memory that this is in is QEMU's to use again. */
    send_frame(base, SHARED);
    if (*word(RECEIVED) != *word(SHARED)) {
        fail("the network card has received %x", *word(RECEIVED));
    }
    send_frame(base, PRIVATE);
    must_be_zeros("a network card that sent private memory", RECEIVED, FRAME);
}

/*
 * A network card that ignores errors, and whose second descriptor is private
 * but for its status: the rest must not be that of the first one.
 */
static void try_tulip(void)
{
    enum { RING = 0x20, MODE = 0x30, START = 1 << 13, CHAINED = 1 << 24,
           FIRST = 1 << 29 };
    const uint32_t own = 1u << 31, empty = INT32_MAX;
    uint64_t base = pci_enable(pci_find(TULIP), 1), second = PRIVATE - 4;

    *reg32(RINGS, 0) = *reg32(second, 0) = own;
    *reg32(RINGS, 4) = FIRST | CHAINED | FRAME;
    *reg32(RINGS, 8) = SHARED;
    *reg32(RINGS, 12) = second;
    *reg32(base, RING) = RINGS;
    *reg32(base, MODE) = START;
    if (*reg32(RINGS, 0) || *reg32(second, 0) != empty) {
        fail("a network card took a descriptor that is private for another: "
             "%x", (uint64_t)*reg32(second, 0));
    }
    must_have("private memory beside a descriptor", PRIVATE, PAGE, SEED);
}

struct request {
    volatile uint32_t control, size;    /* QEMU reads and writes it */
    volatile uint64_t gpa;              /* likewise */
};

enum { ERROR = 1, READ = 2, SELECT = 8, WRITE = 16 };

static uint32_t fw_cfg(uint64_t at, uint16_t key, uint32_t what, uint32_t size,
                       uint64_t gpa)
{
    struct request *request = (struct request *)at;

    request->size = __builtin_bswap32(size);
    request->gpa = __builtin_bswap64(gpa);
    request->control = __builtin_bswap32(key << 16 | SELECT | what);
    fw_cfg_dma(at);
    return __builtin_bswap32(request->control);
}

static void try_fw_cfg(void)
{
    if (fw_cfg(RINGS, 0, READ, 4, RECEIVED)) {
        fail("fw_cfg fails for shared memory");
    }
    if (!(fw_cfg(RINGS, 0, READ, 4, PRIVATE) & ERROR)) {
        fail("fw_cfg fails not for private memory");
    }
    must_have("private memory that fw_cfg wrote to", PRIVATE, PAGE, SEED);
    /* a request that it cannot see */
    fw_cfg(SECRET, 0, READ, 4, RECEIVED);
    fill(SECRET, PAGE, SEED);
}

struct file {
    uint32_t size;
    uint16_t key, reserved;
    char name[56];
};

static bool is_named(const struct file *file, const char *name)
{
    int i = 0;

    while (name[i] && file->name[i] == name[i]) {
        i++;
    }
    return file->name[i] == name[i];
}

static uint16_t find_file(const char *name)
{
    enum { DIRECTORY = 0x19, MOST = 63 };
    const struct file *files = (struct file *)(RECEIVED + 4);

    fw_cfg(RINGS, DIRECTORY, READ, PAGE, RECEIVED);
    for (int i = 0; i < MOST; i++) {
        if (is_named(&files[i], name)) {
            return __builtin_bswap16(files[i].key);
        }
    }
    fail("fw_cfg has no %s", name);
}

/* Surfaces of a page each, in memory that nobody can show. */
static void try_ramfb(void)
{
    enum { XRGB = 0x34325258, WIDTH = 16, HEIGHT = 64 };
    uint16_t key = find_file("etc/ramfb");

    for (uint64_t gpa = PRIVATE; gpa <= SECRET; gpa += SECRET - PRIVATE) {
        *word(RECEIVED) = __builtin_bswap64(gpa);
        *reg32(RECEIVED, 8) = __builtin_bswap32(XRGB);
        *reg32(RECEIVED, 12) = 0;
        *reg32(RECEIVED, 16) = __builtin_bswap32(WIDTH);
        *reg32(RECEIVED, 20) = __builtin_bswap32(HEIGHT);
        *reg32(RECEIVED, 24) = 0;
        if (fw_cfg(RINGS, key, WRITE, 28, RECEIVED)) {
            fail("fw_cfg refuses a surface");
        }
    }
}

/* A note of ELF, and where the host finds it for a dump. */
static void give_note(uint64_t gpa)
{
    enum { ELF = 1, NAME = 11, SIZE = 32 };
    const char *name = "VMCOREINFO";
    uint16_t key = find_file("etc/vmcoreinfo");

    *reg32(gpa, 0) = NAME;
    *reg32(gpa, 4) = SIZE - 12 - 12;
    *reg32(gpa, 8) = 0;
    for (int i = 0; i < NAME; i++) {
        *reg8(gpa, 12 + i) = name[i];
    }
    *word(gpa + 24) = SEED;
    *word(RECEIVED) = (uint64_t)SIZE << 32 | ELF << 16;
    *word(RECEIVED + 8) = gpa;
    if (fw_cfg(RINGS, key, WRITE, 16, RECEIVED)) {
        fail("fw_cfg refuses a note");
    }
}

static void try_dump(void)
{
    give_note(SHARED);
    ask_host("dump %x", 2ull);          /* memory, and the note of it */
    must_convert(SHARED, PAGE, true);
    ask_host("dump %x", 0ull);
    must_convert(SHARED, PAGE, false);
    fill(SHARED, PAGE, SHARED_SEED);
    give_note(PRIVATE);
    ask_host("dump %x", 0ull);
    fill(PRIVATE, PAGE, SEED);
}

/* With two backings what was private is lost, and nothing is in its place. */
static void what_devices_wrote_is_gone(void)
{
    must_convert(PRIVATE, PAGE, false);
    for (uint64_t at = PRIVATE; at < PRIVATE + PAGE; at += 8) {
        if (*word(at) && *word(at) != pattern(at, SEED)) {
            fail("a device left %x at %x", *word(at), at);
        }
    }
}

int guest_main(void)
{
    must_convert(SHARED, END - SHARED, false);
    must_convert(PRIVATE, PAGE, true);
    must_convert(SECRET, PAGE, true);
    fill(PRIVATE, PAGE, SEED);
    fill(SECRET, PAGE, SEED);
    fill(SHARED, PAGE, SHARED_SEED);
    try_edu();
    try_rtl8139();
    try_tulip();
    try_fw_cfg();
    try_ramfb();
    try_dump();
    what_devices_wrote_is_gone();
    compare_states(SHARED, END);
    return 0;
}
