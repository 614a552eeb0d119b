//! Decides one machine step, one hash, one signature in Bitcoin Script (docs/judge.md).
//!
//! A *leaf* is a Script that its spender satisfies exactly when a published claim is false. Beside each generator of
//! Script stands the Rust function that it mirrors.

pub mod hash;
pub mod leaf;
pub mod path;
pub mod product;
pub mod script;
pub mod step;
pub mod table;
pub mod winternitz;
pub mod word;

use core::ops::Range;

use leaf::Rule;

/// Gives every rule for a program with this text: of steps, the gates that open disputes of reads and writes, and those
/// that end them.
pub fn rules(text: &Range<u32>) -> Vec<Rule> {
    let gates = step::gate::Access::ALL
        .into_iter()
        .flat_map(step::gate::Access::gates);
    let step = step::rules(text).into_iter();
    step.chain(gates).chain(path::rules()).collect()
}
