//! 32-bit words in Script.
//!
//! A word is eight digits. For arithmetic it becomes two *limbs*, the low 28 bits and the top digit, because an operand
//! must be below 2^31.

use bitcoin::opcodes::all::*;

use crate::script::{Assembler, Item};

/// The weight of the top limb.
pub const LOW: i64 = 1 << 28;

/// A digit of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digit {
    /// On the stack.
    Item(Item),
    /// Zero.
    Zero,
}

/// The two limbs of a word: below 2^28, and below 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limbs {
    /// The low 28 bits.
    pub low: Item,
    /// The top four bits.
    pub top: Item,
}

/// Multiplies the top item by a power of two.
pub fn shift_left(a: &mut Assembler, bits: usize) {
    for _ in 0..bits {
        a.ops(&[OP_DUP, OP_ADD]);
    }
}

/// Takes digits, lowest first, and pushes their number; at most seven.
pub fn number(a: &mut Assembler, digits: &[Digit]) -> Item {
    assert!((1..=7).contains(&digits.len()), "a number of one to seven digits");
    let mut started = false;
    for digit in digits.iter().rev() {
        if started {
            shift_left(a, 4);
        }
        if let Digit::Item(item) = digit {
            a.take(*item);
            if started {
                a.op(OP_ADD);
            }
            started = true;
        }
    }
    if !started {
        a.push(0);
    }
    a.at(0)
}

/// Takes a word's digits, lowest first, and pushes its limbs, the low one on top.
pub fn limbs(a: &mut Assembler, digits: &[Digit]) -> Limbs {
    let (low, top) = digits.split_at(7);
    let top = match top[0] {
        Digit::Item(item) => a.take(item),
        Digit::Zero => a.push(0),
    };
    a.op(OP_TOALTSTACK);
    number(a, low);
    a.ops(&[OP_FROMALTSTACK, OP_SWAP]);
    Limbs { low: a.at(0), top }
}

/// Takes limbs of a sum or difference, and makes them a word's: `low` from -2^28 to 2^29 - 1, `top` from -16 to 31.
pub fn reduce(a: &mut Assembler, limbs: Limbs) -> Limbs {
    a.take(limbs.top);
    a.take(limbs.low);
    carry(a, LOW);
    // The carry is on top of the low limb.
    a.ops(&[OP_ROT, OP_ADD]);
    carry(a, 16);
    a.op(OP_DROP);
    Limbs {
        low: a.at(1),
        top: a.at(0),
    }
}

/// Brings the top item, from `-modulus` to `2 * modulus - 1`, into its range, and pushes the carry: -1, 0 or 1.
fn carry(a: &mut Assembler, modulus: i64) {
    a.op(OP_DUP);
    a.push(0);
    a.op(OP_LESSTHAN);
    a.branch(
        |a| {
            a.push(modulus);
            a.op(OP_ADD);
            a.push(-1);
        },
        |a| {
            a.op(OP_DUP);
            a.push(modulus);
            a.op(OP_GREATERTHANOREQUAL);
            a.branch(
                |a| {
                    a.push(modulus);
                    a.op(OP_SUB);
                    a.push(1);
                },
                |a| {
                    a.push(0);
                },
            );
        },
    );
}

/// Takes two words' limbs, and adds them.
pub fn add(a: &mut Assembler, first: Limbs, second: Limbs) -> Limbs {
    combine(a, first, second, OP_ADD)
}

/// Takes two words' limbs, and subtracts the second from the first.
pub fn subtract(a: &mut Assembler, first: Limbs, second: Limbs) -> Limbs {
    combine(a, first, second, OP_SUB)
}

fn combine(a: &mut Assembler, first: Limbs, second: Limbs, opcode: bitcoin::opcodes::Opcode) -> Limbs {
    a.take(first.top);
    a.take(second.top);
    let top = a.op(opcode).expect("a result");
    a.take(first.low);
    a.take(second.low);
    let low = a.op(opcode).expect("a result");
    reduce(a, Limbs { low, top })
}

/// Takes two words' limbs, and verifies that the words differ.
pub fn verify_differ(a: &mut Assembler, first: Limbs, second: Limbs) {
    a.take(first.top);
    a.take(second.top);
    a.op(OP_NUMNOTEQUAL);
    a.take(first.low);
    a.take(second.low);
    a.ops(&[OP_NUMNOTEQUAL, OP_BOOLOR, OP_VERIFY]);
}

/// Takes pairs of digits, and verifies that a pair differs.
pub fn verify_digits_differ(a: &mut Assembler, pairs: &[(Digit, Digit)]) {
    let mut started = false;
    for (first, second) in pairs {
        for digit in [first, second] {
            match digit {
                Digit::Item(item) => a.take(*item),
                Digit::Zero => a.push(0),
            };
        }
        a.ops(&[OP_SUB, OP_ABS]);
        if started {
            a.op(OP_ADD);
        }
        started = true;
    }
    a.op(OP_VERIFY);
}

/// Verifies that a hint `h` is the number `n >= 0` shifted right: `n - 2^bits * h` is in `0..2^bits`. Takes `n` and leaves
/// the hint where it is; gives the remainder, on top.
pub fn split(a: &mut Assembler, n: Item, hint: Item, bits: usize) -> Item {
    a.take(n);
    a.copy(hint);
    shift_left(a, bits);
    a.ops(&[OP_SUB, OP_DUP]);
    a.push(0);
    a.push(1 << bits);
    a.ops(&[OP_WITHIN, OP_VERIFY]);
    a.at(0)
}

/// Takes a digit, and pushes its lowest bits.
pub fn low_bits(a: &mut Assembler, digit: Item, bits: usize) -> Item {
    a.take(digit);
    for weight in [8, 4, 2].into_iter().take(4 - bits) {
        a.op(OP_DUP);
        a.push(weight - 1);
        a.op(OP_GREATERTHAN);
        a.when(|a| {
            a.push(weight);
            a.op(OP_SUB);
        });
    }
    a.at(0)
}

/// Takes two words' limbs, and pushes whether the first is less.
pub fn less(a: &mut Assembler, first: Limbs, second: Limbs, signed: bool) -> Item {
    let [first_top, second_top] = [first.top, second.top].map(|top| {
        a.take(top);
        if signed {
            a.op(OP_DUP);
            a.push(7);
            a.op(OP_GREATERTHAN);
            a.when(|a| {
                a.push(16);
                a.op(OP_SUB);
            });
        }
        a.at(0)
    });
    a.take(first.low);
    a.take(second.low);
    a.op(OP_LESSTHAN);
    a.copy(first_top);
    a.copy(second_top);
    a.ops(&[OP_NUMEQUAL, OP_BOOLAND]);
    a.take(first_top);
    a.take(second_top);
    a.ops(&[OP_LESSTHAN, OP_BOOLOR]);
    a.at(0)
}

/// Verifies that two values differ in the digit that the hint names, counted from the highest. Both lie on the stack with
/// their highest digit uppermost, `digits` long; they stay there. Takes the hint.
pub fn verify_differ_at(a: &mut Assembler, hint: Item, highest: [Item; 2], digits: usize) {
    verify_below(a, hint, digits as i64);
    a.copy(hint);
    a.look_up(highest[0]);
    a.op(OP_TOALTSTACK);
    a.take(hint);
    a.look_up(highest[1]);
    a.ops(&[OP_FROMALTSTACK, OP_NUMNOTEQUAL, OP_VERIFY]);
}

/// Verifies that the item is in `0..end`, and leaves it where it is.
pub fn verify_below(a: &mut Assembler, item: Item, end: i64) {
    a.copy(item);
    a.push(0);
    a.push(end);
    a.ops(&[OP_WITHIN, OP_VERIFY]);
}
