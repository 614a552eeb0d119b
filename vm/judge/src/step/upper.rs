//! `lui` and `auipc`: the written word is another than the upper immediate gives.

use super::alu::{is_running, limbs};
use super::decode::{Pattern, opcode};
use super::{of_claim, verify_running};
use crate::leaf::{ALL, Inputs, Rule, Value};
use crate::word::{self, Digit};

/// The digits of opcode and upper immediate.
const UPPER: u128 = 0b1111_1011;

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    vec![lui(), auipc()]
}

/// The upper immediate's digits as they stand in the word.
fn upper(inputs: &Inputs) -> [Digit; 8] {
    core::array::from_fn(|at| match at {
        0..3 => Digit::Constant(0),
        _ => Digit::Item(inputs.digit(Value::Instruction, at)),
    })
}

fn lui() -> Rule {
    let pattern = Pattern::opcode(opcode::LUI);
    Rule {
        name: "result/lui".to_owned(),
        hints: vec![],
        reads: vec![
            (Value::Written, ALL),
            (Value::Instruction, UPPER),
            (Value::Statuses, ALL),
        ],
        body: Box::new(move |a, inputs| {
            let written = inputs.digits(Value::Written).into_iter().map(Digit::Item);
            let pairs: Vec<(Digit, Digit)> = written.zip(upper(inputs)).rev().collect();
            word::verify_digits_differ(a, &pairs);
            pattern.verify(a, inputs, 0);
            verify_running(a, inputs);
        }),
        refutes: of_claim(move |claim| {
            let differs = claim.written != claim.instruction & 0xffff_f000;
            (is_running(claim) && pattern.matches(claim.instruction) && differs).then(Vec::new)
        }),
    }
}

fn auipc() -> Rule {
    let pattern = Pattern::opcode(opcode::AUIPC);
    Rule {
        name: "result/auipc".to_owned(),
        hints: vec![],
        reads: vec![
            (Value::Written, ALL),
            (Value::Pc, ALL),
            (Value::Instruction, UPPER),
            (Value::Statuses, ALL),
        ],
        body: Box::new(move |a, inputs| {
            let written = limbs(a, inputs, Value::Written);
            let pc = limbs(a, inputs, Value::Pc);
            let immediate = word::limbs(a, &upper(inputs));
            let sum = word::add(a, pc, immediate);
            word::verify_differ(a, sum, written);
            pattern.verify(a, inputs, 0);
            verify_running(a, inputs);
        }),
        refutes: of_claim(move |claim| {
            let result = claim.pc.wrapping_add(claim.instruction & 0xffff_f000);
            (is_running(claim) && pattern.matches(claim.instruction) && claim.written != result)
                .then(Vec::new)
        }),
    }
}
