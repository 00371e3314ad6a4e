/*
 * Start of a bare-metal guest: from the reset vector to guest_main()
 *
 * The image is firmware of 64 KiB that ends at 4 GiB.  It copies itself to RAM
 * and runs there, so that its code is in private memory if RAM is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define ROM             0xffff0000
#define ROM_SIZE        0x10000
#define TRAMPOLINE      0x8000
#define STACKS          0x180000        /* of 16 KiB each, downwards */
#define PAGE_TABLES     0x120000

#define CODE32          0x08
#define DATA            0x10
#define CODE64          0x18

#define CR0_PE          0x1
#define CR0_PG          0x80000000
#define CR4_PAE         0x20
#define EFER            0xc0000080
#define EFER_LME        0x100

        .section .text.start, "ax"
        .code32
start:
        call    make_page_tables
        xor     %ebp, %ebp              /* this processor's number */
        jmp     enter_long_mode

/* Identity for 8 GiB, in pages of 2 MiB. */
make_page_tables:
        cld
        mov     $PAGE_TABLES, %edi
        xor     %eax, %eax
        mov     $(10 * 1024), %ecx
        rep stosl
        movl    $(PAGE_TABLES + 0x1003), PAGE_TABLES
        mov     $8, %ecx
1:      mov     %ecx, %eax
        shl     $12, %eax
        add     $(PAGE_TABLES + 0x1003), %eax
        mov     %eax, PAGE_TABLES + 0x1000 - 8(, %ecx, 8)
        loop    1b
        xor     %ecx, %ecx
2:      mov     %ecx, %eax
        shl     $21, %eax
        or      $0x83, %eax
        mov     %eax, PAGE_TABLES + 0x2000(, %ecx, 8)
        mov     %ecx, %eax
        shr     $11, %eax
        mov     %eax, PAGE_TABLES + 0x2004(, %ecx, 8)
        inc     %ecx
        cmp     $(8 * 512), %ecx
        jne     2b
        ret

start_other:
        mov     $1, %ebp
        lock xadd %ebp, next_cpu
enter_long_mode:
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

        .code64
start64:
        mov     %ebp, %edi
        shl     $14, %ebp
        lea     STACKS(%rbp), %rsp
        call    runtime_main
1:      hlt
        jmp     1b

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff
        .quad   0x00cf93000000ffff
        .quad   0x00af9b000000ffff
gdt_end:
next_cpu:
        .long   1

/* What other processors start with, once it is at TRAMPOLINE. */
        .globl  trampoline, trampoline_end
        .code16
trampoline:
        cli
        lgdtl   %cs:(trampoline_gdt - trampoline)
        mov     %cr0, %eax
        or      $CR0_PE, %al
        mov     %eax, %cr0
        ljmpl   $CODE32, $(TRAMPOLINE + trampoline32 - trampoline)
        .code32
trampoline32:
        mov     $DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $start_other, %eax
        jmp     *%eax
trampoline_gdt:
        .word   gdt_end - gdt - 1
        .long   gdt
trampoline_end:

/*
 * Runs in the ROM.  The linker script says where labels are there: offset_* is
 * within the ROM, rom_* an address.
 */
        .globl  copy, gdt, gdt_pointer, ram_gdt_pointer
        .section .reset, "ax"
        .code16
reset:
        cli
        lgdtl   %cs:offset_gdt_pointer
        mov     %cr0, %eax
        or      $CR0_PE, %al
        mov     %eax, %cr0
        ljmpl   $CODE32, $rom_copy
        .code32
copy:
        mov     $DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        cld
        mov     $ROM, %esi
        mov     $image, %edi
        mov     $(ROM_SIZE / 4), %ecx
        rep movsl
        lgdtl   rom_ram_gdt_pointer
        mov     $start, %eax
        jmp     *%eax
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   rom_gdt
ram_gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt

        .section .vector, "ax"
        .code16
        jmp     reset
        .balign 16, 0xf4
