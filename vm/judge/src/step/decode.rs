//! Instruction words in Script.
//!
//! Digit 0 and the low three bits of digit 1 are the opcode; bit 3 of digit 1 and digit 2 are `rd`; digit 3 is `funct3`
//! and bit 0 of `rs1`; digit 4 is the rest of `rs1`; digit 5 and bit 0 of digit 6 are `rs2`; the rest is `funct7`.

use bitcoin::opcodes::all::*;

use crate::leaf::{Inputs, Value};
use crate::script::{Assembler, Item};
use crate::word::{Digit, LOW, Limbs};

#[expect(missing_docs, reason = "the manual's own names")]
/// The opcodes of rv32im.
pub mod opcode {
    pub const LUI: u8 = 0x37;
    pub const AUIPC: u8 = 0x17;
    pub const JAL: u8 = 0x6f;
    pub const JALR: u8 = 0x67;
    pub const BRANCH: u8 = 0x63;
    pub const LOAD: u8 = 0x03;
    pub const STORE: u8 = 0x23;
    pub const OP_IMM: u8 = 0x13;
    pub const OP: u8 = 0x33;
    pub const FENCE: u8 = 0x0f;
    pub const SYSTEM: u8 = 0x73;

    /// Those that write `rd`.
    pub const WITH_RD: [(&str, u8); 7] = [
        ("lui", LUI),
        ("auipc", AUIPC),
        ("jal", JAL),
        ("jalr", JALR),
        ("load", LOAD),
        ("op-imm", OP_IMM),
        ("op", OP),
    ];
}

/// The digits of the opcode.
pub const OPCODE: u128 = 0b0000_0011;
/// The digits of opcode and `funct3`.
pub const FUNCT3: u128 = 0b0000_1011;
/// The digits of opcode, `funct3` and `funct7`.
pub const FUNCT7: u128 = 0b1100_1011;

/// What an instruction word must be; `None` where it may be anything.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// The opcode.
    pub opcode: u8,
    /// `funct3`.
    pub funct3: Option<u8>,
    /// `funct7`.
    pub funct7: Option<u8>,
}

impl Pattern {
    /// Matches an opcode.
    pub const fn opcode(opcode: u8) -> Self {
        Self {
            opcode,
            funct3: None,
            funct7: None,
        }
    }

    /// Matches `funct3` too.
    pub const fn funct3(self, funct3: u8) -> Self {
        Self {
            funct3: Some(funct3),
            ..self
        }
    }

    /// Matches `funct7` too.
    pub const fn funct7(self, funct7: u8) -> Self {
        Self {
            funct7: Some(funct7),
            ..self
        }
    }

    /// Gives the digits that it looks at.
    pub const fn digits(&self) -> u128 {
        let three = if self.funct3.is_some() { FUNCT3 } else { OPCODE };
        let seven = if self.funct7.is_some() { FUNCT7 } else { 0 };
        three | seven
    }

    /// Whether a word matches.
    pub fn matches(&self, word: u32) -> bool {
        word & 0x7f == u32::from(self.opcode)
            && self
                .funct3
                .is_none_or(|funct3| word >> 12 & 7 == u32::from(funct3))
            && self.funct7.is_none_or(|funct7| word >> 25 == u32::from(funct7))
    }

    /// Verifies that the instruction matches. Digits that `kept` has stay on the stack, the others are taken.
    pub fn verify(&self, a: &mut Assembler, inputs: &Inputs, kept: u128) {
        let digit = |a: &mut Assembler, at: usize| {
            let item = inputs.digit(Value::Instruction, at);
            if kept >> at & 1 == 1 {
                a.copy(item)
            } else {
                a.take(item)
            }
        };
        if let Some(funct7) = self.funct7 {
            digit(a, 7);
            verify_is(a, funct7 >> 3);
            digit(a, 6);
            let low = i64::from(funct7 & 7) * 2;
            a.push(low);
            a.push(low + 2);
            a.ops(&[OP_WITHIN, OP_VERIFY]);
        }
        if let Some(funct3) = self.funct3 {
            digit(a, 3);
            verify_low_bits(a, funct3);
        }
        digit(a, 1);
        verify_low_bits(a, self.opcode >> 4);
        digit(a, 0);
        verify_is(a, self.opcode & 15);
    }
}

/// Takes a digit, and verifies its value.
pub fn verify_is(a: &mut Assembler, value: u8) {
    a.push(i64::from(value));
    a.op(OP_NUMEQUALVERIFY);
}

/// Takes a digit, and verifies its low three bits: it is the value or eight more.
pub fn verify_low_bits(a: &mut Assembler, value: u8) {
    a.push(i64::from(value) + 4);
    a.ops(&[OP_SUB, OP_ABS]);
    a.push(4);
    a.op(OP_NUMEQUALVERIFY);
}

/// The digits of an I immediate.
pub const IMMEDIATE_I: u128 = 0b1110_0000;

/// Takes the immediate's digits, and pushes it with its sign: -2048 to 2047.
pub fn immediate_i(a: &mut Assembler, inputs: &Inputs) -> Item {
    let digits = [5, 6, 7].map(|at| Digit::Item(inputs.digit(Value::Instruction, at)));
    crate::word::number(a, &digits);
    a.op(OP_DUP);
    a.push(2_047);
    a.op(OP_GREATERTHAN);
    a.when(|a| {
        a.push(4_096);
        a.op(OP_SUB);
    });
    a.at(0)
}

/// Takes a number with a sign, above -2^28, and pushes its word's limbs.
pub fn extend(a: &mut Assembler, number: Item) -> Limbs {
    a.take(number);
    a.op(OP_DUP);
    a.push(0);
    a.op(OP_LESSTHAN);
    a.branch(
        |a| {
            a.push(LOW);
            a.op(OP_ADD);
            a.push(15);
        },
        |a| {
            a.push(0);
        },
    );
    Limbs {
        low: a.at(1),
        top: a.at(0),
    }
}
