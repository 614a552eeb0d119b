//! Programs, assembled by hand. Each reads chain state and advice, and writes the next chain state.

use alloy_primitives::B256;
use bitsect_bridge::params::Rounds;
use bitsect_machine::Program;
use bitsect_vm::check::check_advice;
use rand::Rng;
use rand::rngs::StdRng;

use crate::common::{ticket, ticket_id};
use crate::store::{Leaf, Store};
use crate::world::World;

pub const START: u32 = 0x1_0000;
pub const DATA: u32 = 0x2_0000;
const CONSTANTS: u32 = 0x3_0000;
/// The node that the program maps.
const LEVEL: u32 = 2;
// Offsets from zero of key, block, input, advice and output.
const KEY: u32 = 0xe00;
const BLOCK: u32 = 0xe40;
const INPUT: u32 = 0xe80;
const ADVICE: u32 = 0xea0;
const OUTPUT: u32 = 0xec0;

pub fn lw(rd: u32, offset: u32, rs1: u32) -> u32 {
    (offset & 0xfff) << 20 | rs1 << 15 | 2 << 12 | rd << 7 | 0x03
}

pub fn sw(rs2: u32, offset: u32, rs1: u32) -> u32 {
    (offset >> 5 & 127) << 25 | rs2 << 20 | rs1 << 15 | 2 << 12 | (offset & 31) << 7 | 0x23
}

pub fn addi(rd: u32, rs1: u32, imm: u32) -> u32 {
    (imm & 0xfff) << 20 | rs1 << 15 | rd << 7 | 0x13
}

pub fn lui(rd: u32, value: u32) -> u32 {
    value & 0xffff_f000 | rd << 7 | 0x37
}

fn add(rd: u32, rs1: u32, rs2: u32) -> u32 {
    rs2 << 20 | rs1 << 15 | rd << 7 | 0x33
}

/// Adds a word of memory to a word of the chain state, into the output.
fn mix(word: u32, offset: u32, base: u32) -> [u32; 4] {
    [
        lw(7, INPUT + 4 * word, 0),
        lw(9, offset, base),
        add(7, 7, 9),
        sw(7, OUTPUT + 4 * word, 0),
    ]
}

/// To an instruction that many bytes on.
fn bne(rs1: u32, rs2: u32, offset: u32) -> u32 {
    (offset >> 5 & 63) << 25 | rs2 << 20 | rs1 << 15 | 1 << 12 | (offset >> 1 & 15) << 8 | 0x63
}

const ECALL: u32 = 0x73;
const EBREAK: u32 = 0x0010_0073;
const EXIT: [u32; 3] = [93 << 20 | 17 << 7 | 0x13, 10 << 7 | 0x13, ECALL];

fn program(words: &[u32], constants: &[Leaf]) -> Program {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let end = (START + bytes.len() as u32).next_multiple_of(64);
    Program {
        segments: vec![(START, bytes), (CONSTANTS, constants.concat())],
        entry: START,
        text: START..end,
        symbols: Vec::new(),
    }
}

/// Makes every call: it hashes a node of constants, maps it elsewhere, reads and writes there, and takes the advice apart
/// as a SHA-256 digest. 39 steps.
pub fn calls(rng: &mut StdRng) -> Program {
    let mut words = vec![addi(17, 0, 2), lui(10, CONSTANTS), addi(11, 0, LEVEL), ECALL];
    words.extend([addi(17, 0, 1), lui(10, DATA), ECALL]);
    words.extend([lui(8, DATA), lw(12, 68, 8), sw(12, 4, 8)]);
    for word in 0..8 {
        words.extend([lw(7, ADVICE + 4 * word, 0), sw(7, KEY + 4 * word, 0)]);
    }
    words.extend([addi(17, 0, 3), ECALL]);
    words.extend(mix(0, BLOCK, 0));
    words.extend(mix(1, 4, 8));
    words.extend(EXIT);
    let constants: Vec<Leaf> = (0..4).map(|_| core::array::from_fn(|_| rng.random())).collect();
    program(&words, &constants)
}

/// Maps the node that has the chain state as its hash, and writes the first word that lies under it.
pub fn reads_behind_its_state(level: u32) -> Program {
    let mut words = Vec::new();
    for word in 0..8 {
        words.extend([lw(7, INPUT + 4 * word, 0), sw(7, KEY + 4 * word, 0)]);
    }
    words.extend([addi(17, 0, 1), lui(10, DATA), addi(11, 0, level), ECALL]);
    words.extend([lui(8, DATA), lw(7, 0, 8), sw(7, OUTPUT, 0)]);
    words.extend(EXIT);
    program(&words, &[])
}

/// Random instructions between a beginning that sets registers and an end that writes the output: arithmetic of every
/// kind, loads and stores of every size, branches and jumps ahead. None traps.
pub fn arithmetic(rng: &mut StdRng, count: usize) -> Program {
    let mut words = vec![lui(8, DATA)];
    for register in [1, 2, 3, 4] {
        words.extend([
            lui(register, rng.random()),
            addi(register, register, rng.random()),
        ]);
    }
    let end = words.len() + count;
    while words.len() < end {
        let (rd, rs1, rs2) = (
            rng.random_range(0..5_u32),
            rng.random_range(0..5_u32),
            rng.random_range(0..5_u32),
        );
        let fields = rs2 << 20 | rs1 << 15 | rd << 7;
        words.push(match rng.random_range(0..9) {
            0 => fields | rng.random_range(0..8) << 12 | rng.random_range(0..2) << 25 | 0x33,
            1 => fields | [0x4000_0033, 0x4000_5033][rng.random_range(0..2)],
            2 => fields | 1 << 12 | 0x13,
            3 => fields | 5 << 12 | rng.random_range(0..2) << 30 | 0x13,
            4 => {
                rng.random::<u32>() & 0xfff0_0000
                    | [0, 2, 3, 4, 6, 7][rng.random_range(0..6)] << 12
                    | rs1 << 15
                    | rd << 7
                    | 0x13
            }
            5 => load(rng, rd),
            6 => store(rng, rs2),
            // Over the next instruction.
            7 => [0, 1, 4, 5, 6, 7][rng.random_range(0..6)] << 12 | rs2 << 20 | rs1 << 15 | 4 << 8 | 0x63,
            _ => [
                4 << 21 | rd << 7 | 0x6f,
                lui(rd, rng.random()),
                rng.random::<u32>() & 0xffff_f000 | rd << 7 | 0x17,
                0x0f,
            ][rng.random_range(0..4)],
        });
    }
    words.push(addi(0, 0, 0));
    for (word, register) in (0..5).zip([1, 2, 3, 4, 8]) {
        words.extend([
            lw(7, INPUT + 4 * word, 0),
            add(7, 7, register),
            sw(7, OUTPUT + 4 * word, 0),
        ]);
    }
    words.extend(EXIT);
    program(&words, &[])
}

fn load(rng: &mut StdRng, rd: u32) -> u32 {
    let (kind, size) = [(0, 1), (1, 2), (2, 4), (4, 1), (5, 2)][rng.random_range(0..5)];
    let offset = rng.random_range(0..128 / size) * size;
    offset << 20 | 8 << 15 | kind << 12 | rd << 7 | 0x03
}

fn store(rng: &mut StdRng, rs2: u32) -> u32 {
    let (kind, size) = [(0, 1), (1, 2), (2, 4)][rng.random_range(0..3)];
    let offset = rng.random_range(0..128 / size) * size;
    sw(rs2, offset, 8) & !0x7000 | kind << 12
}

/// Adds the advice to the chain state, and counts units, so that no advice repeats a state. A check it takes only where the ticket ends with the same word as the slot's: such
/// tickets are those that have an assignment.
pub fn checks() -> Program {
    let compare = |word: u32, offset: u32| {
        let at = 4 * word;
        [lw(5, ADVICE + at, 0), lw(6, at, 8), bne(5, 6, offset)]
    };
    let work: Vec<u32> = (0..4)
        .flat_map(|word| mix(word, ADVICE + 4 * word, 0))
        .chain([lw(7, INPUT + 16, 0), addi(7, 7, 1), sw(7, OUTPUT + 16, 0)])
        .chain(EXIT)
        .collect();
    let mut words = vec![lui(8, CONSTANTS)];
    words.extend(compare(0, 28));
    words.extend(compare(1, 16));
    words.extend(compare(7, 4 + 4 * work.len() as u32));
    words.extend(work);
    words.push(EBREAK);
    let mut constants = [0; 64];
    constants[..32].copy_from_slice(check_advice(&ticket_id(&ticket(0))).as_slice());
    program(&words, &[constants])
}

/// A chain whose claims end with a check.
pub fn chain_of_checks(rng: &mut StdRng, units: usize) -> World {
    let rounds = Rounds { units: 2, trace: 3 };
    let mut world = World::new(checks(), rounds, Store::new());
    world.ticket = Some(ticket(0));
    for _ in 0..units {
        world.add_unit(B256::new(rng.random()));
    }
    world
}

/// A chain of a program that makes every call.
pub fn chain_of_calls(rng: &mut StdRng, units: usize) -> World {
    let rounds = Rounds { units: 2, trace: 3 };
    let mut world = World::new(calls(rng), rounds, Store::new());
    for _ in 0..units {
        let chaining = B256::new(rng.random());
        let block = core::array::from_fn(|_| rng.random());
        let digest = world.store.insert_compression(chaining, block);
        world.add_unit(digest);
    }
    world
}

/// A chain of a program of random instructions.
pub fn chain_of_arithmetic(rng: &mut StdRng, units: usize) -> World {
    let rounds = Rounds { units: 2, trace: 3 };
    let mut world = World::new(arithmetic(rng, 20), rounds, Store::new());
    for _ in 0..units {
        world.add_unit(B256::new(rng.random()));
    }
    world
}

/// Writes advice to the output, and then does not halt well: `ebreak`, or an exit code of 1.
pub fn ends_badly(by_trap: bool) -> Program {
    let mut words: Vec<u32> = (0..8)
        .flat_map(|word| [lw(7, ADVICE + 4 * word, 0), sw(7, OUTPUT + 4 * word, 0)])
        .collect();
    if by_trap {
        words.push(EBREAK);
    } else {
        words.extend([addi(17, 0, 93), addi(10, 0, 1), ECALL]);
    }
    program(&words, &[])
}
