/*
 * Firmware that starts a kernel which QEMU has laid into memory
 *
 * QEMU has done a firmware's work by the time the guest starts: the chipset is
 * set up, and the tables, the kernel and its parameters are in RAM.  What is
 * left is the way from the reset vector to the kernel.  It takes no device, and
 * writes nothing but page tables, so it works in memory that nobody but the
 * guest can reach.
 *
 * Layout of the parameters, and where they are: include/hw/i386/directboot.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define PARAMS          0x1000          /* DIRECTBOOT_PARAMS */
#define PARAMS_MAGIC    0x746f6f42      /* DIRECTBOOT_MAGIC */
#define LINUX64         1               /* DIRECTBOOT_LINUX64 */
#define PAGE_TABLES     0x2000          /* DIRECTBOOT_PAGE_TABLES */
#define STACK_END       0x9000          /* of DIRECTBOOT_STACK */

/* The boot protocol of Linux wants these two selectors. */
#define CODE64          0x10
#define DATA            0x18
#define CODE32          0x20

#define CR0_PE          0x1
#define CR0_NW_CD       0x60000000      /* no caches */
#define CR0_PG          0x80000000
#define CR4_PAE         0x20
#define EFER            0xc0000080
#define EFER_LME        0x100

#define PRESENT         0x3             /* and writable */
#define LARGE           0x80

        .section .text, "ax"
        .code32
start32:
        mov     $DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        xor     %eax, %eax
        mov     %eax, %fs
        mov     %eax, %gs
        /* A kernel is not owed a stack, but some take one for granted. */
        mov     $STACK_END, %esp
        cmpl    $PARAMS_MAGIC, PARAMS
        jne     halt
        cmpl    $LINUX64, PARAMS + 4
        je      linux64

/* An ELF kernel: 32 bits, no paging, EBX is the start info. */
        mov     PARAMS + 16, %ebx
        mov     PARAMS + 8, %ecx
        jmp     *%ecx

linux64:
        /* One page for each level, and four for 4 GiB in pages of 2 MiB */
        cld
        mov     $PAGE_TABLES, %edi
        xor     %eax, %eax
        mov     $(6 * 1024), %ecx
        rep stosl
        movl    $(PAGE_TABLES + 0x1000 + PRESENT), PAGE_TABLES
        mov     $4, %ecx
1:      mov     %ecx, %eax
        shl     $12, %eax
        add     $(PAGE_TABLES + 0x1000 + PRESENT), %eax
        mov     %eax, PAGE_TABLES + 0x1000 - 8(, %ecx, 8)
        loop    1b
        mov     $(4 * 512), %ecx
2:      lea     -1(%ecx), %eax
        shl     $21, %eax
        or      $(PRESENT + LARGE), %eax
        mov     %eax, PAGE_TABLES + 0x2000 - 8(, %ecx, 8)
        loop    2b

        mov     %cr4, %eax
        or      $CR4_PAE, %eax
        mov     %eax, %cr4
        mov     $PAGE_TABLES, %eax
        mov     %eax, %cr3
        mov     $EFER, %ecx
        rdmsr
        or      $EFER_LME, %eax
        wrmsr
        mov     %cr0, %eax
        or      $CR0_PG, %eax
        mov     %eax, %cr0
        ljmp    $CODE64, $start64

/* A bzImage: 64 bits, RSI is the boot_params. */
        .code64
start64:
        mov     PARAMS + 16, %rsi
        mov     PARAMS + 8, %rax
        jmp     *%rax

/* QEMU has said why it laid no kernel. */
        .code32
halt:
        cli
        hlt
        jmp     halt

/* In ROM, so the bits that say that a descriptor was used are set already. */
        .balign 8
gdt:
        .quad   0
        .quad   0
        .quad   0x00af9b000000ffff      /* CODE64 */
        .quad   0x00cf93000000ffff      /* DATA */
        .quad   0x00cf9b000000ffff      /* CODE32 */
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt

        .globl  gdt_pointer

        .section .text16, "ax"
        .code16
start16:
        cli
        lgdtl   %cs:offset_gdt_pointer
        mov     %cr0, %eax
        and     $~CR0_NW_CD, %eax
        or      $CR0_PE, %al
        mov     %eax, %cr0
        ljmpl   $CODE32, $start32

        .section .vector, "ax"
        .code16
        jmp     start16
        .balign 16, 0xf4
