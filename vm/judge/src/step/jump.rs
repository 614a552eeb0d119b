//! Where the machine goes next: branches, jumps, and the instruction behind.

use bitcoin::opcodes::all::*;
use bitsect_machine::{BranchOp, Instruction};

use super::alu::{is_running, limbs};
use super::decode::{IMMEDIATE_I, Pattern, immediate_i, opcode};
use super::{StepClaim, of_claim, verify_running};
use crate::leaf::{ALL, Inputs, Rule, Value};
use crate::script::{Assembler, Item};
use crate::word::{self, AT, Digit, Limbs};

/// The digits of a J immediate.
const IMMEDIATE_J: u128 = 0b1111_1000;
/// The digits of an S or B immediate.
pub const IMMEDIATE_S: u128 = 0b1100_0110;

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    let mut rules = vec![
        sequential(),
        stuck(),
        jal(),
        jalr(),
        link("jal", Pattern::opcode(opcode::JAL)),
        link("jalr", Pattern::opcode(opcode::JALR).funct3(0)),
    ];
    for (name, funct3, op) in [
        ("beq", 0, BranchOp::Eq),
        ("bne", 1, BranchOp::Ne),
        ("blt", 4, BranchOp::Lt),
        ("bge", 5, BranchOp::Ge),
        ("bltu", 6, BranchOp::Ltu),
        ("bgeu", 7, BranchOp::Geu),
    ] {
        let pattern = Pattern::opcode(opcode::BRANCH).funct3(funct3);
        rules.push(branch(name, op, pattern, true));
        rules.push(branch(name, op, pattern, false));
    }
    rules
}

/// Takes `pc`, and pushes the limbs of the address behind the instruction.
fn behind(a: &mut Assembler, inputs: &Inputs) -> Limbs {
    let pc = limbs(a, inputs, Value::Pc);
    let four = a.push(4);
    add_number(a, pc, four)
}

/// Takes limbs and a number with a sign, above -2^28 and below 2^28, and adds it.
fn add_number(a: &mut Assembler, limbs: Limbs, number: Item) -> Limbs {
    a.take(limbs.low);
    a.take(number);
    let low = a.op(OP_ADD).expect("a sum");
    word::reduce(a, Limbs { low, top: limbs.top })
}

/// Verifies that `next` is not the word of these limbs.
fn verify_next_is_not(a: &mut Assembler, inputs: &Inputs, expected: Limbs) {
    let next = limbs(a, inputs, Value::Next);
    word::verify_differ(a, expected, next);
}

/// An instruction that is no jump and no branch ran, and the machine is not at the one behind.
fn sequential() -> Rule {
    Rule {
        name: "next/sequential".to_owned(),
        hints: vec![],
        reads: vec![
            (Value::Pc, ALL),
            (Value::Next, ALL),
            (Value::Instruction, 0b10),
            (Value::Statuses, ALL),
        ],
        body: Box::new(|a, inputs| {
            let behind = behind(a, inputs);
            verify_next_is_not(a, inputs, behind);
            // Branches, `jal` and `jalr` are the opcodes with these three bits.
            a.take(inputs.digit(Value::Instruction, 1));
            a.push(10);
            a.ops(&[OP_SUB, OP_ABS]);
            a.push(4);
            a.ops(&[OP_NUMNOTEQUAL, OP_VERIFY]);
            a.take(inputs.digit(Value::Statuses, 0));
            a.ops(&[OP_NOT, OP_VERIFY]);
            a.take(inputs.digit(Value::Statuses, 1));
            a.push(2);
            a.ops(&[OP_LESSTHAN, OP_VERIFY]);
        }),
        refutes: of_claim(|claim| {
            let runs = claim.status == 0 && claim.status_after < 2;
            let plain = claim.instruction >> 4 & 7 != 6;
            (runs && plain && claim.next != claim.pc.wrapping_add(4)).then(Vec::new)
        }),
    }
}

/// The machine trapped, and is not where it was.
fn stuck() -> Rule {
    Rule {
        name: "next/trap".to_owned(),
        hints: vec![AT],
        reads: vec![(Value::Pc, ALL), (Value::Next, ALL), (Value::Statuses, ALL)],
        body: Box::new(|a, inputs| {
            word::verify_differ_at(
                a,
                inputs.hint(AT),
                &inputs.digits(Value::Pc),
                &inputs.digits(Value::Next),
            );
            a.take(inputs.digit(Value::Statuses, 0));
            a.ops(&[OP_NOT, OP_VERIFY]);
            a.take(inputs.digit(Value::Statuses, 1));
            a.push(1);
            a.ops(&[OP_GREATERTHAN, OP_VERIFY]);
        }),
        refutes: of_claim(|claim| {
            let trapped = claim.status == 0 && claim.status_after > 1;
            let place = (claim.pc ^ claim.next).leading_zeros() / 4;
            (trapped && claim.pc != claim.next).then(|| vec![i64::from(place)])
        }),
    }
}

/// `jal` or `jalr` wrote another word than the address behind it.
fn link(name: &str, pattern: Pattern) -> Rule {
    Rule {
        name: format!("result/{name}"),
        hints: vec![],
        reads: vec![
            (Value::Pc, ALL),
            (Value::Written, ALL),
            (Value::Instruction, pattern.digits()),
            (Value::Statuses, ALL),
        ],
        body: Box::new(move |a, inputs| {
            let behind = behind(a, inputs);
            let written = limbs(a, inputs, Value::Written);
            word::verify_differ(a, behind, written);
            pattern.verify(a, inputs, 0);
            verify_running(a, inputs);
        }),
        refutes: of_claim(move |claim| {
            let differs = claim.written != claim.pc.wrapping_add(4);
            (is_running(claim) && pattern.matches(claim.instruction) && differs).then(Vec::new)
        }),
    }
}

/// Takes the J immediate's digits, and pushes it with its sign. The hint is digit 5 without its lowest bit, halved.
///
/// By digits it is `n5 + 16 n6 + 256 n7 + 4096 n3 + 65536 n4`, but bit 0 of `n5` weighs 2,048, and bit 3 of `n7` -2^20.
fn immediate_j(a: &mut Assembler, inputs: &Inputs) -> Item {
    let at = |at| inputs.digit(Value::Instruction, at);
    let five = a.copy(at(5));
    let odd = word::split(a, five, inputs.hint("half"), 1);
    a.take(odd);
    a.push(2_047);
    a.op(OP_SWAP);
    a.op(OP_NOT);
    a.when(|a| {
        a.op(OP_DROP);
        a.push(0);
    });
    a.copy(at(7));
    a.push(7);
    a.op(OP_GREATERTHAN);
    a.when(|a| {
        a.push(2_048 + (1 << 20));
        a.op(OP_SUB);
    });
    let correction = a.at(0);
    word::number(a, &[5, 6, 7, 3, 4].map(|digit| Digit::Item(at(digit))));
    a.take(correction);
    a.op(OP_ADD);
    a.at(0)
}

fn jal() -> Rule {
    let pattern = Pattern::opcode(opcode::JAL);
    Rule {
        name: "next/jal".to_owned(),
        hints: vec!["half"],
        reads: vec![
            (Value::Instruction, pattern.digits() | IMMEDIATE_J),
            (Value::Pc, ALL),
            (Value::Next, ALL),
            (Value::Statuses, ALL),
        ],
        body: Box::new(move |a, inputs| {
            let offset = immediate_j(a, inputs);
            pattern.verify(a, inputs, 0);
            let pc = limbs(a, inputs, Value::Pc);
            let target = add_number(a, pc, offset);
            verify_next_is_not(a, inputs, target);
            verify_running(a, inputs);
        }),
        refutes: of_claim(move |claim| {
            let Some(Instruction::Jal { offset, .. }) = Instruction::decode(claim.instruction) else {
                return None;
            };
            let half = i64::from(claim.instruction >> 21 & 7);
            (is_running(claim) && claim.next != claim.pc.wrapping_add(offset)).then(|| vec![half])
        }),
    }
}

fn jalr() -> Rule {
    let pattern = Pattern::opcode(opcode::JALR).funct3(0);
    Rule {
        name: "next/jalr".to_owned(),
        hints: vec!["half"],
        reads: vec![
            (Value::Instruction, pattern.digits() | IMMEDIATE_I),
            (Value::First, ALL),
            (Value::Next, ALL),
            (Value::Statuses, ALL),
        ],
        body: Box::new(move |a, inputs| {
            let offset = immediate_i(a, inputs);
            pattern.verify(a, inputs, 0);
            let first = limbs(a, inputs, Value::First);
            let target = add_number(a, first, offset);
            let half = inputs.hint("half");
            word::split(a, target.low, half, 1);
            a.op(OP_DROP);
            a.take(half);
            let low = a.ops(&[OP_DUP, OP_ADD]).expect("the even target");
            verify_next_is_not(a, inputs, Limbs { low, ..target });
            verify_running(a, inputs);
        }),
        refutes: of_claim(move |claim| {
            let target = claim.first.wrapping_add((claim.instruction as i32 >> 20) as u32);
            let half = i64::from((target & 0x0fff_ffff) / 2);
            let differs = claim.next != target & !1;
            (is_running(claim) && pattern.matches(claim.instruction) && differs).then(|| vec![half])
        }),
    }
}

/// Takes the digits of an S or B immediate, and pushes it with its sign. The hint is digit 6 halved.
///
/// It is `2 n2 + 16 n6 + 256 n7` without bit 0 of `n6`. Bit 3 of `n1` is its lowest bit (S), or bit 11 (B); bit 3 of `n7`
/// is bit 11 of negative weight (S), or bit 12 (B).
pub fn immediate_s(a: &mut Assembler, inputs: &Inputs, branch: bool) -> Item {
    let at = |at| inputs.digit(Value::Instruction, at);
    let six = a.copy(at(6));
    let odd = word::split(a, six, inputs.hint("half"), 1);
    a.take(at(7));
    // The pattern may need it too.
    a.copy(at(6));
    a.take(odd);
    a.op(OP_SUB);
    // Below the even part of digit 6 is digit 7.
    a.op(OP_OVER);
    word::shift_left(a, 4);
    a.op(OP_ADD);
    word::shift_left(a, 3);
    a.take(inputs.digit(Value::Instruction, 2));
    a.op(OP_ADD);
    word::shift_left(a, 1);
    a.copy(inputs.digit(Value::Instruction, 1));
    a.push(7);
    a.op(OP_GREATERTHAN);
    a.when(|a| {
        a.push(if branch { 2_048 } else { 1 });
        a.op(OP_ADD);
    });
    a.op(OP_SWAP);
    a.push(7);
    a.op(OP_GREATERTHAN);
    a.when(|a| {
        a.push(if branch { 2_048 + 4_096 } else { 4_096 });
        a.op(OP_SUB);
    });
    a.at(0)
}

/// The hint of [`immediate_s`].
pub fn half_of_six(claim: &StepClaim) -> i64 {
    i64::from(claim.instruction >> 25 & 7)
}

fn branch(name: &str, op: BranchOp, pattern: Pattern, taken: bool) -> Rule {
    let immediate = if taken { IMMEDIATE_S } else { 0 };
    let mut reads = vec![(Value::First, ALL), (Value::Second, ALL)];
    reads.push((Value::Instruction, pattern.digits() | immediate));
    reads.extend([(Value::Pc, ALL), (Value::Next, ALL), (Value::Statuses, ALL)]);
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        verify_condition(a, inputs, op, taken);
        let target = if taken {
            let offset = immediate_s(a, inputs, true);
            pattern.verify(a, inputs, 0);
            let pc = limbs(a, inputs, Value::Pc);
            add_number(a, pc, offset)
        } else {
            pattern.verify(a, inputs, 0);
            behind(a, inputs)
        };
        verify_next_is_not(a, inputs, target);
        verify_running(a, inputs);
    };
    Rule {
        name: format!("next/{name}{}", if taken { "-taken" } else { "-not-taken" }),
        hints: if taken { vec!["half"] } else { vec![] },
        reads,
        body: Box::new(body),
        refutes: of_claim(move |claim| {
            let Some(Instruction::Branch {
                op: found, offset, ..
            }) = Instruction::decode(claim.instruction)
            else {
                return None;
            };
            if found != op || op.holds(claim.first, claim.second) != taken {
                return None;
            }
            let offset = if taken { offset } else { 4 };
            let hints = if taken { vec![half_of_six(claim)] } else { vec![] };
            (is_running(claim) && claim.next != claim.pc.wrapping_add(offset)).then_some(hints)
        }),
    }
}

/// Takes both operands, and verifies that the branch's condition holds, or that it does not.
fn verify_condition(a: &mut Assembler, inputs: &Inputs, op: BranchOp, holds: bool) {
    let equal = matches!((op, holds), (BranchOp::Eq, true) | (BranchOp::Ne, false));
    if matches!(op, BranchOp::Eq | BranchOp::Ne) {
        let digits = |value| inputs.digits(value).into_iter().rev();
        let pairs: Vec<(Item, Item)> = digits(Value::First).zip(digits(Value::Second)).collect();
        if equal {
            for (first, second) in pairs {
                a.take(first);
                a.take(second);
                a.op(OP_NUMEQUALVERIFY);
            }
        } else {
            let pairs: Vec<_> = pairs
                .into_iter()
                .map(|(x, y)| (Digit::Item(x), Digit::Item(y)))
                .collect();
            word::verify_digits_differ(a, &pairs);
        }
        return;
    }
    let first = limbs(a, inputs, Value::First);
    let second = limbs(a, inputs, Value::Second);
    word::less(a, first, second, matches!(op, BranchOp::Lt | BranchOp::Ge));
    let less = matches!(
        (op, holds),
        (BranchOp::Lt | BranchOp::Ltu, true) | (BranchOp::Ge | BranchOp::Geu, false)
    );
    if !less {
        a.op(OP_NOT);
    }
    a.op(OP_VERIFY);
}
