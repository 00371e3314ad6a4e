/*
 * Code for nested guests: each piece runs wherever it is copied to, in 32 bits
 * without paging, and says by an OUT that it is done
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "emulator-guest.h"

#define LABEL(name) ".globl emu_" name "\nemu_" name ":\n"

asm(".pushsection .rodata\n"
    ".code32\n"
    LABEL("start")
    /* Move code to where it shall run. */
    LABEL("move")
    "    rep movsb\n"
    "    jmp *%edx\n"
    LABEL("cpuid")
    "    mov $1234, %ebx\n"
    "    xor %eax, %eax\n"
    "    cpuid\n"
    "    out %al, $0x10\n"
    LABEL("msr")
    "    mov $0x1b, %ecx\n"
    "    rdmsr\n"
    "    wrmsr\n"
    "    out %al, $0x10\n"
    LABEL("vmmcall")
    "    mov $0x7fff, %eax\n"
    "    vmmcall\n"
    "    out %al, $0x10\n"
    LABEL("mmio")
    "    movl $0x11223344, 0x1000(%ebx)\n"
    "    out %al, $0x10\n"
    /* The hypervisor intercepts writes to CR0 that change what matters. */
    LABEL("cr")
    "    mov %cr0, %edi\n"
    "    or $0x40000000, %edi\n"
    "    mov %edi, %cr0\n"
    "    mov %cr4, %esi\n"
    "    or $0x80, %esi\n"
    "    mov %esi, %cr4\n"
    "    out %al, $0x10\n"
    LABEL("dr")
    "    mov %ebx, %dr1\n"
    "    mov %dr1, %edi\n"
    "    out %al, $0x10\n"
    /* Software interrupts, whose handler says where they return to. */
    LABEL("int")
    "    int $0x40\n"
    LABEL("int_end")
    "    out %al, $0x11\n"
    LABEL("int3")
    "    int3\n"
    LABEL("int3_end")
    "    out %al, $0x11\n"
    /*
     * Writes to CR8 while an interrupt waits: for STI, for the priority to
     * become lower, and not at all.
     */
    LABEL("cr8")
    "    movl $0x1ff, 0xfee000f0\n"        /* the APIC's software enable */
    "    movl $0x40040, 0xfee00300\n"      /* to itself, vector 0x40 */
    "    xor %eax, %eax\n"
    "    mov %eax, %cr8\n"
    "    mov $5, %eax\n"
    "    mov %eax, %cr8\n"
    "    sti\n"
    "    nop\n"
    "    xor %eax, %eax\n"
    "    mov %eax, %cr8\n"
    LABEL("cr8_end")
    "    out %al, $0x11\n"
    /* ECX times an interrupt, and a write of which KVM tells somebody. */
    LABEL("notify")
    "    int $0x41\n"
    "    mov %eax, (%ebx)\n"
    "    loop emu_notify\n"
    "    out %al, $0x10\n"
    LABEL("return")
    "    iret\n"
    /* ECX times an interrupt to itself; those that it takes count in EBX. */
    LABEL("injected")
    "    movl $0x1ff, 0xfee000f0\n"
    "    sti\n"
    "1:  movl $0x40042, 0xfee00300\n"
    "    loop 1b\n"
    "    xor %eax, %eax\n"
    "    out %al, $0x10\n"
    /* It is not taken with interrupts off, be it while it is handled. */
    LABEL("once")
    "    mov 8(%esp), %eax\n"
    "    test $0x200, %eax\n"
    "    jz 2f\n"
    "    inc %ebx\n"
    "    push %ecx\n"
    "    mov $1000, %ecx\n"
    "1:  loop 1b\n"
    "    pop %ecx\n"
    "    movl $0, 0xfee000b0\n"
    "    iret\n"
    "2:  out %al, $0x10\n"
    LABEL("handler")
    "    mov (%esp), %eax\n"
    "    out %al, $0x10\n"
    LABEL("end")
    ".code64\n"
    ".popsection\n");
