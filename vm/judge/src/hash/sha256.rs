//! One compression of SHA-256 (FIPS 180-4) in Script.
//!
//! A word is eight digits of four bits. A digit is `STRIDE * value + bias` on the stack: so it is an operand of a sum as
//! it is, and mostly also the depth of its entry in a table, so that a look-up is a copy and a PICK. The tables lie below the
//! words. Each round takes as many words away as it adds, so that the tables' depth is the same in all rounds.
//!
//! A rotated digit is the sum of two entries, one for either digit that it comes from. XORs and ANDs are look-ups of sums
//! (see `tables`). Sums of digits are split into a digit and a carry by two look-ups, not before all operands are added.

mod lookups;
mod rounds;
mod tables;

use bitcoin::opcodes::all::*;

use self::lookups::{Digit, Lookups};
use self::rounds::{Operand, Word, rounds, sum};
use self::tables::{PLAN, Plan, STRIDE, Table};
use crate::script::{Assembler, Item};

/// Digits of a word.
const WORD: usize = 8;

/// Compresses a block into a chaining value, both of big-endian words. The digits are the topmost items, in any order; the
/// first digits of the new chaining value are left in their place, the lowest on top. Gives them, lowest first.
///
/// # Panics
/// If other items are on top, or more than 64 digits are wanted.
pub fn compress(a: &mut Assembler, chaining: &[Item; 64], block: &[Item; 128], digits: usize) -> Vec<Item> {
    assert!(digits <= chaining.len(), "{digits} digits of 64");
    let takes = chaining.len() + block.len();
    let deepest = chaining.iter().chain(block).map(|item| a.depth(*item)).max();
    assert!(deepest < Some(takes), "the digits are not on top");
    a.routine("sha256", takes, digits, |a| {
        compress_by(a, &PLAN, chaining, block, digits)
    })
}

fn compress_by(
    a: &mut Assembler,
    plan: &Plan,
    chaining: &[Item; 64],
    block: &[Item; 128],
    digits: usize,
) -> Vec<Item> {
    let bottom = a.len() - chaining.len() - block.len();
    translate(a, plan.message, &words(block));
    translate(a, plan.bias(Table::Digit), &words(chaining));
    let chaining = lay_out(a, plan);
    let floor = a.len();
    let block: Vec<Word> = (0..block.len() / WORD)
        .map(|_| word_from_alt(a, plan.message))
        .collect();
    // The oldest words are the deepest: h and d.
    let mut state = chaining.clone();
    for index in [7, 3, 6, 2, 5, 1, 4, 0] {
        state[index] = chaining[index].map(|digit| Digit {
            item: a.copy(digit.item),
            ..digit
        });
    }
    let mut lookups = Lookups { a, plan, floor };
    let state = rounds(&mut lookups, state, block);
    for index in 0..digits.div_ceil(WORD) {
        let wanted = WORD.min(digits - index * WORD);
        output(&mut lookups, &state[index], &chaining[index], wanted);
    }
    for _ in bottom..a.len() {
        a.op(OP_DROP);
    }
    plain(a, plan.bias(Table::Digit), digits)
}

/// Brings digits with the stride and a bias from the alt stack and frees them of both. Gives them, the last that was brought
/// first: it is on top.
fn plain(a: &mut Assembler, bias: i64, digits: usize) -> Vec<Item> {
    let entries = (0..=15 * STRIDE).rev();
    let entries = entries.map(|entry| if entry % STRIDE == 0 { entry / STRIDE } else { 0 });
    let pushed: Vec<Item> = entries.map(|entry| a.push(entry)).collect();
    for above in 0..digits as i64 {
        a.op(OP_FROMALTSTACK);
        a.push(bias - above);
        a.op(OP_SUB);
        a.pick();
    }
    for _ in 0..digits {
        a.op(OP_TOALTSTACK);
    }
    a.drop_through(pushed[0]);
    let mut items: Vec<Item> = (0..digits)
        .map(|_| a.op(OP_FROMALTSTACK).expect("a digit"))
        .collect();
    items.reverse();
    items
}

/// The place among a word's digits as bytes have them, big-endian, of the digit `index` by weight; and the reverse.
const fn place(index: usize) -> usize {
    2 * (3 - index / 2) + index % 2
}

/// Gives words of digits by weight, lowest first.
fn words(digits: &[Item]) -> Vec<[Item; WORD]> {
    let words = digits.chunks_exact(WORD);
    words
        .map(|word| std::array::from_fn(|index| word[place(index)]))
        .collect()
}

/// Moves words to the alt stack, each digit with the stride and a bias: the last word first, the first word's lowest digit
/// last.
fn translate(a: &mut Assembler, bias: i64, words: &[[Item; WORD]]) {
    let entries = (0..16).rev().map(|digit| STRIDE * digit + bias);
    let first = entries
        .map(|entry| a.push(entry))
        .last()
        .expect("sixteen entries");
    for digit in words.iter().rev().flat_map(|word| word.iter().rev()) {
        a.take(*digit);
        a.look_up(first);
        a.op(OP_TOALTSTACK);
    }
    a.drop_through(a.at(15));
}

/// Brings a word of digits with a bias from the alt stack.
fn word_from_alt(a: &mut Assembler, bias: i64) -> Word {
    std::array::from_fn(|_| Digit {
        item: a.op(OP_FROMALTSTACK).expect("a digit"),
        bias,
    })
}

/// Pushes the tables; the chaining value's digits, which are not needed until the end, fill the holes. Gives its words.
fn lay_out(a: &mut Assembler, plan: &Plan) -> Vec<Word> {
    let entries = plan.entries().expect("tables that do not overlap");
    let mut chaining = Vec::with_capacity(64);
    let holes = entries.iter().filter(|entry| entry.is_none()).count();
    for _ in holes..64 {
        chaining.extend(a.op(OP_FROMALTSTACK));
    }
    for entry in entries.iter().rev() {
        match entry {
            Some(entry) => drop(a.push(*entry)),
            None if chaining.len() < 64 => chaining.extend(a.op(OP_FROMALTSTACK)),
            None => drop(a.push(0)),
        }
    }
    let bias = plan.bias(Table::Digit);
    let digits: Vec<Digit> = chaining.into_iter().map(|item| Digit { item, bias }).collect();
    let words = digits.chunks_exact(WORD);
    words.map(|word| word.try_into().expect("eight digits")).collect()
}

/// Adds a word of the chaining value and moves the first digits of the sum to the alt stack, as bytes have them.
fn output(lookups: &mut Lookups<'_>, state: &Word, chaining: &Word, wanted: usize) {
    let wanted_bias = lookups.plan.bias(Table::Digit);
    let sum = sum(lookups, wanted_bias, None, |index| {
        let operands = vec![
            (Operand::Copy(chaining[index]), 1),
            (Operand::Take(state[index]), 1),
        ];
        (operands, 0)
    });
    for index in 0..wanted {
        lookups.take(sum[place(index)]);
        lookups.a.op(OP_TOALTSTACK);
    }
}
