//! Digits that differ, and bits of digits.

use bitcoin::opcodes::all::*;

use crate::leaf::{ALL, Inputs, Value, Values};
use crate::script::{Assembler, Item};

/// The hint that points at a digit that differs, counted from the uppermost of the first digits.
pub const AT: &str = "at";

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

/// Verifies that digits differ where the hint points. Both are lowest first; the first are the topmost items, either way
/// up, and the second are somewhere below, the highest on top.
pub fn verify_differ(a: &mut Assembler, inputs: &Inputs, first: &[Item], second: &[Item]) {
    let last = first.len() - 1;
    let lowest_on_top = a.depth(first[0]) == 0;
    point(a, inputs, first);
    if lowest_on_top {
        a.op(OP_NEGATE);
        a.look_up(second[0]);
    } else {
        a.look_up(second[last]);
    }
    a.ops(&[OP_NUMNOTEQUAL, OP_VERIFY]);
}

/// Takes the hint, and pushes the digit that it points at among those on top of the stack, and above it the hint.
///
/// It points at one of them: `MIN` bounds it, and a pick at a negative depth fails.
pub fn point(a: &mut Assembler, inputs: &Inputs, digits: &[Item]) {
    let last = digits.len() - 1;
    let depths = [digits[0], digits[last]].map(|item| a.depth(item));
    assert!(depths.contains(&0) && depths.contains(&last), "digits on top");
    a.take(inputs.hint(AT));
    a.push(last as i64);
    a.ops(&[OP_MIN, OP_DUP, OP_TOALTSTACK]);
    a.pick();
    a.op(OP_FROMALTSTACK);
}

/// Reduces the digit on top to its low bits.
pub fn low_bits(a: &mut Assembler, bits: usize) {
    for bit in (bits..4).rev() {
        a.op(OP_DUP);
        a.push(1 << bit);
        a.op(OP_GREATERTHANOREQUAL);
        a.when(|a| {
            a.push(1 << bit);
            a.op(OP_SUB);
        });
    }
}

/// Takes the digit on top, and verifies one of its bits.
pub fn verify_bit(a: &mut Assembler, bit: usize, set: bool) {
    low_bits(a, bit + 1);
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
