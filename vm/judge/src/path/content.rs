//! The content of a leaf, and what a step makes of it.

use bitcoin::opcodes::all::*;

use super::hash::{Part, differs_from_hash};
use super::index::Index;
use super::node::Time;
use super::place::Field;
use super::word::DIGITS;
use crate::leaf::{Inputs, Rule, Value, Values};
use crate::script::Assembler;

/// Words of a leaf.
const WORDS: usize = 16;
/// Digits of a leaf.
const LEAF: usize = WORDS * DIGITS;
/// The status of a machine that halted.
const HALTED: u8 = 1;

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    let mut rules = vec![leaf_hash(Value::Leaf), leaf_hash(Value::Key)];
    let places = [
        ("register", Index::Register(Field::Rd)),
        ("memory", Index::Address(Value::Address)),
    ];
    for (name, index) in places {
        rules.extend((0..WORDS).map(|word| written(name, index, word)));
    }
    rules.extend([control(false), control(true)]);
    rules
}

/// The content of a leaf has another hash than the search ended with.
fn leaf_hash(content: Value) -> Rule {
    let name = match content {
        Value::Key => "path/leaf-hash/key",
        _ => "path/leaf-hash",
    };
    let parts = vec![Part::whole(content)];
    differs_from_hash(
        name.to_owned(),
        parts,
        Time::Before.bottom(),
        vec![],
        |_, _| {},
        |_| true,
    )
}

/// The leaf with one word written has another hash than the search ended with. Which word it is is a rule's own: that is
/// sixteen leaves of the output, for two hundred bytes less in the one that is shown than to choose among them there.
///
/// Gates: the step writes the word: the instruction has a destination other than `x0`, or is a store, and does not trap.
fn written(name: &str, index: Index, word: usize) -> Rule {
    let from = DIGITS * word;
    let parts = vec![
        Part::digits(Value::Leaf, 0, from),
        Part::whole(Value::Written),
        Part::digits(Value::Leaf, from + DIGITS, LEAF - from - DIGITS),
    ];
    differs_from_hash(
        format!("path/write/{name}-{word}"),
        parts,
        Time::After.bottom(),
        vec![index.reads()],
        move |a, inputs| index.verify(a, inputs, word),
        move |values| index.of(values) == word,
    )
}

/// The control leaf after the step has another hash than the search ended with. A step of a machine that stopped writes
/// no control; of any other the status word is zero, and so the digits above the lowest stay as they are.
///
/// Gates: none, the statuses are read here.
fn control(halts: bool) -> Rule {
    let exit_code = if halts {
        Part::whole(Value::Second)
    } else {
        Part::digits(Value::Leaf, 2 * DIGITS, DIGITS)
    };
    let parts = vec![
        Part::whole(Value::Next),
        Part::digits(Value::Statuses, 1, 1),
        Part::digits(Value::Leaf, DIGITS + 1, DIGITS - 1),
        exit_code,
        Part::digits(Value::Leaf, 3 * DIGITS, LEAF - 3 * DIGITS),
    ];
    differs_from_hash(
        format!("path/write/control{}", if halts { "-exit" } else { "" }),
        parts,
        Time::After.bottom(),
        vec![(Value::Statuses, 0b11)],
        move |a, inputs| verify_statuses(a, inputs, halts),
        move |values| is_running(values) && (values.digit(Value::Statuses, 1) == HALTED) == halts,
    )
}

fn is_running(values: &Values) -> bool {
    values.digit(Value::Statuses, 0) == 0
}

fn verify_statuses(a: &mut Assembler, inputs: &Inputs, halts: bool) {
    a.take(inputs.digit(Value::Statuses, 0));
    a.ops(&[OP_NOT, OP_VERIFY]);
    a.copy(inputs.digit(Value::Statuses, 1));
    a.push(i64::from(HALTED));
    a.ops(&[if halts { OP_NUMEQUAL } else { OP_NUMNOTEQUAL }, OP_VERIFY]);
}
