//! Code that looks numbers up, and knows what is added to each.

use bitcoin::opcodes::all::*;

use super::tables::{Part, Plan, STRIDE, Table};
use crate::script::{Assembler, Item};

/// A digit on the stack, as a number to which `bias` is added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digit {
    pub(super) item: Item,
    pub(super) bias: i64,
}

/// Writes code above the tables.
pub(super) struct Lookups<'a> {
    pub(super) a: &'a mut Assembler,
    pub(super) plan: &'a Plan,
    /// The number of items on the main stack, when the uppermost entry is on top.
    pub(super) floor: usize,
}

/// One operation of a function of digits, on numbers whose biases are known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Looks up a digit.
    Look(Part, Digit),
    /// Replaces the number on top by what a table has for it.
    Map(Part),
    Add,
    Dup,
    Swap,
    /// Moves the number on top to the alt stack.
    Save,
}

impl Lookups<'_> {
    /// Copies a digit to the top; gives its bias, as all that follow do.
    pub(super) fn copy(&mut self, digit: Digit) -> i64 {
        self.a.copy(digit.item);
        digit.bias
    }

    /// Moves a digit to the top.
    pub(super) fn take(&mut self, digit: Digit) -> i64 {
        self.a.take(digit.item);
        digit.bias
    }

    /// Runs a function, which leaves one number.
    pub(super) fn run(&mut self, steps: &[Step]) -> i64 {
        let mut biases: Vec<i64> = Vec::new();
        for step in steps {
            let bias = match *step {
                Step::Look(table, digit) => {
                    let bias = self.copy(digit);
                    self.look(table, bias)
                }
                Step::Map(table) => {
                    let bias = biases.pop().expect("a number");
                    self.look(table, bias)
                }
                Step::Add => {
                    self.a.op(OP_ADD);
                    biases.pop().expect("a number") + biases.pop().expect("a second number")
                }
                Step::Save => {
                    self.a.op(OP_TOALTSTACK);
                    biases.pop().expect("a number");
                    continue;
                }
                Step::Dup => {
                    self.a.op(OP_DUP);
                    *biases.last().expect("a number")
                }
                Step::Swap => {
                    self.a.op(OP_SWAP);
                    let below = biases.len().checked_sub(2).expect("two numbers");
                    biases.remove(below)
                }
            };
            biases.push(bias);
        }
        assert_eq!(biases.len(), 1, "a function leaves one number");
        biases[0]
    }

    /// Replaces the number on top by what a table has for it.
    ///
    /// It is in the table's range whatever the witness is: digits are 0..=15, and sums are bounded by their operands.
    pub(super) fn look(&mut self, part: impl Into<Part>, bias: i64) -> i64 {
        let (table, first) = part.into();
        let above = (self.a.len() - 1 - self.floor) as i64;
        self.add(above + self.plan.place(table) + STRIDE * first - bias);
        self.a.pick();
        self.plan.bias(table)
    }

    /// Splits the sum on top, which lacks `constant`, into its digit, with a bias of `wanted`, and the carry on top of it.
    /// Gives the digit and the carry's bias.
    pub(super) fn split(&mut self, bias: i64, constant: i64, wanted: i64) -> (Digit, i64) {
        // Below each index lies the other copy of the sum, or what has come of it.
        let above = (self.a.len() - self.floor) as i64;
        let (digit, carry) = (self.plan.place(Table::Digit), self.plan.place(Table::Carry));
        self.add(above + digit - bias + STRIDE * constant);
        self.a.op(OP_DUP);
        self.a.pick();
        let digit_found = self.rebias(wanted);
        self.a.op(OP_SWAP);
        self.add(carry - digit);
        self.a.pick();
        (digit_found, self.plan.bias(Table::Carry))
    }

    /// Replaces the sum on top, which lacks `constant`, by its digit with a bias of `wanted`.
    pub(super) fn reduce(&mut self, bias: i64, constant: i64, wanted: i64) -> Digit {
        self.look(Table::Digit, bias - STRIDE * constant);
        self.rebias(wanted)
    }

    /// Gives the digit on top, which has just been looked up, another bias.
    fn rebias(&mut self, wanted: i64) -> Digit {
        self.add(wanted - self.plan.bias(Table::Digit));
        Digit {
            item: self.a.at(0),
            bias: wanted,
        }
    }

    /// Adds a number that is known.
    pub(super) fn add(&mut self, number: i64) {
        match number {
            0 => {}
            1 => drop(self.a.op(OP_1ADD)),
            -1 => drop(self.a.op(OP_1SUB)),
            _ => {
                // The shortest pushes are of positive numbers.
                self.a.push(number.abs());
                self.a.op(if number < 0 { OP_SUB } else { OP_ADD });
            }
        }
    }
}
