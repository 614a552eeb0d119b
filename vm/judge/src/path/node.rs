//! Nodes that a search ends with: equations, and levels that repeat.

use bitcoin::opcodes::all::*;
use bitsect_machine::DEPTH;

use super::digits::{difference, first_digits, lowest, value_digits, verify_bit};
use super::hash::{Part, differs_from_hash};
use super::place::{Direction, Place, Side};
use crate::leaf::{Inputs, Rule, Value, Values};
use crate::script::Assembler;
use crate::word::{AT, verify_differ_at};
use crate::word::{Digit, number};

/// Nodes before a write, or in a read, or after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// In a read, or before a write.
    Before,
    /// After a write.
    After,
}

impl Time {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Before, Self::After];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Before => "",
            Self::After => "-after",
        }
    }

    /// Gives the upper node that the search ends with, at the level above.
    const fn top(self, level: usize) -> Value {
        match (self, level == ROOT) {
            (Self::Before, true) => Value::Root,
            (Self::After, true) => Value::RootAfter,
            (Self::Before, false) => Value::Top,
            (Self::After, false) => Value::TopAfter,
        }
    }

    /// Gives the lower node that the search ends with.
    pub(super) const fn bottom(self) -> Value {
        match self {
            Self::Before => Value::Bottom,
            Self::After => Value::BottomAfter,
        }
    }
}

/// The level of the root's children.
const ROOT: usize = DEPTH as usize - 1;

/// The hash of the two children is another than the upper node. Of the root the first 24 bytes are published: it is a
/// state, and no input of a hash.
///
/// Gate: for a call's node, that the call is made, so that its level is at most 20.
pub fn equations(place: Place, level: usize, time: Time) -> Vec<Rule> {
    match (place, place.direction(level)) {
        (Place::KeyAndBlock, _) if level == 0 => vec![],
        (_, Direction::Constant(side)) => vec![equation(place, level, time, side)],
        (_, Direction::Bit { .. }) => Side::BOTH.map(|side| equation(place, level, time, side)).into(),
    }
}

fn equation(place: Place, level: usize, time: Time, side: Side) -> Rule {
    let direction = place.direction(level);
    let above = (place == Place::Call && level < MAX_LEVEL).then_some(level);
    let mut gates = Vec::new();
    if above.is_some() {
        gates.push((Value::Word, LEVEL));
    }
    let mut name = format!("path/equation-{}{}", side.name(), time.suffix());
    match direction {
        Direction::Bit { value, bit } => {
            gates.push((value, 1 << (bit / 4)));
            name = format!("{name}/{}-{level}", place.name());
        }
        // The same rule at all levels, but that a root has another size.
        Direction::Constant(_) if level == ROOT => name.push_str("/root"),
        Direction::Constant(_) => {}
    }
    let verify = move |a: &mut Assembler, inputs: &Inputs| {
        if let Some(level) = above {
            compare_level(a, inputs, level, OP_LESSTHANOREQUAL);
        }
        if let Direction::Bit { value, bit } = direction {
            a.take(inputs.digit(value, bit / 4));
            verify_bit(a, bit % 4, side == Side::Right);
        }
    };
    let holds = move |values: &Values| {
        let turns = match direction {
            Direction::Constant(_) => true,
            Direction::Bit { value, bit } => (values.word(value) >> bit & 1 == 1) == (side == Side::Right),
        };
        turns && above.is_none_or(|level| low_byte(values) <= level as u32)
    };
    let [child, sibling] = [time.bottom(), Value::Sibling].map(Part::whole);
    let parts = match side {
        Side::Left => vec![child, sibling],
        Side::Right => vec![sibling, child],
    };
    differs_from_hash(name, parts, time.top(level), gates, verify, holds)
}

/// The largest level of a call's node.
const MAX_LEVEL: usize = bitsect_machine::address::MAX_CALL_LEVEL as usize;
/// The digits of `a1` that say a level: the gate is a call that is made, so that the others are zero.
const LEVEL: u128 = 0b11;

fn low_byte(values: &Values) -> u32 {
    values.word(Value::Word) & 0xff
}

/// Takes the two digits of the node's level, and compares it.
fn compare_level(a: &mut Assembler, inputs: &Inputs, level: usize, opcode: bitcoin::opcodes::Opcode) {
    let digits = [0, 1].map(|digit| Digit::Item(inputs.digit(Value::Word, digit)));
    number(a, &digits);
    a.push(level as i64);
    a.ops(&[opcode, OP_VERIFY]);
}

/// The values of two levels differ although both are below the call's node, or are that node.
///
/// Gate: the call is made, so that its level is at most 20; for key and block, that it is `SHA256_PREIMAGE`.
pub fn repeat(place: Place, level: usize, time: Time) -> Option<Rule> {
    let name = format!("path/repeat{}/{}-{level}", time.suffix(), place.name());
    match place {
        Place::Call if level < MAX_LEVEL => Some(differs(
            name,
            time.top(level),
            time.bottom(),
            vec![(Value::Word, LEVEL)],
            move |a, inputs| compare_level(a, inputs, level, OP_GREATERTHAN),
            move |values| low_byte(values) > level as u32,
        )),
        Place::KeyAndBlock if level == 0 => Some(differs(
            name,
            time.top(level),
            time.bottom(),
            vec![],
            |_, _| {},
            |_| true,
        )),
        _ => None,
    }
}

/// Two values differ in as many digits as the first has, and gates hold that are uppermost on the stack.
pub(super) fn differs(
    name: String,
    first: Value,
    second: Value,
    gates: Vec<(Value, u128)>,
    verify: impl Fn(&mut Assembler, &Inputs) + Send + Sync + 'static,
    holds: impl Fn(&Values) -> bool + Send + Sync + 'static,
) -> Rule {
    let count = first.digits();
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        verify(a, inputs);
        verify_differ_at(
            a,
            inputs.hint(AT),
            &first_digits(inputs, first, count),
            &first_digits(inputs, second, count),
        );
    };
    let mut reads = gates;
    for value in [first, second] {
        reads.push((value, lowest(count)));
    }
    Rule {
        name,
        hints: vec![AT],
        reads,
        body: Box::new(body),
        refutes: Box::new(move |values| {
            let [first, second] = [first, second].map(|value| value_digits(values, value));
            holds(values)
                .then(|| difference(&first, &second[..count]))
                .flatten()
        }),
    }
}
