//! One step of the machine: what the prover says of it, and the leaves that refute it where it contradicts itself.
//!
//! Whether a value was really read or written is decided by the path leaves ([`crate::path`]). Here values are taken as
//! published, and the rest of the claim must follow from them (docs/machine.md, "Steps").

mod alu;
mod claim;

pub mod condition;
pub mod decode;
mod divide;
pub mod gate;
mod jump;
mod logic;
mod memory;
mod multiply;
mod shift;
mod still;
mod trap;
mod upper;
pub mod verdict;

use core::ops::Range;

use bitcoin::opcodes::all::*;

use crate::leaf::{Inputs, Rule, Value, Values};
use crate::script::Assembler;

pub use claim::{Cut, StepClaim, cut};

/// Gives all rules for a program with this text.
pub fn rules(text: &Range<u32>) -> Vec<Rule> {
    let mut rules = Vec::new();
    rules.extend(alu::rules());
    rules.extend(logic::rules());
    rules.extend(jump::rules());
    rules.extend(memory::rules());
    rules.extend(still::rules());
    rules.extend(trap::rules(text));
    rules.extend(upper::rules());
    rules.extend(multiply::rules());
    rules.extend(shift::rules());
    rules.extend(divide::rules());
    rules
}

/// What a rule says of a claim: the hints where it is false.
fn of_claim(
    refutes: impl Fn(&StepClaim) -> Option<Vec<i64>> + Send + Sync + 'static,
) -> Box<dyn Fn(&Values) -> Option<Vec<i64>> + Send + Sync> {
    Box::new(move |values| refutes(&StepClaim::from_values(values)))
}

/// Verifies that the machine was running, and that the claim says so of it after the step.
fn verify_running(a: &mut Assembler, inputs: &Inputs) {
    a.take(inputs.digit(Value::Statuses, 0));
    a.take(inputs.digit(Value::Statuses, 1));
    a.ops(&[OP_ADD, OP_NOT, OP_VERIFY]);
}
