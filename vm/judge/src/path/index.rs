//! Which of a leaf's sixteen words is meant.

use bitcoin::opcodes::all::*;

use super::digits::verify_bit;
use super::place::Field;
use crate::leaf::{Inputs, Value, Values};
use crate::script::Assembler;
use crate::word::{low_bits, shift_left};

/// What the index is given by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// Bits 2 to 5 of an address.
    Address(Value),
    /// The low four bits of a register's number.
    Register(Field),
}

impl Index {
    /// Gives its bits' value, and which they are.
    const fn bits(self) -> (Value, usize) {
        match self {
            Self::Address(value) => (value, 2),
            Self::Register(field) => (Value::Instruction, field.shift()),
        }
    }

    /// Gives what a rule reads of it: uppermost.
    pub const fn reads(self) -> (Value, u128) {
        let (value, bit) = self.bits();
        let digits = if bit.is_multiple_of(4) { 1 } else { 3 };
        (value, digits << (bit / 4))
    }

    /// Gives the index.
    pub fn of(self, values: &Values) -> usize {
        let (value, bit) = self.bits();
        (values.word(value) >> bit & 15) as usize
    }

    /// Takes its digits, which are on top, and pushes it.
    pub fn push(self, a: &mut Assembler, inputs: &Inputs) {
        let (value, bit) = self.bits();
        a.take(inputs.digit(value, bit.div_ceil(4)));
        let low = 4 - bit % 4;
        if low == 4 {
            return;
        }
        low_bits(a, a.at(0), 4 - low);
        shift_left(a, low);
        a.take(inputs.digit(value, bit / 4));
        high_bits(a, low);
        a.op(OP_ADD);
    }

    /// Takes its digits, which are on top, and verifies that it is this one.
    pub fn verify(self, a: &mut Assembler, inputs: &Inputs, index: usize) {
        let (value, bit) = self.bits();
        let low = 4 - bit % 4;
        a.take(inputs.digit(value, bit.div_ceil(4)));
        if low < 4 {
            low_bits(a, a.at(0), 4 - low);
            a.push(index as i64 >> low);
            a.op(OP_NUMEQUALVERIFY);
            a.take(inputs.digit(value, bit / 4));
        }
        let (least, step) = ((index as i64 & ((1 << low) - 1)) << (4 - low), 1 << (4 - low));
        match low {
            1 => verify_bit(a, 3, least > 0),
            4 => {
                a.push(least);
                a.op(OP_NUMEQUALVERIFY);
            }
            _ => {
                a.push(least);
                a.push(least + step);
                a.ops(&[OP_WITHIN, OP_VERIFY]);
            }
        }
    }
}

/// Takes the digit on top, and pushes its high bits: how many multiples of their unit it reaches.
fn high_bits(a: &mut Assembler, bits: usize) {
    for reached in 1..1 << bits {
        let last = reached + 1 == 1 << bits;
        if reached == 1 {
            if !last {
                a.op(OP_DUP);
            }
        } else {
            a.op(if last { OP_SWAP } else { OP_OVER });
        }
        a.push(reached << (4 - bits));
        a.op(OP_GREATERTHANOREQUAL);
        if reached > 1 {
            a.op(OP_ADD);
        }
    }
}
