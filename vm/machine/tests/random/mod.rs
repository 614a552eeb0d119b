//! Random programs: words that mostly decode, pointers to where memory is interesting, loops, calls.
#![allow(dead_code, reason = "each test uses a part")]

use bitsect_machine::{Program, address};
use proptest::prelude::*;

/// Where programs of these tests begin.
pub const START: u32 = 0x1_0000;
/// Where their data is.
pub const DATA: u32 = 0x2_0000;

/// A program of these words, at `START`.
pub fn program(words: &[u32]) -> Program {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let end = (START + bytes.len() as u32).next_multiple_of(64);
    Program {
        segments: vec![(START, bytes)],
        entry: START,
        text: START..end,
        symbols: Vec::new(),
    }
}

/// Words that mostly decode: random fields under a real opcode, and pointers to data now and then.
pub fn word() -> impl Strategy<Value = u32> {
    let opcodes = prop::sample::select(vec![
        0x37_u32, 0x17, 0x6f, 0x67, 0x63, 0x03, 0x23, 0x13, 0x33, 0x0f, 0x73,
    ]);
    prop_oneof![
        8 => (any::<u32>(), opcodes).prop_map(|(word, opcode)| word & !0x7f | opcode),
        // Register operations with a valid funct7.
        8 => (any::<u32>(), prop::sample::select(vec![0_u32, 1, 0x20])).prop_map(|(word, funct7)| word & 0x01ff_ff80 | funct7 << 25 | 0x33),
        // lui of DATA, so that memory accesses hit it.
        4 => (0_u32..32).prop_map(|rd| DATA | rd << 7 | 0x37),
        // Loads and stores at small offsets.
        6 => (any::<u32>(), prop::sample::select(vec![0x03_u32, 0x23])).prop_map(|(word, opcode)| word & 0x00ff_ff80 | opcode),
        // Branches and jumps over a few instructions.
        2 => (any::<u32>(), 1_u32..4).prop_map(|(word, skip)| word & 0x01ff_f000 | skip << 10 | 0x63),
        1 => Just(0x73),
    ]
}

/// Sets a register: `lui`, `addi`.
pub fn load_immediate(register: u32, value: u32) -> [u32; 2] {
    let high = value.wrapping_add(0x800) & 0xffff_f000;
    [
        high | register << 7 | 0x37,
        value.wrapping_sub(high) << 20 | register << 15 | register << 7 | 0x13,
    ]
}

/// A call: `a7`, `a0`, `a1`, `ecall`.
pub fn call(number: u32, address: u32, level: u32) -> Vec<u32> {
    let mut words: Vec<u32> = [(17, number), (10, address), (11, level)]
        .into_iter()
        .flat_map(|(register, value)| load_immediate(register, value))
        .collect();
    words.push(0x73);
    words
}

/// Calls, valid and not.
pub fn calls() -> impl Strategy<Value = Vec<u32>> {
    let numbers = prop::sample::select(vec![1_u32, 2, 2, 3, 93, 4]);
    let addresses = prop::sample::select(vec![
        DATA,
        address::KEY,
        address::BLOCK,
        START,
        DATA + 4,
        address::PROTECTED,
    ]);
    (numbers, addresses, 0_u32..3).prop_map(|(number, at, level)| call(number, at, level))
}

/// Words and calls in any order.
pub fn code() -> impl Strategy<Value = Vec<u32>> {
    let piece = prop_oneof![20 => word().prop_map(|word| vec![word]), 1 => calls()];
    prop::collection::vec(piece, 1..60).prop_map(|pieces| pieces.concat())
}

/// Values that registers begin with: around every border that a load, store or jump can cross.
fn pointer() -> impl Strategy<Value = u32> {
    let borders = prop::sample::select(vec![
        DATA,
        START,
        START + 128,
        START + 2048,
        DATA + 4096,
        address::PROTECTED,
        address::KEY,
        0,
        0x8000_0000,
    ]);
    let near = (
        borders,
        prop::sample::select(vec![0_i32, 0, 0, 1, 2, 3, -1, -4, 4, 64, -64, 2048, -2048]),
    );
    prop_oneof![
        6 => near.prop_map(|(border, offset)| border.wrapping_add_signed(offset)),
        1 => any::<u32>(),
        1 => 0_u32..40,
    ]
}

/// A load or store of any kind, with offsets that often share alignment.
fn access() -> impl Strategy<Value = u32> {
    let offset = prop_oneof![4 => (0_u32..16).prop_map(|word| word * 4), 1 => 0_u32..64, 1 => 0_u32..4096];
    let load = (
        offset.clone(),
        0_u32..32,
        prop::sample::select(vec![0_u32, 1, 2, 2, 2, 4, 5]),
        0_u32..32,
    );
    let store = (
        offset,
        0_u32..32,
        prop::sample::select(vec![0_u32, 1, 2, 2, 2]),
        0_u32..32,
    );
    prop_oneof![
        load.prop_map(|(offset, base, kind, to)| offset << 20 | base << 15 | kind << 12 | to << 7 | 0x03),
        store.prop_map(|(offset, base, kind, from)| {
            offset >> 5 << 25 | from << 20 | base << 15 | kind << 12 | (offset & 31) << 7 | 0x23
        }),
    ]
}

/// An operation of two registers, or of one and an immediate, or a constant.
pub fn arithmetic() -> impl Strategy<Value = u32> {
    let registers = any::<u32>().prop_map(|word| word & 0x01ff_ff80);
    let subtract = prop::sample::select(vec![0x4000_0033_u32, 0x4000_5033]);
    prop_oneof![
        (registers.clone(), 0_u32..2).prop_map(|(word, funct7)| word | funct7 << 25 | 0x33),
        (registers.clone(), subtract).prop_map(|(word, operation)| word & !0x7000 | operation),
        any::<u32>().prop_map(|word| match word >> 12 & 7 {
            1 => word & 0x01ff_ff80 | 0x13,
            5 => word & 0x41ff_ff80 | 0x13,
            _ => word & !0x7f | 0x13,
        }),
        (registers, 0_u32..2).prop_map(|(word, kind)| word & !0x7000 | kind << 30 | 0x5013),
        any::<u32>().prop_map(|word| word & !0x7f | 0x37),
        any::<u32>().prop_map(|word| word & !0x7f | 0x17),
        Just(0x0000_000f),
    ]
}

/// A branch by a few instructions, there or back; sometimes to a misaligned place.
pub fn branch() -> impl Strategy<Value = u32> {
    let kind = prop::sample::select(vec![0_u32, 1, 4, 5, 6, 7]);
    let offset = prop_oneof![20 => (-8_i32..12).prop_map(|words| words * 4), 1 => -32_i32..32];
    (offset, kind, 0_u32..32, 0_u32..32).prop_map(|(offset, kind, rs1, rs2)| {
        let offset = offset as u32;
        let high = (offset >> 12 & 1) << 31 | (offset >> 5 & 63) << 25;
        let low = (offset >> 1 & 15) << 8 | (offset >> 11 & 1) << 7;
        high | low | rs2 << 20 | rs1 << 15 | kind << 12 | 0x63
    })
}

/// A jump: near, or through a register.
fn jump() -> impl Strategy<Value = u32> {
    let near = (-16_i32..24, 0_u32..32).prop_map(|(words, rd)| {
        let offset = (words * 4) as u32;
        let bits = (offset >> 20 & 1) << 31
            | (offset >> 1 & 1023) << 21
            | (offset >> 11 & 1) << 20
            | (offset >> 12 & 255) << 12;
        bits | rd << 7 | 0x6f
    });
    let far = (0_u32..40, 0_u32..32, 0_u32..32)
        .prop_map(|(offset, rs1, rd)| offset << 20 | rs1 << 15 | rd << 7 | 0x67);
    prop_oneof![2 => near, 1 => far]
}

/// Programs that run long: registers begin with pointers, traps are rare enough.
pub fn lively() -> impl Strategy<Value = Vec<u32>> {
    let piece = prop_oneof![
        12 => arithmetic().prop_map(|word| vec![word]),
        12 => access().prop_map(|word| vec![word]),
        6 => branch().prop_map(|word| vec![word]),
        2 => jump().prop_map(|word| vec![word]),
        1 => any::<u32>().prop_map(|word| vec![word]),
        1 => calls(),
        // auipc and jalr by its register: a far call.
        1 => (0_u32..64, 0_u32..32).prop_map(|(offset, rd)| vec![rd << 7 | 0x17, (offset * 4) << 20 | rd << 15 | rd << 7 | 0x67]),
        2 => (1_u32..32, pointer()).prop_map(|(register, value)| load_immediate(register, value).to_vec()),
    ];
    let begin = prop::collection::vec((1_u32..32, pointer()), 8..24);
    (begin, prop::collection::vec(piece, 4..160)).prop_map(|(begin, pieces)| {
        let begin = begin
            .into_iter()
            .flat_map(|(register, value)| load_immediate(register, value));
        begin.chain(pieces.concat()).collect()
    })
}
