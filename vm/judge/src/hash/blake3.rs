//! BLAKE3 of one 64-byte node in Script, digit by digit.
//!
//! A digit stands on the stack twice as large as it is, so that two tables can lie interleaved: entries of the one at
//! even depths, of the other at odd depths. No table has a push for its depth in the code that reads it, because the
//! values that lead there have the depth in them: the carry of a digit is stored with the depth of the tables that the
//! next digit's sum will read, and the row of a digit is the depth of that row. That works where the stack is equally
//! high whenever a table is read ([`Hasher::index`] pays for the difference elsewhere).
//!
//! A step of the compression is `s = sum + carry` and `x = y ^ s` for one digit, and at once `other sum += x`. Sums are
//! not reduced to a digit (their carry has already gone to the next digit's chain, and has to go there again after
//! the next addition), until they would leave the tables.

mod tables;

use bitcoin::opcodes::all::*;

use crate::script::{Assembler, Item};
use tables::{RANGE, Tables};

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

/// A digit of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digit {
    /// On the stack.
    Item(Item),
    /// Known when the Script is written.
    Constant(u8),
}

/// A digit of the state: an item that is twice the digit, or twice a sum that has not been reduced, and a known number.
#[derive(Clone, Copy, Debug)]
struct Part {
    item: Item,
    /// The largest sum that it may be.
    most: usize,
}

type Word = [Part; WORD];

/// Hashes the 128 digits that are the topmost items, in any order, and leaves the first digits of the hash in their
/// place, the lowest on top. Gives them, lowest first.
pub fn hash_node(a: &mut Assembler, message: &[Item; 128], digits: usize) -> Vec<Item> {
    hash_digits(a, &message.map(Digit::Item), digits)
}

/// Does [`hash_node`] where only some of the digits are on the stack.
pub fn hash_digits(a: &mut Assembler, message: &[Digit; 128], digits: usize) -> Vec<Item> {
    assert!((1..=64).contains(&digits), "{digits} digits of a hash");
    let items = message
        .iter()
        .filter(|digit| matches!(digit, Digit::Item(_)))
        .count();
    a.routine("blake3", items, digits, |a| {
        let bottom = a.len() - items;
        let mut hasher = Hasher::new(a, message, items);
        hasher.rounds();
        hasher.finish(bottom, digits)
    })
}

/// A step of the quarter round: `sum` goes into `y`, and `y`, rotated, to another sum.
struct Step {
    /// The word that is a sum.
    sum: usize,
    /// The word that is changed.
    y: usize,
    /// How many digits the result is rotated to the right.
    digits: usize,
    /// Whether it is then rotated a bit to the left.
    bit: bool,
    /// The sum that the result is added to, and the message's word that is added with it.
    into: Option<(usize, Option<usize>)>,
    /// Whether the sum has to be a digit afterwards, because the hash is made of it.
    last: bool,
}

struct Hasher<'a> {
    a: &'a mut Assembler,
    tables: Tables,
    message: [Digit; 128],
    state: Vec<Word>,
}

impl<'a> Hasher<'a> {
    /// Puts the tables below the message, and the state above it.
    fn new(a: &'a mut Assembler, message: &[Digit; 128], items: usize) -> Self {
        let mut message = *message;
        let mut order = Vec::new();
        for _ in 0..items {
            let item = a.at(0);
            let place = message.iter().position(|digit| *digit == Digit::Item(item));
            order.push(place.expect("the message's digits on top of the stack"));
            a.ops(&[OP_DUP, OP_ADD, OP_TOALTSTACK]);
        }
        let tables = Tables::push(a, items + 16 * WORD);
        for place in order.into_iter().rev() {
            message[place] = Digit::Item(a.op(OP_FROMALTSTACK).expect("a digit of the message"));
        }
        let mut hasher = Self {
            a,
            tables,
            message,
            state: Vec::new(),
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
            0 => self.tables.sums(),
            7 => -1,
            _ => 0,
        }
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

    fn rounds(&mut self) {
        let mut words: [usize; 16] = core::array::from_fn(|index| index);
        for round in 0..ROUNDS {
            let next = core::array::from_fn(|index| words[PERMUTATION[index]]);
            self.columns(&words);
            self.diagonals(&words, (round + 1 < ROUNDS).then_some(&next));
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
                false,
            );
        }
        self.add(3, 4, words[14]);
    }

    /// The second half of a round, and the first additions of the next.
    fn diagonals(&mut self, words: &[usize; 16], next: Option<&[usize; 16]>) {
        for index in (0..4).rev() {
            let target = (index + 1) % 4;
            let rows = [4 + target, 8 + (index + 2) % 4, 12 + (index + 3) % 4];
            let into = next
                .filter(|_| index < 3)
                .map(|next| (target, Some(next[2 * target])));
            self.quarter(index, rows, words[9 + 2 * index], into, next.is_none());
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
        last: bool,
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
            last,
            ..step(a, d, 2, Some((c, None)))
        });
        self.step(&Step {
            last,
            bit: true,
            ..step(c, b, 2, into)
        });
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

    fn step(&mut self, step: &Step) {
        let mut carry = 0;
        let y = self.state[step.y];
        let mut first = None;
        // All digits or none, as the carries go from the sums to the digits.
        let reduce = step.last || self.is_full(step.sum);
        for (digit, y) in y.into_iter().enumerate() {
            let target = (digit + WORD - step.digits) % WORD;
            if step.bit && digit > 0 {
                // The bit that the digit below has lost.
                self.index(self.tables.high_bits());
                self.a.op(OP_TOALTSTACK);
            }
            carry = self.sum(step, digit, carry, reduce) / 16;
            self.a.take(y.item);
            self.a.op(OP_ADD);
            let x = self.index(self.tables.xors());
            if step.bit {
                if digit == 0 {
                    first = Some((x, target));
                    self.a.op(OP_SWAP);
                    self.a.op(OP_OVER);
                    self.a.push(self.tables.bits());
                    self.a.op(OP_ADD);
                } else {
                    self.a.ops(&[OP_FROMALTSTACK, OP_ADD]);
                    self.rotated(step, target, digit + 1 == WORD);
                }
            } else {
                self.store(step, target, digit + 1 == WORD);
            }
        }
        if let Some((x, target)) = first {
            self.index(self.tables.high_bits());
            self.a.take(x);
            self.a.op(OP_ADD);
            self.rotated_last(step, target);
        }
    }

    /// Whether a sum would leave the tables with the next addition.
    fn is_full(&self, sum: usize) -> bool {
        let more = if sum < 4 { 30 } else { 15 };
        let mut carry = 0;
        self.state[sum].iter().any(|part| {
            let most = part.most + more + carry;
            carry = most / 16;
            most >= RANGE
        })
    }

    /// Leaves the sum of a digit and its row, or only the row for the highest digit; gives the sum's most.
    fn sum(&mut self, step: &Step, digit: usize, carry: usize, reduce: bool) -> usize {
        let part = self.state[step.sum][digit];
        let most = part.most + carry;
        assert!(most < RANGE, "a sum of {most}");
        let highest = digit + 1 == WORD;
        if digit > 0 {
            self.index(self.tables.carries());
        }
        if reduce {
            self.a.take(part.item);
        } else {
            self.a.copy(part.item);
        }
        if digit > 0 {
            self.a.op(OP_ADD);
        }
        if !highest {
            self.a.op(OP_DUP);
        }
        self.index(self.tables.rows() + if highest { -1 } else { 0 });
        if reduce {
            self.a.op(OP_DUP);
            let mut item = self.index(self.tables.xors());
            let bias = if step.last { 0 } else { self.bias(digit) };
            item = self.shift(bias).unwrap_or(item);
            self.state[step.sum][digit] = Part { item, most: 15 };
            if highest {
                self.a.op(OP_SWAP);
            } else {
                self.a.ops(&[OP_ROT, OP_ROT]);
            }
        }
        most
    }

    /// Adds the digit on top to a sum, and puts both below the running sum.
    fn store(&mut self, step: &Step, target: usize, highest: bool) {
        self.state[step.y][target] = Part {
            item: self.a.at(0),
            most: 15,
        };
        match step.into {
            Some((sum, message)) => {
                let Part { item, most } = self.state[sum][target];
                self.a.take(item);
                self.a.ops(&[OP_OVER, OP_ADD]);
                let more = message.map_or(0, |word| self.add_message(word, target));
                self.state[sum][target] = Part {
                    item: self.a.at(0),
                    most: most + 15 + more,
                };
                if !highest {
                    self.a.op(OP_ROT);
                }
            }
            None if !highest => drop(self.a.op(OP_SWAP)),
            None => {}
        }
    }

    /// Finds the digit after the rotation by a bit, adds it to a sum, and puts both below the running values.
    fn rotated(&mut self, step: &Step, target: usize, highest: bool) {
        self.a.op(OP_DUP);
        let item = self.index(self.tables.low_bits());
        self.state[step.y][target] = Part { item, most: 15 };
        if let Some((sum, message)) = step.into {
            let Part { item, most } = self.state[sum][target];
            self.a.take(item);
            self.a.ops(&[OP_OVER, OP_ADD]);
            let more = message.map_or(0, |word| self.add_message(word, target));
            self.state[sum][target] = Part {
                item: self.a.at(0),
                most: most + 15 + more,
            };
        }
        match (step.into.is_some(), highest) {
            (true, true) => drop(self.a.op(OP_ROT)),
            (true, false) => drop(self.a.op(OP_2SWAP)),
            (false, true) => drop(self.a.op(OP_SWAP)),
            (false, false) => drop(self.a.ops(&[OP_ROT, OP_ROT])),
        }
    }

    fn rotated_last(&mut self, step: &Step, target: usize) {
        self.index(self.tables.low_bits());
        self.store(step, target, true);
    }

    /// Adds a known number to the top; gives the new top where that is another.
    fn shift(&mut self, by: i64) -> Option<Item> {
        match by {
            0 => None,
            1 => self.a.op(OP_1ADD),
            -1 => self.a.op(OP_1SUB),
            by => {
                self.a.push(by);
                self.a.op(OP_ADD)
            }
        }
    }

    /// Reads a table at the top, which would be right if the stack were `height` high without it.
    fn index(&mut self, height: i64) -> Item {
        let by = self.a.len() as i64 - 1 - height;
        self.shift(by);
        self.a.pick()
    }

    /// Makes the hash of the last state, and drops everything else.
    fn finish(&mut self, bottom: usize, digits: usize) -> Vec<Item> {
        let halves = Tables::push_halves(self.a);
        for place in 0..digits {
            let (word, digit) = (place / WORD, place % WORD);
            self.a.take(self.state[word][digit].item);
            let by = self.a.len() as i64 - 1 - self.tables.rows() + self.tables.sums();
            self.shift(by);
            self.a.pick();
            self.a.take(self.state[word + 8][digit].item);
            self.a.op(OP_ADD);
            self.index(self.tables.xors());
            self.a.look_up(halves);
            self.a.op(OP_TOALTSTACK);
        }
        while self.a.len() > bottom {
            self.a.op(OP_DROP);
        }
        let mut hash: Vec<Item> = (0..digits)
            .map(|_| self.a.op(OP_FROMALTSTACK).expect("a digit of the hash"))
            .collect();
        hash.reverse();
        hash
    }
}
