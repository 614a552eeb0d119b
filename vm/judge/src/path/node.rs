//! Nodes that a search ends with: links, equations, and levels that repeat.

use bitcoin::opcodes::all::*;

use super::CUT;
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

    const fn top(self) -> Value {
        match self {
            Self::Before => Value::Top,
            Self::After => Value::TopAfter,
        }
    }

    /// Gives the lower node that the search ends with.
    pub(super) const fn bottom(self) -> Value {
        match self {
            Self::Before => Value::Bottom,
            Self::After => Value::BottomAfter,
        }
    }

    const fn child(self) -> Value {
        match self {
            Self::Before => Value::Child,
            Self::After => Value::ChildAfter,
        }
    }
}

/// The lower node, whole, is another than the search ended with. A true prover's is the same, and at a level that
/// repeats it is the call's node.
pub fn link(time: Time) -> Rule {
    differs(
        format!("path/link{}", time.suffix()),
        time.bottom(),
        time.child(),
        vec![],
        |_, _| {},
        |_| true,
    )
}

/// The hash of the two children is another than the upper node.
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
    if let Direction::Bit { value, bit } = direction {
        gates.push((value, 1 << (bit / 4)));
        name = format!("{name}/{}-{level}", place.name());
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
    let [child, sibling] = [time.child(), Value::Sibling].map(Part::whole);
    let parts = match side {
        Side::Left => vec![child, sibling],
        Side::Right => vec![sibling, child],
    };
    differs_from_hash(name, parts, time.top(), CUT, gates, verify, holds)
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
            time.top(),
            time.bottom(),
            vec![(Value::Word, LEVEL)],
            move |a, inputs| compare_level(a, inputs, level, OP_GREATERTHAN),
            move |values| low_byte(values) > level as u32,
        )),
        Place::KeyAndBlock if level == 0 => Some(differs(
            name,
            time.top(),
            time.bottom(),
            vec![],
            |_, _| {},
            |_| true,
        )),
        _ => None,
    }
}

/// Two values differ in their first 24 bytes, and gates hold that are uppermost on the stack.
pub(super) fn differs(
    name: String,
    first: Value,
    second: Value,
    gates: Vec<(Value, u128)>,
    verify: impl Fn(&mut Assembler, &Inputs) + Send + Sync + 'static,
    holds: impl Fn(&Values) -> bool + Send + Sync + 'static,
) -> Rule {
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        verify(a, inputs);
        verify_differ_at(
            a,
            inputs.hint(AT),
            &first_digits(inputs, first, CUT),
            &first_digits(inputs, second, CUT),
        );
    };
    let mut reads = gates;
    for value in [first, second] {
        reads.push((value, lowest(CUT)));
    }
    Rule {
        name,
        hints: vec![AT],
        reads,
        body: Box::new(body),
        refutes: Box::new(move |values| {
            let [first, second] = [first, second].map(|value| value_digits(values, value));
            holds(values)
                .then(|| difference(&first[..CUT], &second[..CUT]))
                .flatten()
        }),
    }
}
