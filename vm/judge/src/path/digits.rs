//! Digits that differ, and bits of digits.

use bitcoin::opcodes::all::*;

use crate::leaf::{ALL, Inputs, Value, Values};
use crate::script::{Assembler, Item};
use crate::word::low_bits;

/// Gives the mask of a value's first digits.
pub const fn lowest(digits: usize) -> u128 {
    if digits == 0 { 0 } else { ALL >> (128 - digits) }
}

/// Gives the hint for digits that are lowest first, where the first have the lowest on top; `None` where they are the
/// same.
pub fn difference_of_hash(first: &[u8], second: &[u8]) -> Option<Vec<i64>> {
    let mut pairs = first.iter().zip(second);
    pairs.position(|(a, b)| a != b).map(|at| vec![at as i64])
}

/// Does the same where the first have the highest on top, as values have.
pub fn difference(first: &[u8], second: &[u8]) -> Option<Vec<i64>> {
    let mut pairs = first.iter().zip(second).rev();
    pairs.position(|(a, b)| a != b).map(|at| vec![at as i64])
}

/// Gives the digits of bytes.
pub fn digits(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect()
}

/// Gives a value's digits.
pub fn value_digits(values: &Values, value: Value) -> Vec<u8> {
    digits(values.bytes(value))
}

/// Gives the first digits of a value that the rule reads.
pub fn first_digits(inputs: &Inputs, value: Value, count: usize) -> Vec<Item> {
    (0..count).map(|digit| inputs.digit(value, digit)).collect()
}

/// Takes the digit on top, and verifies one of its bits.
pub fn verify_bit(a: &mut Assembler, bit: usize, set: bool) {
    low_bits(a, a.at(0), bit + 1);
    match (bit, set) {
        (0, true) => {}
        (0, false) => drop(a.op(OP_NOT)),
        _ => {
            a.push(1 << bit);
            a.op(if set { OP_GREATERTHANOREQUAL } else { OP_LESSTHAN });
        }
    }
    a.op(OP_VERIFY);
}
