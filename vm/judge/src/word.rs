//! 32-bit words in Script.
//!
//! A word is eight digits. For arithmetic it becomes two *limbs*, the low 28 bits and the top digit, because an operand
//! must be below 2^31.

use bitcoin::opcodes::all::*;

use crate::script::{Assembler, Item};

/// The hint that points at a digit that differs, counted from the uppermost of the first digits.
pub const AT: &str = "at";

/// The weight of the top limb.
pub const LOW: i64 = 1 << 28;

/// A digit of a word or of what is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digit {
    /// On the stack.
    Item(Item),
    /// Known when the Script is written.
    Constant(u8),
}

impl Digit {
    /// Brings it to the top.
    fn take(self, a: &mut Assembler) -> Item {
        match self {
            Self::Item(item) => a.take(item),
            Self::Constant(value) => a.push(i64::from(value)),
        }
    }
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
        if *digit != Digit::Constant(0) {
            digit.take(a);
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
    let top = top[0].take(a);
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
        first.take(a);
        second.take(a);
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

/// Takes a digit, and pushes it with the sign of a word whose highest digit it is.
pub fn signed_digit(a: &mut Assembler, digit: Item) -> Item {
    a.take(digit);
    a.op(OP_DUP);
    a.push(7);
    a.op(OP_GREATERTHAN);
    a.when(|a| {
        a.push(16);
        a.op(OP_SUB);
    });
    a.at(0)
}

/// Takes a word's highest digit, and pushes the digit that extends its sign: 15 or zero.
pub fn sign_digit(a: &mut Assembler, highest: Item) -> Item {
    a.take(highest);
    a.push(7);
    a.op(OP_GREATERTHAN);
    a.branch(
        |a| {
            a.push(15);
        },
        |a| {
            a.push(0);
        },
    );
    a.at(0)
}

/// Takes two words' limbs, and pushes whether the first is less.
pub fn less(a: &mut Assembler, first: Limbs, second: Limbs, signed: bool) -> Item {
    let [first_top, second_top] =
        [first.top, second.top].map(|top| if signed { signed_digit(a, top) } else { a.take(top) });
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

/// Verifies that digits differ where the hint points, and takes the hint. Both are lowest first; the first are the topmost items, either way
/// up, and the second are somewhere below, the highest on top.
pub fn verify_differ_at(a: &mut Assembler, hint: Item, first: &[Item], second: &[Item]) {
    let last = first.len() - 1;
    let lowest_on_top = a.depth(first[0]) == 0;
    point(a, hint, first);
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
pub fn point(a: &mut Assembler, hint: Item, digits: &[Item]) {
    let last = digits.len() - 1;
    let depths = [digits[0], digits[last]].map(|item| a.depth(item));
    assert!(depths.contains(&0) && depths.contains(&last), "digits on top");
    a.take(hint);
    a.push(last as i64);
    a.ops(&[OP_MIN, OP_DUP, OP_TOALTSTACK]);
    a.pick();
    a.op(OP_FROMALTSTACK);
}

/// Verifies that the item is in `0..end`, and leaves it where it is.
pub fn verify_below(a: &mut Assembler, item: Item, end: i64) {
    a.copy(item);
    a.push(0);
    a.push(end);
    a.ops(&[OP_WITHIN, OP_VERIFY]);
}
