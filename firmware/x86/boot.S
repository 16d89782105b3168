/* From the PVH entry point to C in long mode, and back from interrupts.
 *
 * QEMU's -kernel starts an ELF file that has the note XEN_ELFNOTE_PHYS32_ENTRY (Xen, docs/misc/pvh.pandoc; QEMU,
 * hw/i386/x86-common.c, load_elfboot): 32-bit protected mode, paging off, flat segments, EBX = struct hvm_start_info.
 * Long mode: Intel SDM volume 3A, "Initializing IA-32e Mode".
 */

#define CR0_PE (1 << 0)
#define CR0_WP (1 << 16)
#define CR0_PG (1 << 31)
#define CR4_PAE (1 << 5)
#define EFER 0xC0000080
#define EFER_LME (1 << 8)
#define PRESENT_WRITABLE 0x03
#define LARGE 0x80
#define UNCACHED 0x18                   /* PWT and PCD */
#define STACK 0x8000

        .section .note.pvh, "a", @note
        .balign 4
        .long   4, 8, 18                /* sizes of name and value, XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz  "Xen"
        .quad   start

        .bss
        .balign 4096
        .global page_map, page_directories
page_map:         .skip 4096            /* PML4 */
page_pointers:    .skip 4096            /* PDPT of the first 512 GiB */
page_directories: .skip 4 * 4096        /* of the first 4 GiB, in pages of 2 MiB */
        .balign 16
stack:            .skip STACK
stack_top:

        .data
        .balign 8
gdt:    .quad   0
        .quad   0x00AF9B000000FFFF      /* 0x08: code, 64-bit */
        .quad   0x00CF93000000FFFF      /* 0x10: data */
gdt_end:
gdt_register:
        .word   gdt_end - gdt - 1
        .quad   gdt

        .text
        .code32
        .global start
start:  cli
        cld
        mov     $stack_top, %esp
        mov     %ebx, %esi              /* struct hvm_start_info, for C */

        movl    $page_pointers + PRESENT_WRITABLE, page_map
        mov     $page_directories + PRESENT_WRITABLE, %eax
        mov     $page_pointers, %edi
        mov     $4, %ecx
1:      mov     %eax, (%edi)
        add     $4096, %eax
        add     $8, %edi
        loop    1b

        mov     $page_directories, %edi /* identity; above 2 GiB there is no RAM on a q35 this small, but MMIO */
        mov     $PRESENT_WRITABLE + LARGE, %eax
2:      mov     %eax, %edx
        test    %eax, %eax
        jns     3f
        or      $UNCACHED, %edx
3:      mov     %edx, (%edi)
        add     $8, %edi
        add     $0x200000, %eax
        jnc     2b

        mov     $page_map, %eax
        mov     %eax, %cr3
        mov     %cr4, %eax
        or      $CR4_PAE, %eax
        mov     %eax, %cr4
        mov     $EFER, %ecx
        rdmsr
        or      $EFER_LME, %eax
        wrmsr
        mov     %cr0, %eax
        or      $CR0_PG | CR0_WP | CR0_PE, %eax
        mov     %eax, %cr0
        lgdt    gdt_register
        ljmp    $0x08, $long_mode

        .code64
long_mode:
        mov     $0x10, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        xor     %eax, %eax
        mov     %eax, %fs
        mov     %eax, %gs
        mov     %esi, %edi
        call    run_image
4:      hlt
        jmp     4b

/* One entry of 16 bytes for each of the 256 vectors; the exceptions in the mask push an error code themselves. */
        .global trap_entries
        .balign 16
trap_entries:
        vector = 0
        .rept   256
        .balign 16
        .if     vector > 31 || ((0x60227D00 >> (vector & 31)) & 1) == 0
        push    $0
        .endif
        push    $vector
        jmp     trap_common
        vector = vector + 1
        .endr

trap_common:                            /* builds struct frame of traps.c */
        push    %rax
        push    %rcx
        push    %rdx
        push    %rbx
        push    %rbp
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        cld
        mov     %rsp, %rdi
        call    trap
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rbp
        pop     %rbx
        pop     %rdx
        pop     %rcx
        pop     %rax
        add     $16, %rsp
        iretq

/* int checkpoint(struct checkpoint *): 0 at first, 1 when resume() came back to it. */
        .global checkpoint, resume
checkpoint:
        mov     %rbx, 0(%rdi)
        mov     %rbp, 8(%rdi)
        mov     %r12, 16(%rdi)
        mov     %r13, 24(%rdi)
        mov     %r14, 32(%rdi)
        mov     %r15, 40(%rdi)
        lea     8(%rsp), %rax
        mov     %rax, 48(%rdi)
        mov     (%rsp), %rax
        mov     %rax, 56(%rdi)
        xor     %eax, %eax
        ret
resume: mov     0(%rdi), %rbx
        mov     8(%rdi), %rbp
        mov     16(%rdi), %r12
        mov     24(%rdi), %r13
        mov     32(%rdi), %r14
        mov     40(%rdi), %r15
        mov     48(%rdi), %rsp
        mov     $1, %eax
        jmp     *56(%rdi)
