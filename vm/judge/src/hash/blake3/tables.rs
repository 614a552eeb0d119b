//! The tables, and the numbers that lead to them.

use crate::script::{Assembler, Item};

/// How many sums the tables know, of single digits with a carry.
pub(super) const RANGE: usize = 80;

/// Order of the quarters of rows, so that each row of the four with one `row % 4` is somewhere in it.
const QUARTERS: [usize; 11] = [0, 1, 2, 3, 0, 1, 0, 3, 2, 1, 0];
/// Where in it a row begins, by `row / 4`.
const BEGINS: [usize; 4] = [0, 5, 2, 7];

/// Where the tables lie. All numbers are twice what they would be for one table alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    /// The height of the stack when all words are on it, and nothing else.
    height: i64,
    sums: i64,
    bits: i64,
}

impl Tables {
    /// Pushes the tables, below as many items.
    pub(super) fn push(a: &mut Assembler, above: usize) -> Self {
        let xors = xors();
        let bits = 64;
        let height = (a.len() + xors.len() + bits + 2 * RANGE + above) as i64;
        let top = a.len() + xors.len() + bits + 2 * RANGE;
        // Entry 1 of each pair of tables is the one whose depth is known.
        let tables = Self {
            height,
            sums: height - top as i64 + 1,
            bits: height + 1 - (top - 2 * RANGE) as i64 + 1,
        };
        for value in xors.iter().rev() {
            a.push(*value);
        }
        let above_xors = height - (top - 2 * RANGE - bits) as i64;
        for entry in (0..32).rev() {
            let (bit, digit) = (entry / 16, entry % 16);
            a.push(tables.bits + 32 * i64::from(digit >= 8));
            a.push(4 * digit % 32 + 2 * bit);
        }
        for sum in (0..RANGE).rev() {
            a.push(tables.sums + 2 * (sum as i64 / 16));
            let row = sum % 16;
            let tape = (row % 4) / 2;
            let place = (row % 4 % 2) * QUARTERS.len() * 4 + BEGINS[row / 4] * 4;
            a.push(above_xors + (2 * place + tape) as i64);
        }
        tables
    }

    /// Pushes the halves of twice a digit.
    pub(super) fn push_halves(a: &mut Assembler) -> Item {
        for entry in (0..31).rev() {
            a.push(entry / 2);
        }
        a.at(0)
    }

    /// The number that leads to the entries of the sum 0.
    pub(super) fn sums(&self) -> i64 {
        self.sums
    }

    /// The number that leads to the entries of the digit 0 with no bit from below.
    pub(super) fn bits(&self) -> i64 {
        self.bits
    }

    /// The height for [`Self::sums`] to lead to the carry.
    pub(super) fn carries(&self) -> i64 {
        self.height
    }

    /// The height for [`Self::sums`] to lead to the row.
    pub(super) fn rows(&self) -> i64 {
        self.height + 1
    }

    /// The height for a row and twice a digit to lead to twice their XOR.
    pub(super) fn xors(&self) -> i64 {
        self.height
    }

    /// The height for [`Self::bits`] to lead to the number that leads the next digit there.
    pub(super) fn high_bits(&self) -> i64 {
        self.height + 1
    }

    /// The height for [`Self::bits`] to lead to twice the digit after the rotation.
    pub(super) fn low_bits(&self) -> i64 {
        self.height + 2
    }
}

/// The rows, in two interleaved sequences.
fn xors() -> Vec<i64> {
    let tape = |tape: usize| {
        let rows = [2 * tape, 2 * tape + 1].into_iter();
        rows.flat_map(|low| {
            let quarters = QUARTERS.into_iter();
            quarters
                .flat_map(move |quarter| (0..4).map(move |column| 2 * (4 * quarter + (low ^ column)) as i64))
        })
    };
    tape(0).zip(tape(1)).flat_map(|(even, odd)| [even, odd]).collect()
}
