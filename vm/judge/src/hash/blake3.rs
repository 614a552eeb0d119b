//! BLAKE3 of one 64-byte node in Script, digit by digit.
//!
//! A digit stands on the stack twice as large as it is, so that two tables can lie interleaved: entries of the one at
//! even depths, of the other at odd depths. No table has a push for its depth in the code that reads it, because the
//! values that lead there have the depth in them: the carry of a digit is stored with the depth of the tables that the
//! next digit's sum will read, and the row of a digit is the depth of that row. That works where the stack is equally
//! high whenever a table is read (`Hasher::index` pays for the difference elsewhere).
//!
//! A step of the compression is `s = sum + carry` and `x = y ^ s` for one digit, and at once `other sum += x`. Sums are
//! not reduced to a digit (their carry has already gone to the next digit's chain, and has to go there again after
//! the next addition), until they would leave the tables.

mod steps;
mod tables;

use bitcoin::opcodes::all::*;

use crate::script::{Assembler, Item, MAX_STACK};
use crate::word::Digit;
use steps::Step;
use tables::Tables;

/// Digits of a 32-bit word.
const WORD: usize = 8;
/// Rounds of the compression function.
const ROUNDS: usize = 7;
/// The first four words are also the third.
const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
/// The length of the block and the flags CHUNK_START, CHUNK_END and ROOT, in words 14 and 15.
const LENGTH_AND_FLAGS: [u32; 2] = [64, 11];
/// Where each word of the message comes from, from one round to the next.
const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];

/// A digit of the state: an item that is twice the digit, or twice a sum that has not been reduced; in a sum, together
/// with a known number (`Hasher::bias`).
#[derive(Clone, Copy, Debug)]
struct Part {
    item: Item,
    /// The largest sum that it may be.
    most: usize,
}

type Word = [Part; WORD];

/// Hashes the 128 digits that are the topmost items, in any order, and leaves the first digits of the hash in their
/// place, the lowest on top. Gives them, lowest first.
///
/// The digits have to be 0 to 15, in whatever encoding. It uses all of the stack that is left, as larger tables save
/// bytes, and needs 592 items with the message's.
pub fn hash_node(a: &mut Assembler, message: &[Item; 128], digits: usize) -> Vec<Item> {
    hash_digits(a, &message.map(Digit::Item), digits)
}

/// Does [`hash_node`] where only some of the digits are on the stack.
pub fn hash_digits(a: &mut Assembler, message: &[Digit; 128], digits: usize) -> Vec<Item> {
    a.routine("blake3", items(message), digits, |a| {
        let doubled = hash_doubled(a, message, digits);
        let hash = halve(a, &doubled);
        for (index, digit) in hash.iter().enumerate() {
            a.name(*digit, &format!("hash.{index}"));
        }
        hash
    })
}

/// Does [`hash_digits`], but leaves twice each digit. That is 7 bytes shorter for a digit, where its user can double
/// what it is compared with for 2.
pub fn hash_doubled(a: &mut Assembler, message: &[Digit; 128], digits: usize) -> Vec<Item> {
    assert!((1..=64).contains(&digits), "{digits} digits of a hash");
    let items = items(message);
    a.routine("doubled blake3", items, digits, |a| {
        let bottom = a.len() - items;
        let mut hasher = Hasher::new(a, message, items);
        hasher.rounds(digits);
        hasher.finish(bottom, digits)
    })
}

/// Gives how many digits are on the stack.
fn items(message: &[Digit; 128]) -> usize {
    let on_stack = |digit: &&Digit| matches!(digit, Digit::Item(_));
    message.iter().filter(on_stack).count()
}

/// Halves the topmost items, the first of which is uppermost.
fn halve(a: &mut Assembler, doubled: &[Item]) -> Vec<Item> {
    let halves = Tables::push_halves(a);
    for item in doubled {
        a.take(*item);
        a.look_up(halves);
        a.op(OP_TOALTSTACK);
    }
    a.drop_through(a.at(Tables::HALVES - 1));
    from_alt(a, doubled.len())
}

/// Brings items back from the alt stack; gives them from the top.
fn from_alt(a: &mut Assembler, count: usize) -> Vec<Item> {
    let mut items: Vec<Item> = (0..count).filter_map(|_| a.op(OP_FROMALTSTACK)).collect();
    items.reverse();
    items
}

/// Gives the number of items on the alt stack.
fn alt_len(a: &Assembler) -> usize {
    let mut probe = a.clone();
    probe.mark("alt stack");
    probe.finish().1.last().map_or(0, |mark| mark.alt.len())
}

/// What a hash is written with.
struct Hasher<'a> {
    a: &'a mut Assembler,
    tables: Tables,
    message: [Digit; 128],
    state: Vec<Word>,
    /// The sums that are digits, as the hash is made of them.
    reduced: [bool; 16],
}

impl<'a> Hasher<'a> {
    /// Puts the tables below the message, and the state above it.
    fn new(a: &'a mut Assembler, message: &[Digit; 128], items: usize) -> Self {
        let room = MAX_STACK.checked_sub(a.len() - items + alt_len(a));
        let room = room.expect("a stack within bounds");
        let mut message = *message;
        let mut order = Vec::new();
        for _ in 0..items {
            let item = a.at(0);
            let place = message.iter().position(|digit| *digit == Digit::Item(item));
            order.push(place.expect("the message's digits on top of the stack"));
            a.ops(&[OP_DUP, OP_ADD, OP_TOALTSTACK]);
        }
        let tables = Tables::push(a, items + 16 * WORD, room);
        for place in order.into_iter().rev() {
            message[place] = Digit::Item(a.op(OP_FROMALTSTACK).expect("a digit of the message"));
        }
        let mut hasher = Self {
            a,
            tables,
            message,
            state: Vec::new(),
            reduced: [false; 16],
        };
        hasher.fill();
        hasher
    }

    /// Pushes the state before the first round, with the first additions done.
    fn fill(&mut self) {
        for index in 0..16 {
            let word = match index {
                0..4 => IV[index].wrapping_add(IV[index + 4]),
                4..8 => IV[index],
                8..12 => IV[index - 8],
                12..14 => 0,
                _ => LENGTH_AND_FLAGS[index - 14],
            };
            let parts = core::array::from_fn(|digit| {
                let value = (word >> (4 * digit)) & 15;
                let bias = if matches!(index, 0..4 | 8..12) {
                    self.bias(digit)
                } else {
                    0
                };
                let mut part = Part {
                    item: self.a.push(i64::from(2 * value) + bias),
                    most: value as usize,
                };
                if index < 4 {
                    part.most += self.add_message(2 * index, digit);
                    part.item = self.a.at(0);
                }
                part
            });
            self.state.push(parts);
        }
    }

    /// The known number in a sum's digit, so that the sum leads into the tables: with the lowest digit no carry
    /// comes in, and with the highest no item is left on the stack for a carry out.
    fn bias(&self, digit: usize) -> i64 {
        match digit {
            0 => self.tables.sums,
            7 => -1,
            _ => 0,
        }
    }

    /// Copies a message's digit, where it is on the stack; gives its most.
    fn copy_message(&mut self, word: usize, digit: usize) -> Option<usize> {
        let Digit::Item(item) = self.message[WORD * word + digit] else {
            return None;
        };
        self.a.copy(item);
        Some(15)
    }

    /// Adds a message's digit to the top; gives by how much the sum's most grows.
    fn add_message(&mut self, word: usize, digit: usize) -> usize {
        match self.message[WORD * word + digit] {
            Digit::Item(item) => {
                self.a.copy(item);
                self.a.op(OP_ADD);
                15
            }
            Digit::Constant(0) => 0,
            Digit::Constant(value) => {
                self.a.push(2 * i64::from(value));
                self.a.op(OP_ADD);
                usize::from(value)
            }
        }
    }

    fn rounds(&mut self, digits: usize) {
        let mut words: [usize; 16] = core::array::from_fn(|index| index);
        for round in 0..ROUNDS {
            let next = core::array::from_fn(|index| words[PERMUTATION[index]]);
            self.columns(&words);
            if round + 1 < ROUNDS {
                self.diagonals(&words, Some(&next), 64);
            } else {
                self.diagonals(&words, None, digits);
            }
            words = next;
        }
    }

    /// The first half of a round. The words that come out go at once into the sums of the second half, but for the one
    /// whose sum is not yet done.
    fn columns(&mut self, words: &[usize; 16]) {
        for index in 0..4 {
            let target = (index + 3) % 4;
            let message = words[8 + 2 * target];
            let into = (index > 0).then_some((target, Some(message)));
            self.quarter(
                index,
                [4, 8, 12].map(|row| row + index),
                words[2 * index + 1],
                into,
                None,
            );
        }
        self.add(3, 4, words[14]);
    }

    /// The second half of a round, and the first additions of the next.
    fn diagonals(&mut self, words: &[usize; 16], next: Option<&[usize; 16]>, digits: usize) {
        for index in (0..4).rev() {
            let target = (index + 1) % 4;
            let rows = [4 + target, 8 + (index + 2) % 4, 12 + (index + 3) % 4];
            let into = next
                .filter(|_| index < 3)
                .map(|next| (target, Some(next[2 * target])));
            self.quarter(
                index,
                rows,
                words[9 + 2 * index],
                into,
                next.is_none().then_some(digits),
            );
        }
        if let Some(next) = next {
            self.add(0, 4, next[0]);
        }
    }

    /// The quarter round without its first addition, and with that of the quarter round that needs `b` next.
    fn quarter(
        &mut self,
        a: usize,
        [b, c, d]: [usize; 3],
        message: usize,
        into: Option<(usize, Option<usize>)>,
        last: Option<usize>,
    ) {
        let step = |sum, y, digits, into| Step {
            sum,
            y,
            digits,
            bit: false,
            into,
            last: false,
        };
        self.step(&step(a, d, 4, Some((c, None))));
        self.step(&step(c, b, 3, Some((a, Some(message)))));
        self.step(&Step {
            last: last.is_some(),
            ..step(a, d, 2, Some((c, None)))
        });
        let end = Step {
            last: last.is_some(),
            bit: true,
            ..step(c, b, 2, into)
        };
        if last.is_some_and(|digits| digits <= WORD * b) {
            self.only_sum(&end);
        } else {
            self.step(&end);
        }
    }

    /// Adds a word and a word of the message to a sum.
    fn add(&mut self, sum: usize, word: usize, message: usize) {
        for digit in 0..WORD {
            let Part { item, most } = self.state[sum][digit];
            self.a.take(item);
            self.a.copy(self.state[word][digit].item);
            self.a.op(OP_ADD);
            let most = most + 15 + self.add_message(message, digit);
            self.state[sum][digit] = Part {
                item: self.a.at(0),
                most,
            };
        }
    }

    /// Makes the hash of the last state, and drops everything else.
    fn finish(&mut self, bottom: usize, digits: usize) -> Vec<Item> {
        for place in 0..digits {
            let (word, digit) = (place / WORD, place % WORD);
            self.a.take(self.state[word][digit].item);
            if word >= 4 {
                let by = self.a.len() as i64 - 1 - self.tables.rows() + self.tables.sums;
                self.shift(by);
                self.a.pick();
                self.a.take(self.state[word + 8][digit].item);
                self.a.op(OP_ADD);
                self.index(self.tables.xors());
            }
            self.a.op(OP_TOALTSTACK);
        }
        while self.a.len() > bottom {
            self.a.op(OP_DROP);
        }
        from_alt(self.a, digits)
    }
}
