//! The tables, and the numbers that lead to them.

use bitcoin::opcodes::all::OP_OVER;

use crate::script::{Assembler, Item};

/// The order of the even rows of the XOR table in which they overlap most; the odd rows follow in the same order.
const ROWS: [usize; 8] = [14, 6, 10, 2, 12, 4, 8, 0];
/// Items above all words while a step runs, with the push of a depth.
const WORKING: usize = 4;
/// Sums that no word reaches before the last round.
const MOST: usize = 176;

/// Where the tables lie. All numbers are twice what they would be for one table alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    /// The height of the stack when all words are on it, and nothing else.
    height: i64,
    /// The number that leads to the entries of the sum 0.
    pub(super) sums: i64,
    /// The number that leads to the entries of the digit 0 with no bit from below.
    pub(super) bits: i64,
    /// How many sums the tables know.
    pub(super) range: usize,
}

impl Tables {
    /// Pushes the tables, below as many items; `room` is for both, and what is done with them.
    pub(super) fn push(a: &mut Assembler, above: usize, room: usize) -> Self {
        let (xors, rows) = xors();
        let bits = 64;
        let left = room.checked_sub(xors.len() + bits + above + WORKING);
        // A word's sum grows by 30 or 15, with a carry of one in 16.
        let range = (left.expect("room for the tables") / 32 * 16).min(MOST);
        assert!(range >= 48, "room for a single addition");
        let height = (a.len() + xors.len() + bits + 2 * range + above) as i64;
        let top = a.len() + xors.len() + bits + 2 * range;
        // Entry 1 of each pair of tables is the one whose depth is known.
        let tables = Self {
            height,
            sums: height - top as i64 + 1,
            bits: height + 1 - (top - 2 * range) as i64 + 1,
            range,
        };
        for value in xors.iter().rev() {
            a.push(*value);
        }
        let above_xors = height - (top - 2 * range - bits) as i64;
        for entry in (0..32).rev() {
            let (bit, digit) = (entry / 16, entry % 16);
            Self::again(
                a,
                tables.bits + 32 * i64::from(digit >= 8),
                digit != 15 && digit != 7,
            );
            a.push(4 * digit % 32 + 2 * bit);
        }
        for sum in (0..range).rev() {
            Self::again(
                a,
                tables.sums + 2 * (sum as i64 / 16),
                sum % 16 != 15 && sum + 1 < range,
            );
            a.push(above_xors + rows[sum % 16]);
        }
        tables
    }

    /// Pushes a number, by a copy where it is the last but one too.
    fn again(a: &mut Assembler, value: i64, repeated: bool) {
        if repeated {
            a.op(OP_OVER);
        } else {
            a.push(value);
        }
    }

    /// Entries of the table of halves.
    pub(super) const HALVES: usize = 31;

    /// Pushes the halves of twice a digit.
    pub(super) fn push_halves(a: &mut Assembler) -> Item {
        for entry in (0..Self::HALVES).rev() {
            a.push(entry as i64 / 2);
        }
        a.at(0)
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

/// The rows, in two interleaved sequences, and where each begins.
fn xors() -> (Vec<i64>, [i64; 16]) {
    let mut begins = [0; 16];
    let mut tape = |odd: usize| {
        let mut tape: Vec<usize> = Vec::new();
        for row in ROWS.map(|row| row + odd) {
            let entries: Vec<usize> = (0..16).map(|column| row ^ column).collect();
            let shared = (0..=16).rev().find(|shared| tape.ends_with(&entries[..*shared]));
            let shared = shared.unwrap_or(0);
            begins[row] = (2 * (tape.len() - shared) + odd) as i64;
            tape.extend(&entries[shared..]);
        }
        tape
    };
    let (even, odd) = (tape(0), tape(1));
    let both = even.into_iter().zip(odd).flat_map(|(even, odd)| [even, odd]);
    (both.map(|entry| 2 * entry as i64).collect(), begins)
}
