//! A word that was read is another than the one in its leaf.
//!
//! Gates: the step reads the word. An instruction that has no such operand, or a step that traps before, reads nothing,
//! and the claim is zero then whatever is in the leaf.

use bitcoin::opcodes::all::*;
use bitsect_machine::address::{A0, A1, A7};

use super::digits::{difference, lowest, value_digits};
use super::index::Index;
use super::place::Field;
use crate::leaf::{ALL, Inputs, Rule, Value, Values};
use crate::script::{Assembler, Item};
use crate::word::{AT, point, shift_left, verify_differ_at};

/// Digits of a word.
pub const DIGITS: usize = 8;

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    let register = |number: u8| usize::from(number % 16);
    vec![
        constant("pc", Value::Pc, 0),
        status(),
        indexed("instruction", Value::Instruction, Index::Address(Value::Pc)),
        indexed("memory", Value::Word, Index::Address(Value::Address)),
        indexed("rs1", Value::First, Index::Register(Field::Rs1)),
        indexed("rs2", Value::Second, Index::Register(Field::Rs2)),
        constant("a7", Value::First, register(A7)),
        constant("a0", Value::Second, register(A0)),
        constant("a1", Value::Word, register(A1)),
    ]
}

/// The word that is always at one place: `pc` in control, the registers of a call.
fn constant(name: &str, claimed: Value, index: usize) -> Rule {
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        let word: Vec<Item> = (0..DIGITS)
            .map(|digit| inputs.digit(Value::Leaf, DIGITS * index + digit))
            .collect();
        verify_differ_at(a, inputs.hint(AT), &inputs.digits(claimed), &word);
    };
    Rule {
        name: format!("path/word/{name}"),
        hints: vec![AT],
        reads: vec![
            (claimed, lowest(DIGITS)),
            (Value::Leaf, lowest(DIGITS) << (DIGITS * index)),
        ],
        body: Box::new(body),
        refutes: Box::new(move |values| differ(values, claimed, index)),
    }
}

/// The status word against the status that the claim has in four bits.
fn status() -> Rule {
    let body = |a: &mut Assembler, _: &Inputs| {
        // Digits 15 to 9, which are zero; below them digit 8 and the status.
        a.ops(&[OP_ADD; DIGITS - 2]);
        a.ops(&[OP_TOALTSTACK, OP_NUMNOTEQUAL, OP_FROMALTSTACK, OP_ADD, OP_VERIFY]);
    };
    Rule {
        name: "path/word/status".to_owned(),
        hints: vec![],
        reads: vec![(Value::Leaf, lowest(DIGITS) << DIGITS), (Value::Statuses, 1)],
        body: Box::new(body),
        refutes: Box::new(|values| {
            let leaf = value_digits(values, Value::Leaf);
            let status = values.digit(Value::Statuses, 0);
            let word = &leaf[DIGITS..2 * DIGITS];
            (word[0] != status || word[1..].iter().any(|digit| *digit != 0)).then(Vec::new)
        }),
    }
}

/// The word at a place that the claim gives.
fn indexed(name: &str, claimed: Value, index: Index) -> Rule {
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        index.push(a, inputs);
        shift_left(a, 3);
        a.op(OP_TOALTSTACK);
        point(a, inputs.hint(AT), &inputs.digits(claimed));
        a.ops(&[OP_FROMALTSTACK, OP_SUB]);
        // The table is upside down: an index of zero is where the leaf's first word is.
        a.look_up(inputs.digit(Value::Leaf, DIGITS - 1));
        a.ops(&[OP_NUMNOTEQUAL, OP_VERIFY]);
    };
    Rule {
        name: format!("path/word/{name}"),
        hints: vec![AT],
        reads: vec![index.reads(), (claimed, lowest(DIGITS)), (Value::Leaf, ALL)],
        body: Box::new(body),
        refutes: Box::new(move |values| differ(values, claimed, index.of(values))),
    }
}

fn differ(values: &Values, claimed: Value, index: usize) -> Option<Vec<i64>> {
    let leaf = value_digits(values, Value::Leaf);
    difference(&value_digits(values, claimed), &leaf[DIGITS * index..][..DIGITS])
}
