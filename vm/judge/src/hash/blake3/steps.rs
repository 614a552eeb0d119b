//! The steps of a quarter round.

use bitcoin::opcodes::all::*;

use super::{Hasher, Part, WORD};
use crate::script::Item;

/// A step of the quarter round: `sum` goes into `y`, and `y`, rotated, to another sum.
pub(super) struct Step {
    /// The word that is a sum.
    pub(super) sum: usize,
    /// The word that is changed.
    pub(super) y: usize,
    /// How many digits the result is rotated to the right.
    pub(super) digits: usize,
    /// Whether it is then rotated a bit to the left.
    pub(super) bit: bool,
    /// The sum that the result is added to, and the message's word that is added with it.
    pub(super) into: Option<(usize, Option<usize>)>,
    /// Whether the sum has to be a digit afterwards, because the hash is made of it.
    pub(super) last: bool,
}

impl Hasher<'_> {
    /// Does a step for all digits.
    pub(super) fn step(&mut self, step: &Step) {
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
                    // It is done when the highest digit is known; until then it lies in the place of its operand.
                    self.a.ops(&[OP_SWAP, OP_OVER]);
                    self.a.push(self.tables.bits);
                    self.a.op(OP_ADD);
                } else {
                    self.a.ops(&[OP_FROMALTSTACK, OP_ADD]);
                    self.rotated(step, target, digit + 1 == WORD);
                }
            } else {
                self.store(step, target, digit + 1 == WORD);
            }
        }
        self.reduced[step.sum] |= step.last;
        if let Some((x, target)) = first {
            self.index(self.tables.high_bits());
            self.a.take(x);
            self.a.op(OP_ADD);
            self.index(self.tables.low_bits());
            self.store(step, target, true);
        }
    }

    /// Whether a sum would leave the tables with the next addition.
    fn is_full(&self, sum: usize) -> bool {
        let more = if sum < 4 { 30 } else { 15 };
        let mut carry = 0;
        self.state[sum].iter().any(|part| {
            let most = part.most + more + carry;
            carry = most / 16;
            most >= self.tables.range
        })
    }

    /// Leaves the sum of a digit and its row, or only the row for the highest digit; gives the sum's most.
    fn sum(&mut self, step: &Step, digit: usize, carry: usize, reduce: bool) -> usize {
        let part = self.state[step.sum][digit];
        let most = part.most + carry;
        assert!(most < self.tables.range, "a sum of {most}");
        let highest = digit + 1 == WORD;
        if digit > 0 {
            self.index(self.tables.carries());
        }
        // The word that this one makes a word of the hash with. Where it is known, no other digit is needed.
        let other = step.sum ^ 8;
        let hash = step.last && self.reduced[other];
        if reduce && !hash {
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
            if hash {
                self.a.take(self.state[other][digit].item);
                self.a.ops(&[OP_OVER, OP_ADD]);
            } else {
                self.a.op(OP_DUP);
            }
            let item = self.index(self.tables.xors());
            if step.last {
                self.state[if hash { step.sum % 8 } else { step.sum }][digit] = Part { item, most: 15 };
            } else {
                let item = self.shift(self.bias(digit)).unwrap_or(item);
                self.state[step.sum][digit] = Part { item, most: 15 };
            }
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
        // The message's digit makes the stack as high as it has to be.
        let message = step.into.and_then(|(_, word)| self.copy_message(word?, target));
        self.a.op(if message.is_some() { OP_OVER } else { OP_DUP });
        let item = self.index(self.tables.low_bits());
        self.state[step.y][target] = Part { item, most: 15 };
        if let Some((sum, word)) = step.into {
            let Part { item, mut most } = self.state[sum][target];
            if let Some(more) = message {
                self.a.ops(&[OP_TUCK, OP_ADD]);
                self.a.take(item);
                self.a.op(OP_ADD);
                most += 15 + more;
            } else {
                self.a.take(item);
                self.a.ops(&[OP_OVER, OP_ADD]);
                most += 15 + word.map_or(0, |word| self.add_message(word, target));
            }
            self.state[sum][target] = Part {
                item: self.a.at(0),
                most,
            };
        }
        match (step.into.is_some(), highest) {
            (true, true) => drop(self.a.op(OP_ROT)),
            (true, false) => drop(self.a.op(OP_2SWAP)),
            (false, true) => drop(self.a.op(OP_SWAP)),
            (false, false) => drop(self.a.ops(&[OP_ROT, OP_ROT])),
        }
    }

    /// Adds a known number to the top; gives the new top where that is another.
    pub(super) fn shift(&mut self, by: i64) -> Option<Item> {
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
    pub(super) fn index(&mut self, height: i64) -> Item {
        let by = self.a.len() as i64 - 1 - height;
        self.shift(by);
        self.a.pick()
    }

    /// Does a step for its sum alone.
    pub(super) fn only_sum(&mut self, step: &Step) {
        let mut carry = 0;
        for digit in 0..WORD {
            carry = self.sum(step, digit, carry, true) / 16;
            self.a.op(OP_DROP);
        }
        self.reduced[step.sum] = true;
    }
}
