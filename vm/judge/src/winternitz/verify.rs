//! Verifies signatures in Script.
//!
//! A digit `d` with its hash `s` costs 63 bytes of Script and 23 of witness, and 3 bytes for the checksum. The chain's
//! upper half is hashed where `d < 8`; then all eight hashes of the lower half are on the stack, and the one that must be
//! the key's end is picked by `d mod 8`.
//!
//! Nothing checks the range of `d`, because nothing has to: with another `d` the pick fails, or gives an item below the
//! chain that would have to be the end of this very chain. What lies there are other digits, which must be numbers of at
//! most four bytes; other signatures, which must lead to other ends; hints, which must be numbers; and nothing else, as
//! a Script ends with one item. So whatever lies below a signature on the stack has to be checked later in the Script.
//!
//! A digit may be written in more than one way (consensus takes `05 00` for 5). Leaves compare digits as numbers only.

use bitcoin::opcodes::all::*;

use super::{PublicKey, TOP, checksum_digits, value_digits};
use crate::script::{Assembler, Item};

/// Half of a chain, in hashes.
const HALF: i64 = 8;

/// A value that a Script reads: its key, and which of its digits are left on the stack, by bit.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The key.
    pub key: &'a PublicKey,
    /// Bit `i` for digit `i`.
    pub kept: u128,
}

impl Reading<'_> {
    fn gives(&self) -> usize {
        (0..value_digits(self.key.bytes()))
            .filter(|digit| self.kept >> digit & 1 == 1)
            .count()
    }
}

/// Verifies the signatures on top of the stack, the first key's uppermost, and leaves the digits that are kept in their
/// place: the first value's uppermost again, each with its highest digit on top. Gives those digits by value and digit.
pub fn verify(a: &mut Assembler, readings: &[Reading<'_>]) -> Vec<Vec<Option<Item>>> {
    let takes = readings.iter().map(|reading| 2 * reading.key.ends().len()).sum();
    let gives = readings.iter().map(Reading::gives).sum();
    a.routine("winternitz", takes, gives, |a| {
        for reading in readings {
            let (value, checksum) = reading.key.ends().split_at(value_digits(reading.key.bytes()));
            for end in value.iter().rev().chain(checksum) {
                chain(a, end);
            }
        }
        let mut values: Vec<_> = readings
            .iter()
            .rev()
            .map(|reading| checksum(a, reading))
            .collect();
        values.reverse();
        values
    })
}

/// Checks the hash below the digit on top, and moves the digit to the alt stack.
fn chain(a: &mut Assembler, end: &[u8; 20]) {
    a.ops(&[OP_DUP, OP_TOALTSTACK, OP_DUP]);
    a.push(HALF);
    a.op(OP_LESSTHAN);
    a.branch(
        |a| {
            a.op(OP_SWAP);
            a.ops(&[OP_HASH160; HALF as usize]);
        },
        |a| {
            a.push(HALF);
            a.ops(&[OP_SUB, OP_SWAP]);
        },
    );
    for _ in 1..HALF {
        a.ops(&[OP_DUP, OP_HASH160]);
    }
    // The digit is below the eight hashes.
    let digit = a.at(HALF as usize);
    a.take(digit);
    a.pick();
    a.push_bytes(end);
    a.op(OP_EQUALVERIFY);
    a.ops(&[OP_2DROP; HALF as usize / 2]);
}

/// Brings a value's digits back from the alt stack, and checks their sum.
fn checksum(a: &mut Assembler, reading: &Reading<'_>) -> Vec<Option<Item>> {
    let bytes = reading.key.bytes();
    a.op(OP_FROMALTSTACK);
    for _ in 1..checksum_digits(bytes) {
        for _ in 0..4 {
            a.ops(&[OP_DUP, OP_ADD]);
        }
        a.ops(&[OP_FROMALTSTACK, OP_ADD]);
    }
    let digits = (0..value_digits(bytes)).map(|digit| {
        a.op(OP_FROMALTSTACK);
        if reading.kept >> digit & 1 == 0 {
            a.op(OP_ADD);
            return None;
        }
        a.ops(&[OP_TUCK, OP_ADD]);
        Some(a.at(1))
    });
    let digits = digits.collect();
    a.push((usize::from(TOP) * value_digits(bytes)) as i64);
    a.op(OP_NUMEQUALVERIFY);
    digits
}
