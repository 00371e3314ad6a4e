/*
 * Small kernels of several kinds, which look at how they are started
 *
 * PADDING, MULTIBOOT, NO_ENTRY or LOW make an ELF kernel another one; LINUX is
 * a bzImage, as objcopy makes it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define PHYS32_ENTRY    18              /* XEN_ELFNOTE_PHYS32_ENTRY */
#define DEBUG_EXIT      0xf4
#define GOOD            21
#define BAD             22
#define CR0_NW_CD       0x60000000
#define IN_LOW_MEMORY   0x10377301

#ifdef LINUX
        .section .setup, "a"
        .org    0x1f1
        .byte   0                       /* setup_sects: 4 */
        .word   0
        .long   (image_end - image + 15) / 16
        .org    0x200
        .byte   0xeb, 0x66
        .ascii  "HdrS"
        .word   0x20c
        .org    0x211
        .byte   1                       /* LOADED_HIGH */
        .org    0x22c
        .long   0x7fffffff              /* initrd_addr_max */
        .org    0x230
        .long   0x1000                  /* kernel_alignment */
        .org    0x236
        .word   1                       /* XLF_KERNEL_64 */
        .long   255                     /* cmdline_size */
        .org    0x258
        .quad   0x100000                /* pref_address */
        .long   0x1000                  /* init_size */
        .org    5 * 512

        .text
        .code64
image:  hlt
        .org    0x200
        mov     %cr0, %rax
        test    $CR0_NW_CD, %eax
        jnz     bad
        push    %rax
        pop     %rbx
#else
        .section .note.first, "a", @note
        .balign PADDING
        .long   4, 20, 3
        .asciz  "GNU"
        .skip   20
        .balign PADDING
        /* of the same type, but not of Xen's */
        .long   4, 4, PHYS32_ENTRY
        .asciz  "Nix"
        .long   bad
        .balign PADDING

#ifndef NO_ENTRY
        .section .note.pvh, "a", @note
        .balign PADDING
        .long   4, 2f - 1f, PHYS32_ENTRY
        .asciz  "Xen"
#ifdef __x86_64__
1:      .quad   start
2:
#else
1:      .long   start
2:
#endif
#endif

#ifdef LOW
        .section .low, "a"
low_word:
        .long   IN_LOW_MEMORY
#endif

        .text
#ifdef MULTIBOOT
        .balign 4
        .long   0x1badb002, 0, -0x1badb002
#endif
        .globl  start
        .code32
start:
        mov     %cr0, %eax
        cmp     $0x11, %eax
        jne     bad
#ifdef LOW
        cmpl    $IN_LOW_MEMORY, low_word
        jne     bad
#endif
        push    %eax
        pop     %ebx
#endif
        cmp     %eax, %ebx
        jne     bad
        mov     $GOOD, %al
        out     %al, $DEBUG_EXIT
        hlt
bad:    mov     $BAD, %al
        out     %al, $DEBUG_EXIT
        hlt
        /* Nobody misses the end of the image, whose length is odd. */
        .skip   17
image_end:
