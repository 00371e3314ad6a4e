/*
 * Start of an ELF kernel with an entry point for PVH
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define PHYS32_ENTRY    18              /* XEN_ELFNOTE_PHYS32_ENTRY */

        .section .note.pvh, "a", @note
        .long   4, 4, PHYS32_ENTRY
        .asciz  "Xen"
        .long   start

        .text
        .globl  start
        .code32
start:
        mov     $stack_end, %esp
        push    %ebx
        call    pvh_main

        .bss
        .balign 16
        .skip   0x1000
stack_end:
