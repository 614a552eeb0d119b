//! States that are published more than once, and such that a leaf begins with.
//!
//! States are the only values that are compared in 24 bytes: no rule hashes them.

use super::node::differs;
use crate::leaf::{Rule, Value};

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    vec![
        // What is published as one state twice is two states.
        state("same", Value::RootAfter),
        // The leaf that the state is read from, or goes to, begins with another one.
        state("leaf", Value::Leaf),
    ]
}

fn state(name: &str, other: Value) -> Rule {
    differs(
        format!("state/{name}"),
        Value::Root,
        other,
        vec![],
        |_, _| {},
        |_| true,
    )
}
