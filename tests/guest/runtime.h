/*
 * What bare-metal guests have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GUEST_RUNTIME_H
#define TESTS_GUEST_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE    4096ull
#define KIB     1024ull
#define MIB     (1024 * KIB)

/* errno that hypercalls return, negative */
enum { EAGAIN = 11, ENOMEM = 12, EINVAL = 22 };

/* Where guests' own memory ends; what is behind it is theirs to convert. */
#define FREE_MEMORY (2 * MIB)

/**
 * guest_main() - what the guest does, on its first processor
 *
 * Return: 0 if all went well.
 */
int guest_main(void);

/**
 * print() - write to the serial console
 * @text: each %x in it stands for a uint64_t argument, each %s for a string
 */
void print(const char *text, ...);

/**
 * fail() - end the guest as one that failed, and say why
 * @text: as for print()
 */
void fail(const char *text, ...) __attribute__((noreturn));

/**
 * ask_host() - print a line, and wait until the host has answered it
 * @text: as for print()
 *
 * The host ends a guest that it doesn't agree with.
 *
 * Return: false if the host wants no more of what was asked.
 */
bool ask_host(const char *text, ...);

/**
 * compare_states() - compare what KVM and QEMU have as private and as shared
 * @gpa: page-aligned guest-physical address
 * @end: where the range ends, likewise
 *
 * The host marks all pages of the range that it reaches, in their second word,
 * so that a mark is only on those that are shared, in two backings, too.
 */
void compare_states(uint64_t gpa, uint64_t end);

/**
 * convert() - ask for memory to become private or shared
 * @gpa: guest-physical address
 * @size: in bytes
 * @private: what the memory is to be
 *
 * KVM_HC_MAP_GPA_RANGE, see Linux's Documentation/virt/kvm/x86/hypercalls.rst.
 *
 * Return: 0 or a negative errno.
 */
int64_t convert(uint64_t gpa, uint64_t size, bool private);

/**
 * must_return() - end the guest unless convert() returns something
 * @wanted: what it is to return
 */
void must_return(int64_t wanted, uint64_t gpa, uint64_t size, bool private);

/* The same, for 0. */
void must_convert(uint64_t gpa, uint64_t size, bool private);

/**
 * convert_pages() - convert(), by a number of pages that may be nonsense
 */
int64_t convert_pages(uint64_t gpa, uint64_t pages, bool private);

/* Whether what is in a page is still there when it was shared for a moment. */
bool find_whether_kept(uint64_t gpa);

/**
 * next_random() - take a number from a sequence
 * @state: where the sequence is; begins with a seed that is not 0
 */
uint64_t next_random(uint64_t *state);

/**
 * run_on_all() - run a function on all processors, and wait until it ended
 * @cpus: how many the guest has
 * @fn: gets the processor's number
 */
void run_on_all(unsigned int cpus, void (*fn)(unsigned int cpu));

/* The guest's number of processors, which QEMU has in its fw_cfg. */
unsigned int nr_cpus(void);

/* Reads what another processor writes. */
unsigned int read_once(unsigned int *value);

/* How often the machine was started or reset, this time included. */
unsigned int count_boots(void);

/* how a machine is reset; the last one asks the host first */
enum { BY_CHIPSET, BY_KEYBOARD, BY_TRIPLE_FAULT, BY_WATCHDOG, BY_PANIC };

/**
 * reset() - reset the machine
 * @how: by what
 */
void reset(unsigned int how) __attribute__((noreturn));

/* Sleeps, so that a wake-up starts the guest again (S3); on machine q35 */
void suspend(void) __attribute__((noreturn));

/* Registers of PCI devices on the first bus; function 0. */
uint32_t pci_read32(unsigned int device, unsigned int reg);
void pci_write32(unsigned int device, unsigned int reg, uint32_t value);
void pci_write8(unsigned int device, unsigned int reg, uint8_t value);

/**
 * pci_find() - find a device on the first bus
 * @id: its vendor and device, as its first register has them
 *
 * Ends the guest if there is none.
 */
unsigned int pci_find(uint32_t id);

/**
 * pci_enable() - give a device an address, and access to memory
 * @device: its number
 * @bar: number of its BAR of memory
 *
 * Return: where the BAR is; each device has 1 MiB from there.
 */
uint64_t pci_enable(unsigned int device, unsigned int bar);

/* Tells QEMU's fw_cfg where a request is, see QEMU's docs/specs/fw_cfg.rst. */
void fw_cfg_dma(uint64_t gpa);

/* Lets go of memory in the first slot, if the host has asked to. */
void eject_memory(void);

/* A word in each page that tells where it is and who wrote it. */
static inline uint64_t pattern(uint64_t gpa, uint64_t seed)
{
    return (gpa + 1) * (seed | 1) ^ 0x9e3779b97f4a7c15;
}

/* volatile, as the memory behind an address changes at a conversion */
static inline volatile uint64_t *word(uint64_t gpa)
{
    return (volatile uint64_t *)gpa; /* likewise */
}

/* Registers of devices, and what else devices read and write */
static inline volatile uint8_t *reg8(uint64_t base, unsigned int at)
{
    return (volatile uint8_t *)(base + at); /* see above */
}

/* likewise */
static inline volatile uint16_t *reg16(uint64_t base, unsigned int at)
{
    return (volatile uint16_t *)(base + at); /* likewise */
}

/* likewise */
static inline volatile uint32_t *reg32(uint64_t base, unsigned int at)
{
    return (volatile uint32_t *)(base + at); /* likewise */
}

static inline void write_pages(uint64_t gpa, uint64_t end, uint64_t seed)
{
    for (; gpa < end; gpa += PAGE) {
        *word(gpa) = pattern(gpa, seed);
    }
}

/* in start.S: what other processors start with */
extern const char trampoline[], trampoline_end[];

/* Ends the guest unless all pages have what write_pages() wrote. */
void check_pages(uint64_t gpa, uint64_t end, uint64_t seed);

#endif
