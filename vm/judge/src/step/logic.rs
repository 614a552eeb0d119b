//! `and`, `or`, `xor` and their immediate forms: the challenger points at the digit that is false.

use bitcoin::opcodes::all::*;
use bitsect_machine::AluOp;

use super::alu::{Second, is_running, pattern, result};
use super::decode::{IMMEDIATE_I, Pattern};
use super::{StepClaim, of_claim, verify_running};
use crate::leaf::{ALL, Inputs, Rule, Value};
use crate::script::{Assembler, Item};
use crate::word::{sign_digit, verify_below};

/// The digit's place from the top, the bits of both operands' digits, and the digit that the operation gives.
const HINTS: [&str; 10] = [
    "place",
    "true digit",
    "x0",
    "y0",
    "x1",
    "y1",
    "x2",
    "y2",
    "x3",
    "y3",
];

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    let ops = [("and", AluOp::And), ("or", AluOp::Or), ("xor", AluOp::Xor)];
    let both = |(name, op): (&str, AluOp)| {
        [
            rule(name.to_owned(), op, Second::Register),
            rule(format!("{name}i"), op, Second::Immediate),
        ]
    };
    ops.into_iter().flat_map(both).collect()
}

fn rule(name: String, op: AluOp, second: Second) -> Rule {
    let pattern = pattern(op, second);
    let operand = match second {
        Second::Register => (Value::Second, ALL),
        Second::Immediate => (Value::Instruction, pattern.digits() | IMMEDIATE_I),
    };
    let mut reads = vec![
        operand,
        (Value::First, ALL),
        (Value::Written, ALL),
        (Value::Statuses, ALL),
    ];
    if second == Second::Register {
        reads.push((Value::Instruction, pattern.digits()));
    }
    Rule {
        name: format!("result/{name}"),
        hints: HINTS.to_vec(),
        reads,
        body: Box::new(move |a, inputs| body(a, inputs, op, second, &pattern)),
        refutes: of_claim(move |claim| refutes(claim, op, second, &pattern)),
    }
}

fn body(a: &mut Assembler, inputs: &Inputs, op: AluOp, second: Second, pattern: &Pattern) {
    let highest = match second {
        Second::Register => inputs.digit(Value::Second, 7),
        Second::Immediate => extend_digits(a, inputs.digit(Value::Instruction, 7)),
    };
    let place = inputs.hint("place");
    verify_below(a, place, 8);
    let picked = [
        highest,
        inputs.digit(Value::First, 7),
        inputs.digit(Value::Written, 7),
    ]
    .map(|highest| {
        a.copy(place);
        a.look_up(highest)
    });
    let [y, x, written] = picked;
    verify_operation(a, inputs, op, [x, y, written]);
    pattern.verify(a, inputs, 0);
    verify_running(a, inputs);
}

/// Pushes five copies of the sign of an immediate on top of its three digits, and gives the uppermost.
fn extend_digits(a: &mut Assembler, highest: Item) -> Item {
    let highest = a.copy(highest);
    sign_digit(a, highest);
    a.ops(&[OP_DUP, OP_2DUP, OP_DUP]);
    a.at(0)
}

/// Takes three digits, and verifies that the third is not what the operation gives of the others.
///
/// The hinted bits build `x + 64 y + 4096 (x op y)`: with the hinted result it is the same number in one way only.
fn verify_operation(a: &mut Assembler, inputs: &Inputs, op: AluOp, [x, y, written]: [Item; 3]) {
    let weight = |x: u32, y: u32| i64::from(x + 64 * y + 4096 * (op.apply(x, y) & 1));
    for bit in (0..4).rev() {
        a.take(inputs.hint(HINTS[3 + 2 * bit]));
        a.take(inputs.hint(HINTS[2 + 2 * bit]));
        let inner = |x: u32| {
            move |a: &mut Assembler| {
                a.branch(
                    |a| {
                        a.push(weight(x, 1));
                    },
                    |a| {
                        a.push(weight(x, 0));
                    },
                );
            }
        };
        a.branch(inner(1), inner(0));
        if bit < 3 {
            a.op(OP_ADD);
        }
        if bit > 0 {
            a.ops(&[OP_DUP, OP_ADD]);
        }
    }
    let sum = a.at(0);
    let given = inputs.hint("true digit");
    a.take(given);
    a.take(written);
    a.ops(&[OP_OVER, OP_NUMNOTEQUAL, OP_VERIFY]);
    crate::word::shift_left(a, 6);
    a.take(y);
    a.op(OP_ADD);
    crate::word::shift_left(a, 6);
    a.take(x);
    a.op(OP_ADD);
    a.take(sum);
    a.op(OP_NUMEQUALVERIFY);
}

fn refutes(claim: &StepClaim, op: AluOp, second: Second, pattern: &Pattern) -> Option<Vec<i64>> {
    let result = result(claim, op, second);
    let false_bits = claim.written ^ result;
    if !is_running(claim) || !pattern.matches(claim.instruction) || false_bits == 0 {
        return None;
    }
    let place = false_bits.leading_zeros() / 4;
    let digit = |word: u32| word << (4 * place) >> 28;
    let operand = match second {
        Second::Register => claim.second,
        Second::Immediate => (claim.instruction as i32 >> 20) as u32,
    };
    let mut hints = vec![i64::from(place), i64::from(digit(result))];
    for bit in 0..4 {
        hints.extend([digit(claim.first), digit(operand)].map(|digit| i64::from(digit >> bit & 1)));
    }
    Some(hints)
}
