//! The rounds and the message schedule.

use bitcoin::opcodes::all::*;

use super::WORD;
use super::lookups::{Digit, Lookups, Step};
use super::tables::{PLAIN, Part, Table};

/// A word's digits, lowest first.
pub(super) type Word = [Digit; WORD];

/// FIPS 180-4, 4.2.2.
const CONSTANTS: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// Runs all rounds on a state of eight words.
pub(super) fn rounds(lookups: &mut Lookups<'_>, state: Vec<Word>, mut block: Vec<Word>) -> Vec<Word> {
    let mut state: [Word; 8] = state.try_into().expect("eight words");
    for (round, constant) in CONSTANTS.into_iter().enumerate() {
        if round >= 16 {
            let word = schedule(lookups, &block[round - 16..]);
            block.push(word);
        }
        let e = next_e(lookups, &state, &block[round], constant);
        let a = next_a(lookups, &state, &e);
        state = [a, state[0], state[1], state[2], e, state[4], state[5], state[6]];
    }
    state.to_vec()
}

/// Moves a word to the top, where its digits are cheap to copy. With the upper half below, most of the copies are from the
/// topmost 17 items.
fn raise(lookups: &mut Lookups<'_>, word: &Word) {
    let (lower, upper) = word.split_at(WORD / 2);
    for digit in upper.iter().chain(lower) {
        lookups.take(*digit);
    }
}

/// Computes the word that follows 16 others, and takes the first of them away.
fn schedule(lookups: &mut Lookups<'_>, words: &[Word]) -> Word {
    raise(lookups, &words[1]);
    let (first, last) = (&words[1], lookups.plan.bias(Table::Plain2));
    let lowest = lookups.run(&sigma0_wrapped(first));
    let wanted = lookups.plan.message;
    sum(lookups, wanted, Some(lowest), |index| {
        let shifted = if index + 1 == WORD {
            Operand::Saved(last)
        } else {
            Operand::Function(sigma0(first, index))
        };
        let operands = vec![
            (Operand::Copy(words[9][index]), HEIGHTS.sigma1),
            (Operand::Function(sigma1(&words[14], index)), HEIGHTS.sigma0),
            (shifted, 1),
            (Operand::Take(words[0][index]), 1),
        ];
        (operands, 0)
    })
}

/// Computes the next `e`, and takes `h` away.
fn next_e(lookups: &mut Lookups<'_>, state: &[Word; 8], message: &Word, constant: u32) -> Word {
    let [_, _, _, d, e, f, g, h] = state;
    raise(lookups, e);
    let wanted = lookups.plan.bias(Table::Digit);
    sum(lookups, wanted, None, |index| {
        let operands = vec![
            (Operand::Copy(d[index]), 2),
            (Operand::Copy(message[index]), HEIGHTS.upper_sigma1),
            (Operand::Function(upper_sigma1(e, index)), HEIGHTS.choice),
            (Operand::Function(choice(e[index], f[index], g[index])), 1),
            (Operand::Take(h[index]), 1),
        ];
        (operands, i64::from(constant >> (4 * index) & 15))
    })
}

/// Computes the next `a` of the next `e`, and takes `d` away: `a = e - d + Sigma0 + Maj`.
fn next_a(lookups: &mut Lookups<'_>, state: &[Word; 8], next_e: &Word) -> Word {
    let [a, b, c, d, ..] = state;
    raise(lookups, a);
    let last = lookups.plan.bias(Table::Plain4);
    let lowest = lookups.run(&upper_sigma0_wrapped(a));
    let wanted = lookups.plan.bias(Table::Digit);
    sum(lookups, wanted, Some(lowest), |index| {
        let rotated = if index + 1 == WORD {
            Operand::Saved(last)
        } else {
            Operand::Function(upper_sigma0(a, index))
        };
        let operands = vec![
            (Operand::Copy(next_e[index]), HEIGHTS.upper_sigma0),
            (rotated, HEIGHTS.majority),
            (Operand::Function(majority(a[index], b[index], c[index])), 1),
            (Operand::Less(d[index]), 1),
        ];
        (operands, 0)
    })
}

/// How many items lie above the words when a function is computed. They choose its tables: see [`super::tables`].
struct Heights {
    sigma1: usize,
    sigma0: usize,
    upper_sigma1: usize,
    choice: usize,
    upper_sigma0: usize,
    majority: usize,
}

/// Found with the tables' places.
const HEIGHTS: Heights = Heights {
    sigma1: 2,
    sigma0: 1,
    upper_sigma1: 2,
    choice: 2,
    upper_sigma0: 1,
    majority: 2,
};

/// An operand of a sum.
pub(super) enum Operand {
    /// Adds a copy of a digit.
    Copy(Digit),
    /// Adds a digit that is not needed any more.
    Take(Digit),
    /// Subtracts a digit that is not needed any more.
    Less(Digit),
    /// Adds what a function gives.
    Function(Vec<Step>),
    /// Adds the number on the alt stack, with its bias.
    Saved(i64),
}

/// Computes a word of sums, its digits with a bias of `wanted`. `digit` gives a digit's operands, each with the number of
/// items that may then be left, carry and all, and a constant; `carry` is the bias of a carry into the lowest digit.
pub(super) fn sum(
    lookups: &mut Lookups<'_>,
    wanted: i64,
    mut carry: Option<i64>,
    digit: impl Fn(usize) -> (Vec<(Operand, usize)>, i64),
) -> Word {
    std::array::from_fn(|index| {
        let (operands, constant) = digit(index);
        let mut bias = carry.unwrap_or(0);
        let mut items = usize::from(carry.is_some());
        for (operand, left) in operands {
            let mut combine = OP_ADD;
            bias += match operand {
                Operand::Copy(digit) => lookups.copy(digit),
                Operand::Take(digit) => lookups.take(digit),
                Operand::Less(digit) => {
                    combine = OP_SUB;
                    -lookups.take(digit)
                }
                Operand::Function(steps) => lookups.run(&steps),
                Operand::Saved(bias) => {
                    lookups.a.op(OP_FROMALTSTACK);
                    bias
                }
            };
            items += 1;
            while items > left {
                lookups.a.op(combine);
                items -= 1;
            }
        }
        if index + 1 == WORD {
            return lookups.reduce(bias, constant, wanted);
        }
        let (item, bias) = lookups.split(bias, constant, wanted);
        carry = Some(bias);
        item
    })
}

/// Twice the digit that begins one bit above, of `ROTR7 ^ ROTR18 ^ SHR3`: two of the three words are moved by whole digits
/// then. Not for the highest digit, into which nothing is shifted.
fn sigma0(word: &Word, index: usize) -> Vec<Step> {
    let at = |table: Part, distance: usize| Step::Look(table, word[(index + distance) % WORD]);
    vec![
        at(Table::Hi3.into(), 4),
        at(Table::Lo3.into(), 5),
        at(Table::Spread.into(), 2),
        at(Table::Spread.into(), 1),
        Step::Add,
        Step::Map(Table::Xor.into()),
        Step::Add,
        Step::Add,
        Step::Map(Table::Xor.into()),
        Step::Map(Table::Plain2.into()),
    ]
}

/// Saves the highest such digit, of which all but the uppermost bit are the word's; that one is its lowest, and lacks the
/// shifted word's: it is left as a carry.
fn sigma0_wrapped(word: &Word) -> Vec<Step> {
    vec![
        Step::Look(Table::Spread.into(), word[1]),
        Step::Look(Table::Hi3.into(), word[3]),
        Step::Look(Table::Lo3.into(), word[4]),
        Step::Add,
        Step::Add,
        Step::Map(Table::Xor.into()),
        Step::Dup,
        Step::Map(Table::Plain2.into()),
        Step::Save,
        Step::Look(Table::Spread.into(), word[0]),
        Step::Add,
        Step::Map(Table::Xor.into()),
        Step::Map(Table::Plain2.into()),
        Step::Map(Table::Carry.into()),
    ]
}

/// `ROTR17 ^ ROTR19 ^ SHR10`.
fn sigma1(word: &Word, index: usize) -> Vec<Step> {
    let at = |table: Part, distance: usize| Step::Look(table, word[(index + distance) % WORD]);
    let mut steps = vec![
        at(Table::Lo1Lo3.into(), 5),
        at(Table::Hi1Hi3.into(), 4),
        Step::Add,
        Step::Map(Table::Xor.into()),
    ];
    if index + 2 < WORD {
        steps.push(at(Table::Hi2.into(), 2));
        if index + 3 < WORD {
            steps.extend([at(Table::Lo2.into(), 3), Step::Add]);
        }
        steps.extend([Step::Add, Step::Map(Table::Xor.into())]);
    }
    steps.push(Step::Map(PLAIN));
    steps
}

/// `ROTR6 ^ ROTR11 ^ ROTR25`.
fn upper_sigma1(word: &Word, index: usize) -> Vec<Step> {
    let at = |table: Part, distance: usize| Step::Look(table, word[(index + distance) % WORD]);
    vec![
        at(Table::Hi1.into(), 6),
        at(Table::Lo1.into(), 7),
        at(Table::Hi2.into(), 1),
        at(Table::Lo2Hi3.into(), 2),
        at(Table::Lo3.into(), 3),
        Step::Add,
        Step::Add,
        Step::Map(Table::Xor.into()),
        Step::Add,
        Step::Add,
        Step::Map(Table::Xor.into()),
        Step::Map(PLAIN),
    ]
}

/// Four times the digit that begins two bits above, of `ROTR2 ^ ROTR13 ^ ROTR22`: two of the three words are rotated by
/// whole digits then.
fn upper_sigma0(word: &Word, index: usize) -> Vec<Step> {
    let at = |table: Part, distance: usize| Step::Look(table, word[(index + distance) % WORD]);
    vec![
        at(Table::Hi3.into(), 3),
        at(Table::Lo3.into(), 4),
        at(Table::Spread.into(), 1),
        at(Table::Spread.into(), 6),
        Step::Add,
        Step::Map(Table::Xor.into()),
        Step::Add,
        Step::Add,
        Step::Map(Table::Xor.into()),
        Step::Map(Table::Plain4.into()),
    ]
}

/// Saves the highest such digit. Its two upper bits are the word's lowest: they are left as a carry.
fn upper_sigma0_wrapped(word: &Word) -> Vec<Step> {
    let mut steps = upper_sigma0(word, WORD - 1);
    steps.extend([Step::Dup, Step::Save, Step::Map(Table::Carry.into())]);
    steps
}

/// `e & f` and `!e & g`, which have no bit in common.
fn choice(e: Digit, f: Digit, g: Digit) -> Vec<Step> {
    vec![
        Step::Look(Table::Spread.into(), e),
        Step::Look(Table::Spread.into(), f),
        Step::Add,
        Step::Map(Table::And.into()),
        Step::Look(Table::Spread.into(), g),
        Step::Look(Table::NotSpread.into(), e),
        Step::Add,
        Step::Map(Table::And.into()),
        Step::Add,
    ]
}

/// `b & c` and `a & (b ^ c)`, which have no bit in common.
fn majority(a: Digit, b: Digit, c: Digit) -> Vec<Step> {
    vec![
        Step::Look(Table::Spread.into(), b),
        Step::Look(Table::Spread.into(), c),
        Step::Add,
        Step::Dup,
        Step::Map(Table::Xor.into()),
        Step::Look(Table::Spread.into(), a),
        Step::Add,
        Step::Map(Table::And.into()),
        Step::Swap,
        Step::Map(Table::And.into()),
        Step::Add,
    ]
}
