//! `sll`, `srl`, `sra`, `slli`, `srli`, `srai`: the written word is another than the first operand, shifted.
//!
//! A shift is a product with a power of two. Half a word times one of the first sixteen is an operand, and one of as many
//! doublings; where the distance is sixteen or more, the halves are at other places.

use bitcoin::opcodes::all::*;
use bitsect_machine::AluOp;

use super::alu::{Second, is_running, pattern, result};
use super::decode::Pattern;
use super::{StepClaim, of_claim, verify_running};
use crate::leaf::{ALL, Inputs, Rule, Value};
use crate::product::{Sum, Term};
use crate::script::Assembler;
use crate::word::{self, Digit, shift_left};

/// The digits of the instruction that have the distance: its lowest four bits, and its fifth.
const DISTANCE: [usize; 2] = [5, 6];

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    vec![
        left("sll", Second::Register),
        left("slli", Second::Immediate),
        right("srl", AluOp::Srl, Second::Register),
        right("srli", AluOp::Srl, Second::Immediate),
        right("sra", AluOp::Sra, Second::Register),
        right("srai", AluOp::Sra, Second::Immediate),
    ]
}

/// The product less the written word and less a multiple of 2^32, which is a hint, is not zero: as in `mul`.
fn left(name: &str, second: Second) -> Rule {
    let pattern = pattern(AluOp::Sll, second);
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        shifted(a, inputs, second, AluOp::Sll);
        push_far(a, inputs, second);
        a.when(|a| {
            a.op(OP_DROP);
            a.push(0);
            a.op(OP_SWAP);
        });
        let (low, high) = (a.at(1), a.at(0));
        let mut sum = Sum::new();
        sum.add(32, Term::Item(inputs.hint("multiple")));
        sum.add(16, Term::Item(high));
        sum.double_late(16);
        sum.add(0, Term::Item(low));
        sum.subtract_digits(0, &inputs.digits(Value::Written), false);
        sum.write(a);
        a.op(OP_VERIFY);
        pattern.verify(a, inputs, 0);
        verify_running(a, inputs);
    };
    Rule {
        name: format!("result/{name}"),
        hints: hints(&["multiple"], second),
        reads: reads(&pattern, second),
        body: Box::new(body),
        refutes: of_claim(move |claim| {
            let truth = result(claim, AluOp::Sll, second);
            let rest = truth.wrapping_sub(claim.written) as i32;
            let refuted = is_running(claim) && pattern.matches(claim.instruction) && rest != 0;
            let distance = distance(claim, second);
            let kept = if distance < 16 {
                claim.first
            } else {
                claim.first & 0xffff
            };
            let product = i64::from(kept) << distance;
            let multiple = (i64::from(rest) + i64::from(claim.written) - product) >> 32;
            refuted.then(|| with_distance(vec![multiple], claim, second))
        }),
    }
}

/// The first operand times `2^(31 - distance)`, less the written word's 2^31-fold, is `difference * 2^31 + rest`, with a
/// difference that is not zero and a rest of 31 bits. The difference is two hints, `high * 2^28 + low`: `low` is below
/// 2^28, because eight times it is an operand.
fn right(name: &str, op: AluOp, second: Second) -> Rule {
    let pattern = pattern(op, second);
    let signed = op == AluOp::Sra;
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        shifted(a, inputs, second, op);
        push_far(a, inputs, second);
        a.branch(
            |a| {
                a.push(0);
            },
            |a| {
                a.push(0);
                a.ops(&[OP_ROT, OP_ROT]);
            },
        );
        let (high, low) = (inputs.hint("high"), inputs.hint("low"));
        let mut sum = Sum::new();
        for (depth, place) in [32, 16, 0].into_iter().enumerate() {
            sum.add(place, Term::Item(a.at(depth)));
        }
        sum.subtract_digits(31, &inputs.digits(Value::Written), signed);
        sum.subtract(59, Term::Item(high));
        sum.subtract(31, Term::Item(low));
        sum.keep(high);
        sum.keep(low);
        sum.write(a);
        a.push(0);
        a.ops(&[OP_GREATERTHANOREQUAL, OP_VERIFY]);
        pattern.verify(a, inputs, 0);
        verify_running(a, inputs);
        shift_left(a, 3);
        a.ops(&[OP_BOOLOR, OP_VERIFY]);
    };
    Rule {
        name: format!("result/{name}"),
        hints: hints(&["high", "low"], second),
        reads: reads(&pattern, second),
        body: Box::new(body),
        refutes: of_claim(move |claim| {
            let read = |word: u32| {
                if signed {
                    i64::from(word as i32)
                } else {
                    i64::from(word)
                }
            };
            let difference = read(result(claim, op, second)) - read(claim.written);
            let refuted = is_running(claim) && pattern.matches(claim.instruction) && difference != 0;
            let hints = vec![difference >> 28, difference & ((1 << 28) - 1)];
            refuted.then(|| with_distance(hints, claim, second))
        }),
    }
}

fn hints(own: &[&'static str], second: Second) -> Vec<&'static str> {
    let half = (second == Second::Register).then_some("half");
    own.iter().copied().chain(half).collect()
}

fn reads(pattern: &Pattern, second: Second) -> Vec<(Value, u128)> {
    let mut reads = vec![(Value::First, ALL)];
    let immediate = match second {
        Second::Register => {
            reads.push((Value::Second, 0b11));
            0
        }
        Second::Immediate => DISTANCE.iter().map(|digit| 1 << digit).sum(),
    };
    reads.push((Value::Written, ALL));
    reads.push((Value::Instruction, pattern.digits() | immediate));
    reads.push((Value::Statuses, ALL));
    reads
}

const fn distance(claim: &StepClaim, second: Second) -> u32 {
    match second {
        Second::Register => claim.second & 31,
        Second::Immediate => claim.instruction >> 20 & 31,
    }
}

/// Adds the hint that a distance in a register needs.
fn with_distance(mut hints: Vec<i64>, claim: &StepClaim, second: Second) -> Vec<i64> {
    if second == Second::Register {
        hints.push(i64::from(claim.second >> 5 & 7));
    }
    hints
}

/// Takes the first operand and the distance's low digit, and pushes the operand's halves, the upper one on top: times
/// `2^digit` to the left, and times `2^(15 - digit)` to the right.
fn shifted(a: &mut Assembler, inputs: &Inputs, second: Second, op: AluOp) {
    let digit = match second {
        Second::Register => inputs.digit(Value::Second, 0),
        Second::Immediate => inputs.digit(Value::Instruction, DISTANCE[0]),
    };
    let mut digits = inputs.digits(Value::First);
    if op == AluOp::Sra {
        digits[7] = word::signed_digit(a, digits[7]);
    }
    let digits: Vec<Digit> = digits.into_iter().map(Digit::Item).collect();
    let (low, high) = digits.split_at(4);
    for (digits, last) in [(high, false), (low, true)] {
        let first = word::number(a, digits);
        for _ in 0..15 {
            a.ops(&[OP_DUP, OP_DUP, OP_ADD]);
        }
        if op == AluOp::Sll {
            a.push(15);
        }
        if last {
            a.take(digit);
        } else {
            a.copy(digit);
        }
        if op == AluOp::Sll {
            a.op(OP_SUB);
        }
        // The digit is one of a signed value, so it is below 16.
        a.pick();
        a.op(OP_TOALTSTACK);
        a.drop_through(first);
    }
    a.ops(&[OP_FROMALTSTACK, OP_FROMALTSTACK]);
}

/// Pushes whether the distance is sixteen or more, for a branch.
fn push_far(a: &mut Assembler, inputs: &Inputs, second: Second) {
    match second {
        Second::Register => {
            // A branch takes 0 and 1 only, so the hint is half of the digit, rounded down.
            a.take(inputs.digit(Value::Second, 1));
            a.take(inputs.hint("half"));
            shift_left(a, 1);
            a.op(OP_SUB);
        }
        // The pattern has 0 or 1 there.
        Second::Immediate => {
            a.copy(inputs.digit(Value::Instruction, DISTANCE[1]));
        }
    }
}
