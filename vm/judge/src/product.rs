//! Products of words in Script, as identities over the integers.
//!
//! A claim about a product is a sum of terms, each at a place of a binary number, that has to come out small. It is
//! computed from the highest place down, doubling in between. The terms hold the product's columns and, with the other
//! sign, what the product is said to be; so what is carried along stays small exactly where the two agree from the highest
//! place on, and where a number outgrows 31 bits, the Script fails. No carry is ever needed, and no digit of the product.

use std::collections::BTreeMap;
use std::ops::Range;

use bitcoin::opcodes::all::*;

use crate::script::{Assembler, Item};
use crate::word::{self, Digit, shift_left, signed_digit};

/// The digits of a word that its low limb has, so that its multiples are operands. The top limb has the other two.
pub const LOW_DIGITS: usize = 6;
/// The place of the top limb.
pub const TOP: usize = 4 * LOW_DIGITS;

/// A word in two limbs, of 24 and 8 bits. One with a sign has it in the top limb.
#[derive(Clone, Copy, Debug)]
pub struct Halves {
    /// The low 24 bits.
    pub low: Item,
    /// The top eight bits.
    pub top: Item,
}

/// A number's multiples, 0 to 15, on the stack.
#[derive(Clone, Debug)]
pub struct Multiples(Vec<Item>);

/// The multiples of a word's two limbs.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Of the low limb.
    pub low: Multiples,
    /// Of the top limb.
    pub top: Multiples,
}

/// A part of a sum.
#[derive(Clone, Debug)]
pub enum Term {
    /// An item.
    Item(Item),
    /// The highest digit of a word with a sign.
    Signed(Item),
    /// An item without its sign: a number of the challenger's that may not be negative.
    Magnitude(Item),
    /// The multiple of a limb that a digit names. The digit is one of a signed value, so it is below 16.
    Multiple(Multiples, Item),
    /// The multiple of a limb.
    Times(Multiples, usize),
    /// A constant.
    Constant(i64),
    /// A hint that is 0 or 1, as the Script checks. It is used once.
    Bit(Item),
}

/// A sum of terms, each times a power of two.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    terms: Vec<(usize, bool, Term)>,
    kept: Vec<Item>,
    late: Vec<usize>,
}

/// Takes a word's digits, lowest first, and pushes its limbs, the top one uppermost.
pub fn halves(a: &mut Assembler, digits: &[Item], signed: bool) -> Halves {
    let mut digits: Vec<Item> = digits.to_vec();
    if signed {
        digits[7] = signed_digit(a, digits[7]);
    }
    let digits: Vec<Digit> = digits.into_iter().map(Digit::Item).collect();
    let (low, top) = digits.split_at(LOW_DIGITS);
    let top = word::number(a, top);
    a.op(OP_TOALTSTACK);
    let low = word::number(a, low);
    a.op(OP_FROMALTSTACK);
    Halves { low, top }
}

/// Takes a number, and pushes its multiples, the fifteenth uppermost.
pub fn multiples(a: &mut Assembler, number: Item) -> Multiples {
    a.take(number);
    a.push(0);
    a.ops(&[OP_SWAP, OP_DUP]);
    for _ in 2..15 {
        a.ops(&[OP_2DUP, OP_ADD, OP_SWAP]);
    }
    a.ops(&[OP_OVER, OP_ADD]);
    Multiples((0..16).rev().map(|depth| a.at(depth)).collect())
}

/// Takes limbs, and pushes the multiples of both.
pub fn tables(a: &mut Assembler, halves: Halves) -> Tables {
    let top = multiples(a, halves.top);
    let low = multiples(a, halves.low);
    Tables { low, top }
}

/// Takes what lies above an item.
pub fn drop_above(a: &mut Assembler, item: Item) {
    while a.at(0) != item {
        a.op(OP_DROP);
    }
}

impl Sum {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets an item stay on the stack.
    pub fn keep(&mut self, item: Item) {
        self.kept.push(item);
    }

    /// Doubles a last time only when this place's terms are in, as at the lowest place: a term may then be as large as an
    /// operand can be.
    pub fn double_late(&mut self, place: usize) {
        self.late.push(place);
    }

    /// Adds a term times a power of two.
    pub fn add(&mut self, place: usize, term: Term) {
        self.terms.push((place, false, term));
    }

    /// Subtracts a term times a power of two.
    pub fn subtract(&mut self, place: usize, term: Term) {
        self.terms.push((place, true, term));
    }

    /// Adds digits, lowest first, as a number times a power of two.
    pub fn add_digits(&mut self, place: usize, digits: &[Item]) {
        for (index, digit) in digits.iter().enumerate() {
            self.add(place + 4 * index, Term::Item(*digit));
        }
    }

    /// Subtracts digits, lowest first, as a number times a power of two; with the sign of a word where it is signed.
    pub fn subtract_digits(&mut self, place: usize, digits: &[Item], signed: bool) {
        for (index, digit) in digits.iter().enumerate() {
            let sign = signed && index + 1 == digits.len();
            let term = if sign { Term::Signed } else { Term::Item };
            self.subtract(place + 4 * index, term(*digit));
        }
    }

    /// Adds or subtracts the product of a word and of digits, lowest first, where it is within the places.
    pub fn product(&mut self, negative: bool, tables: &Tables, digits: &[Item], places: Range<usize>) {
        for (table, start) in [(&tables.low, 0), (&tables.top, TOP)] {
            for (index, digit) in digits.iter().enumerate() {
                let place = start + 4 * index;
                if places.contains(&place) {
                    let term = Term::Multiple(table.clone(), *digit);
                    self.terms.push((place, negative, term));
                }
            }
        }
    }

    /// Adds or subtracts a multiple of a word times a power of two.
    pub fn times(&mut self, negative: bool, tables: &Tables, factor: usize, place: usize) {
        for (table, start) in [(&tables.low, 0), (&tables.top, TOP)] {
            let term = Term::Times(table.clone(), factor);
            self.terms.push((place + start, negative, term));
        }
    }

    /// Pushes the sum. It takes the items where they are used last, but neither tables nor what is to be kept.
    ///
    /// What is carried to the lowest place is doubled a last time only when that place's terms are in: then the sum is
    /// one of two operands, and reaches 32 bits.
    pub fn write(mut self, a: &mut Assembler) -> Item {
        // The first term is added where one can be, for it needs no opcode then.
        self.terms
            .sort_by_key(|(place, negative, _)| (usize::MAX - place, *negative));
        let mut uses: BTreeMap<Item, usize> = BTreeMap::new();
        for item in self
            .terms
            .iter()
            .filter_map(|(.., term)| term.item())
            .chain(self.kept)
        {
            *uses.entry(item).or_default() += 1;
        }
        let mut place = None;
        let mut late = false;
        for (at, negative, term) in self.terms {
            if let Some(before) = place.filter(|before| *before > at) {
                if core::mem::take(&mut late) {
                    a.op(OP_ADD);
                }
                late = at == 0 || self.late.contains(&at);
                shift_left(a, before - at - usize::from(late));
                if late {
                    a.op(OP_DUP);
                }
            }
            let left = term.item().and_then(|item| uses.get_mut(&item));
            let again = left.is_some_and(|left| {
                *left -= 1;
                *left > 0
            });
            match (place, negative, term.write(a, again)) {
                (.., Written::Added) | (None, false, Written::Pushed) => {}
                (None, true, Written::Pushed) => drop_item(a.op(OP_NEGATE)),
                (_, false, Written::Pushed) => drop_item(a.op(OP_ADD)),
                (_, true, Written::Pushed) => drop_item(a.op(OP_SUB)),
            }
            place = Some(at);
        }
        if late {
            a.op(OP_ADD);
        }
        shift_left(a, place.expect("a sum has terms"));
        a.at(0)
    }
}

/// What the code of a term has done.
#[derive(Clone, Copy)]
enum Written {
    Pushed,
    Added,
}

/// An item that is known by its place.
const fn drop_item(_: Option<Item>) {}

impl Term {
    const fn item(&self) -> Option<Item> {
        match self {
            Self::Item(item)
            | Self::Signed(item)
            | Self::Magnitude(item)
            | Self::Multiple(_, item)
            | Self::Bit(item) => Some(*item),
            Self::Times(..) | Self::Constant(_) => None,
        }
    }

    /// Pushes the term; its item stays where it is needed again.
    fn write(&self, a: &mut Assembler, again: bool) -> Written {
        let fetch = |a: &mut Assembler, item| if again { a.copy(item) } else { a.take(item) };
        match self {
            Self::Item(item) => drop_item(Some(fetch(a, *item))),
            Self::Signed(item) => {
                let item = fetch(a, *item);
                signed_digit(a, item);
            }
            Self::Magnitude(item) => {
                fetch(a, *item);
                a.op(OP_ABS);
            }
            Self::Multiple(multiples, digit) => multiples.look_up(a, *digit, again),
            Self::Times(multiples, factor) => drop_item(Some(a.copy(multiples.0[*factor]))),
            Self::Constant(value) => drop_item(Some(a.push(*value))),
            Self::Bit(item) => {
                a.take(*item);
                a.when(|a| drop_item(a.op(OP_1ADD)));
                return Written::Added;
            }
        }
        Written::Pushed
    }
}

impl Multiples {
    /// Pushes the multiple that a digit names.
    fn look_up(&self, a: &mut Assembler, digit: Item, again: bool) {
        let zero = a.depth(self.0[0]);
        let moved = !again && a.depth(digit) < zero;
        a.push((zero - usize::from(moved)) as i64);
        if again {
            a.copy(digit);
        } else {
            a.take(digit);
        }
        a.op(OP_SUB);
        a.pick();
    }
}
