# memcpy, memmove, memset, memcmp and bcmp in few steps. The machine has no caches and no misaligned access: what
# counts is the number of instructions, most of all for 20 to 64 bytes.

    .section .text.memcpy, "ax"
    .globl memmove
    .globl memcpy
    .type memmove, @function
    .type memcpy, @function
# Forwards unless the destination begins inside the source.
memmove:
    sub t0, a0, a1
    bltu t0, a2, .Lbackwards
memcpy:
    mv t6, a0
    xor t0, a0, a1
    andi t0, t0, 3
    bnez t0, .Lskewed
    andi t0, a0, 3
    bnez t0, .Lalign
.Lblocks:
    li t0, 32
    bltu a2, t0, .Lwords
.Lblock:
    lw a3, 0(a1)
    lw a4, 4(a1)
    lw a5, 8(a1)
    lw a6, 12(a1)
    lw a7, 16(a1)
    lw t1, 20(a1)
    lw t2, 24(a1)
    lw t3, 28(a1)
    sw a3, 0(t6)
    sw a4, 4(t6)
    sw a5, 8(t6)
    sw a6, 12(t6)
    sw a7, 16(t6)
    sw t1, 20(t6)
    sw t2, 24(t6)
    sw t3, 28(t6)
    addi a2, a2, -32
    addi a1, a1, 32
    addi t6, t6, 32
    bgeu a2, t0, .Lblock
.Lwords:
    li t0, 4
    bltu a2, t0, .Lbytes
.Lword:
    lw a3, 0(a1)
    sw a3, 0(t6)
    addi a2, a2, -4
    addi a1, a1, 4
    addi t6, t6, 4
    bgeu a2, t0, .Lword
.Lbytes:
    beqz a2, .Lcopied
.Lbyte:
    lbu a3, 0(a1)
    sb a3, 0(t6)
    addi a2, a2, -1
    addi a1, a1, 1
    addi t6, t6, 1
    bnez a2, .Lbyte
.Lcopied:
    ret
# Bytes up to a word's start: source and destination are equally far from one.
.Lalign:
    beqz a2, .Lcopied
    lbu a3, 0(a1)
    sb a3, 0(t6)
    addi a2, a2, -1
    addi a1, a1, 1
    addi t6, t6, 1
    andi t0, t6, 3
    bnez t0, .Lalign
    j .Lblocks
# Words out of two neighbours.
.Lskewed:
    li t0, 16
    bltu a2, t0, .Lbytes
.Lskewed_align:
    andi t0, t6, 3
    beqz t0, .Lskewed_start
    lbu a3, 0(a1)
    sb a3, 0(t6)
    addi a2, a2, -1
    addi a1, a1, 1
    addi t6, t6, 1
    j .Lskewed_align
.Lskewed_start:
    andi t3, a1, 3
    sub a5, a1, t3
    slli t3, t3, 3
    li t4, 32
    sub t4, t4, t3
    lw a3, 0(a5)
    li t0, 8
    bltu a2, t0, .Lskewed_last
.Lskewed_pair:
    lw a4, 4(a5)
    srl t1, a3, t3
    lw a3, 8(a5)
    sll t2, a4, t4
    or t1, t1, t2
    srl a4, a4, t3
    sll t2, a3, t4
    or a4, a4, t2
    sw t1, 0(t6)
    sw a4, 4(t6)
    addi a5, a5, 8
    addi t6, t6, 8
    addi a2, a2, -8
    bgeu a2, t0, .Lskewed_pair
.Lskewed_last:
    li t0, 4
    bltu a2, t0, .Lskewed_end
    lw a4, 4(a5)
    srl t1, a3, t3
    sll t2, a4, t4
    or t1, t1, t2
    sw t1, 0(t6)
    addi a5, a5, 4
    addi t6, t6, 4
    addi a2, a2, -4
.Lskewed_end:
    srli t3, t3, 3
    add a1, a5, t3
    j .Lbytes
# From the end: words when both ends are equally far from one.
.Lbackwards:
    add t6, a0, a2
    add a1, a1, a2
    xor t0, t6, a1
    andi t0, t0, 3
    bnez t0, .Lbackwards_bytes
.Lbackwards_align:
    beqz a2, .Lcopied
    andi t0, t6, 3
    beqz t0, .Lbackwards_words
    lbu a3, -1(a1)
    sb a3, -1(t6)
    addi a2, a2, -1
    addi a1, a1, -1
    addi t6, t6, -1
    j .Lbackwards_align
.Lbackwards_words:
    li t0, 4
    bltu a2, t0, .Lbackwards_bytes
    lw a3, -4(a1)
    sw a3, -4(t6)
    addi a2, a2, -4
    addi a1, a1, -4
    addi t6, t6, -4
    j .Lbackwards_words
.Lbackwards_bytes:
    beqz a2, .Lcopied
    lbu a3, -1(a1)
    sb a3, -1(t6)
    addi a2, a2, -1
    addi a1, a1, -1
    addi t6, t6, -1
    j .Lbackwards_bytes

    .section .text.memset, "ax"
    .globl memset
    .type memset, @function
memset:
    mv t6, a0
    andi a1, a1, 255
    slli t0, a1, 8
    or a1, a1, t0
    slli t0, a1, 16
    or a1, a1, t0
.Lset_align:
    andi t0, t6, 3
    beqz t0, .Lset_blocks
    beqz a2, .Lset_done
    sb a1, 0(t6)
    addi a2, a2, -1
    addi t6, t6, 1
    j .Lset_align
.Lset_blocks:
    li t0, 32
    bltu a2, t0, .Lset_words
.Lset_block:
    sw a1, 0(t6)
    sw a1, 4(t6)
    sw a1, 8(t6)
    sw a1, 12(t6)
    sw a1, 16(t6)
    sw a1, 20(t6)
    sw a1, 24(t6)
    sw a1, 28(t6)
    addi a2, a2, -32
    addi t6, t6, 32
    bgeu a2, t0, .Lset_block
.Lset_words:
    li t0, 4
    bltu a2, t0, .Lset_bytes
.Lset_word:
    sw a1, 0(t6)
    addi a2, a2, -4
    addi t6, t6, 4
    bgeu a2, t0, .Lset_word
.Lset_bytes:
    beqz a2, .Lset_done
    sb a1, 0(t6)
    addi a2, a2, -1
    addi t6, t6, 1
    j .Lset_bytes
.Lset_done:
    ret

    .section .text.memcmp, "ax"
    .globl memcmp
    .globl bcmp
    .type memcmp, @function
    .type bcmp, @function
memcmp:
bcmp:
    or t0, a0, a1
    andi t0, t0, 3
    bnez t0, .Lcompare_bytes
    li t0, 16
    bltu a2, t0, .Lcompare_few
.Lcompare_block:
    lw t1, 0(a0)
    lw t2, 0(a1)
    bne t1, t2, .Lcompare_few
    lw t1, 4(a0)
    lw t2, 4(a1)
    bne t1, t2, .Lcompare_few
    lw t1, 8(a0)
    lw t2, 8(a1)
    bne t1, t2, .Lcompare_few
    lw t1, 12(a0)
    lw t2, 12(a1)
    bne t1, t2, .Lcompare_few
    addi a2, a2, -16
    addi a0, a0, 16
    addi a1, a1, 16
    bgeu a2, t0, .Lcompare_block
.Lcompare_few:
    li t0, 4
.Lcompare_word:
    bltu a2, t0, .Lcompare_bytes
    lw t1, 0(a0)
    lw t2, 0(a1)
    bne t1, t2, .Lcompare_bytes
    addi a2, a2, -4
    addi a0, a0, 4
    addi a1, a1, 4
    j .Lcompare_word
.Lcompare_bytes:
    beqz a2, .Lequal
    lbu t1, 0(a0)
    lbu t2, 0(a1)
    bne t1, t2, .Ldiffer
    addi a2, a2, -1
    addi a0, a0, 1
    addi a1, a1, 1
    j .Lcompare_bytes
.Lequal:
    li a0, 0
    ret
.Ldiffer:
    sub a0, t1, t2
    ret
