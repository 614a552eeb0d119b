//! The tables of SHA-256, and where they lie.
//!
//! A number that is looked up is `stride * index + bias`, so that it can be the depth itself: tables whose strides are
//! equal interleave, and an item more on the stack gives the neighbouring table for nothing. The biases and places in
//! [`PLAN`] were found by simulated annealing for the least code. Whatever they are, the code is right: it corrects an index
//! that does not fit.

/// The factor of digits, of spread digits, and of sums of them.
pub(super) const STRIDE: i64 = 5;
/// All bits of a digit, spread.
const ALL: i64 = 40;
/// Sums of digits that are brought down to a digit and a carry, in a difference's case below zero.
const SUMS: core::ops::Range<i64> = -16..96;

/// What is looked up.
///
/// A *spread* digit has its bits as digits to base 3, so that the sum of two tells their XOR and their AND. `HiN` is the
/// spread digit shifted right by N bits, `LoN` the next higher digit's bits that come in from the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// The spread digit.
    Spread,
    /// The spread complement of a digit.
    NotSpread,
    Hi1,
    Lo1,
    Hi2,
    Lo2,
    Lo3,
    /// `Lo2` and `Hi3` of one digit, as Sigma1 needs them.
    Lo2Hi3,
    /// `Hi1` and `Hi3` of one digit, as sigma1 needs them.
    Hi1Hi3,
    /// `Lo1` and `Lo3` of one digit, as sigma1 needs them.
    Lo1Lo3,
    /// A spread digit to twice the digit.
    Plain2,
    /// The sum of two spread digits to their spread XOR.
    Xor,
    /// The sum of two spread digits to their AND, no longer spread.
    And,
    /// A spread digit to four times the digit.
    Plain4,
    /// A sum to its digit.
    Digit,
    /// A sum to its carry.
    Carry,
    Hi3,
}

/// All tables, in the order of [`Plan`].
pub(super) const TABLES: [Table; 17] = [
    Table::Spread,
    Table::NotSpread,
    Table::Hi1,
    Table::Lo1,
    Table::Hi2,
    Table::Lo2,
    Table::Lo3,
    Table::Lo2Hi3,
    Table::Hi1Hi3,
    Table::Lo1Lo3,
    Table::Plain2,
    Table::Xor,
    Table::And,
    Table::Plain4,
    Table::Digit,
    Table::Carry,
    Table::Hi3,
];

/// Spreads a digit.
fn spread(digit: i64) -> i64 {
    (0..4).map(|bit| (digit >> bit & 1) * 3_i64.pow(bit)).sum()
}

/// Gives the XOR (of 1s) or the AND (of 2s) that a sum of two spread digits tells.
fn decode(sum: i64, wanted: i64) -> i64 {
    let bits = (0..4).filter(|bit| sum / 3_i64.pow(*bit) % 3 == wanted);
    bits.map(|bit| 1 << bit).sum()
}

fn high(digit: i64, bits: u32) -> i64 {
    spread(digit >> bits)
}

fn low(digit: i64, bits: u32) -> i64 {
    spread((digit << (4 - bits)) & 15)
}

/// Part of a table: another index is its index 0.
pub(super) type Part = (Table, i64);

/// A spread digit to the digit, which is its AND with 15.
pub(super) const PLAIN: Part = (Table::And, ALL);

impl From<Table> for Part {
    fn from(table: Table) -> Self {
        (table, 0)
    }
}

impl Table {
    /// The indices that occur.
    fn indices(self) -> Vec<i64> {
        match self {
            Self::Xor | Self::And => (0..81).collect(),
            Self::Plain2 | Self::Plain4 => (0..16).map(spread).collect(),
            Self::Digit | Self::Carry => SUMS.collect(),
            _ => (0..16).collect(),
        }
    }

    /// The entry at an index, without its bias.
    fn value(self, index: i64) -> i64 {
        match self {
            Self::Spread => STRIDE * spread(index),
            Self::NotSpread => STRIDE * spread(15 - index),
            Self::Hi1 => STRIDE * high(index, 1),
            Self::Lo1 => STRIDE * low(index, 1),
            Self::Hi2 => STRIDE * high(index, 2),
            Self::Lo2 => STRIDE * low(index, 2),
            Self::Lo3 => STRIDE * low(index, 3),
            Self::Lo2Hi3 => STRIDE * (low(index, 2) + high(index, 3)),
            Self::Hi1Hi3 => STRIDE * (high(index, 1) + high(index, 3)),
            Self::Lo1Lo3 => STRIDE * (low(index, 1) + low(index, 3)),
            Self::Plain2 => 2 * STRIDE * decode(index, 1),
            Self::Xor => STRIDE * spread(decode(index, 1)),
            Self::And => STRIDE * decode(index, 2),
            Self::Plain4 => 4 * STRIDE * decode(index, 1),
            Self::Digit => STRIDE * index.rem_euclid(16),
            Self::Carry => STRIDE * index.div_euclid(16),
            Self::Hi3 => STRIDE * high(index, 3),
        }
    }
}

/// Where tables lie, and what is added to their entries.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The depth of index 0 below the uppermost entry of all, by table.
    pub(super) places: [i64; 17],
    /// What is added to the entries, by table.
    pub(super) biases: [i64; 17],
    /// What is added to the message schedule's digits.
    pub(super) message: i64,
}

impl Plan {
    /// Gives the depth of a table's index 0 below the uppermost entry.
    pub(super) fn place(&self, table: Table) -> i64 {
        self.places[table as usize]
    }

    /// Gives what is added to a table's entries.
    pub(super) fn bias(&self, table: Table) -> i64 {
        self.biases[table as usize]
    }

    /// Gives all entries, uppermost first; `None` where two tables would overlap, and within it where no entry lies.
    pub(super) fn entries(&self) -> Option<Vec<Option<i64>>> {
        let mut entries: Vec<Option<i64>> = Vec::new();
        for table in TABLES {
            for index in table.indices() {
                let at = usize::try_from(self.place(table) + STRIDE * index).ok()?;
                if entries.len() <= at {
                    entries.resize(at + 1, None);
                }
                if entries[at]
                    .replace(table.value(index) + self.bias(table))
                    .is_some()
                {
                    return None;
                }
            }
        }
        Some(entries)
    }
}

/// The plan that is used.
pub(super) const PLAN: Plan = Plan {
    places: PLACES,
    biases: BIASES,
    message: 769,
};

/// The tables' places.
const PLACES: [i64; 17] = [
    574, 495, 496, 494, 573, 415, 575, 572, 416, 414, 1, 9, 10, 211, 88, 87, 576,
];
/// The entries' biases.
const BIASES: [i64; 17] = [
    102, 103, -36, -165, -212, 11, -1249, 1666, -233, 436, 269, 404, -215, 2022, 769, -1312, 1047,
];
