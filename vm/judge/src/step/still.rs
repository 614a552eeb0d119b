//! What a step must not do: change roots where it writes nothing, or read another value than zero from `x0`.

use super::condition::Condition::{
    After, AfterAtLeast, Differ, Matches, OpcodeNot, RdIsZero, Rs1IsZero, Rs2IsZero, Running, Stopped, Word,
};
use super::condition::{Condition, rule};
use super::decode::{Pattern, opcode};
use crate::leaf::{Rule, Value};

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    let no_data = Differ(Value::Before, Value::Middle);
    let mut rules = vec![
        rule(
            "still/stopped",
            vec![Differ(Value::Before, Value::After), Stopped],
        ),
        rule("still/trap", vec![no_data.clone(), Running, AfterAtLeast(2)]),
        rule("still/exit", vec![no_data.clone(), Running, After(1)]),
    ];
    for (name, opcode) in [("branch", opcode::BRANCH), ("fence", opcode::FENCE)] {
        rules.push(rule(
            format!("still/{name}"),
            vec![no_data.clone(), Running, Matches(Pattern::opcode(opcode))],
        ));
    }
    for (name, opcode) in opcode::WITH_RD {
        let conditions = vec![
            no_data.clone(),
            Running,
            Matches(Pattern::opcode(opcode)),
            RdIsZero(true),
        ];
        rules.push(rule(format!("still/{name}-to-zero"), conditions));
    }
    // Calls have operands of their own; of other instructions without `rs1` or `rs2` the value is zero in any case.
    let no_call = || OpcodeNot(opcode::SYSTEM);
    let nonzero = |value| Word {
        value,
        word: 0,
        is: false,
    };
    let zero =
        |name: &str, condition: Condition, value| rule(name, vec![condition, nonzero(value), no_call()]);
    rules.push(zero("still/rs1", Rs1IsZero(true), Value::First));
    rules.push(zero("still/rs2", Rs2IsZero(true), Value::Second));
    rules
}
