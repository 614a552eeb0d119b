//! Loads and stores: the address, the word that is read out, the word that is put in.

use bitcoin::opcodes::all::*;
use bitsect_machine::Instruction;

use super::alu::{is_running, limbs};
use super::decode::{IMMEDIATE_I, Pattern, extend, immediate_i, opcode};
use super::jump::{IMMEDIATE_S, half_of_six, immediate_s};
use super::{StepClaim, of_claim, verify_running};
use crate::leaf::{ALL, Inputs, Rule, Value};
use crate::script::{Assembler, Item};
use crate::word::{self, AT, Digit, low_bits, verify_below};

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    vec![
        address("load", Pattern::opcode(opcode::LOAD)),
        address("store", Pattern::opcode(opcode::STORE)),
        whole("lw", Pattern::opcode(opcode::LOAD).funct3(2), Value::Word),
        whole("sw", Pattern::opcode(opcode::STORE).funct3(2), Value::Second),
        load("lb", 0, 2, true),
        load("lh", 1, 4, true),
        load("lbu", 4, 2, false),
        load("lhu", 5, 4, false),
        store("sb", 0, 2),
        store("sh", 1, 4),
    ]
}

/// The address is another than the register and the offset give; also where the step traps for it.
fn address(name: &str, pattern: Pattern) -> Rule {
    let load = pattern.opcode == opcode::LOAD;
    let immediate = if load { IMMEDIATE_I } else { IMMEDIATE_S };
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        let offset = if load {
            immediate_i(a, inputs)
        } else {
            immediate_s(a, inputs, false)
        };
        pattern.verify(a, inputs, 0);
        let offset = extend(a, offset);
        let first = limbs(a, inputs, Value::First);
        let sum = word::add(a, first, offset);
        let address = limbs(a, inputs, Value::Address);
        word::verify_differ(a, sum, address);
        a.take(inputs.digit(Value::Statuses, 1));
        // Of a word that is no instruction there is no address.
        a.push(3);
        a.ops(&[OP_NUMNOTEQUAL, OP_VERIFY]);
        a.take(inputs.digit(Value::Statuses, 0));
        a.ops(&[OP_NOT, OP_VERIFY]);
    };
    Rule {
        name: format!("address/{name}"),
        hints: if load { vec![] } else { vec!["half"] },
        reads: vec![
            (Value::Instruction, pattern.digits() | immediate),
            (Value::First, ALL),
            (Value::Address, ALL),
            (Value::Statuses, ALL),
        ],
        body: Box::new(body),
        refutes: of_claim(move |claim| {
            let word = claim.instruction;
            let offset = if load {
                word as i32 >> 20
            } else {
                (word as i32 >> 25 << 5) | (word >> 7 & 31) as i32
            };
            let differs = claim.address != claim.first.wrapping_add(offset as u32);
            let applies = claim.status == 0 && claim.status_after != 3 && pattern.matches(word);
            let hints = if load { vec![] } else { vec![half_of_six(claim)] };
            (applies && differs).then_some(hints)
        }),
    }
}

/// `lw` or `sw` writes another word than it has.
fn whole(name: &str, pattern: Pattern, from: Value) -> Rule {
    Rule {
        name: format!("result/{name}"),
        hints: vec![AT],
        reads: vec![
            (from, ALL),
            (Value::Written, ALL),
            (Value::Instruction, pattern.digits()),
            (Value::Statuses, ALL),
        ],
        body: Box::new(move |a, inputs| {
            word::verify_differ_at(
                a,
                inputs.hint(AT),
                &inputs.digits(from),
                &inputs.digits(Value::Written),
            );
            pattern.verify(a, inputs, 0);
            verify_running(a, inputs);
        }),
        refutes: of_claim(move |claim| {
            let word = if from == Value::Word {
                claim.word
            } else {
                claim.second
            };
            let place = i64::from((word ^ claim.written).leading_zeros() / 4);
            let differs = word != claim.written;
            (is_running(claim) && pattern.matches(claim.instruction) && differs).then(|| vec![place])
        }),
    }
}

/// Pushes the first digit's number within the word that an access of less than a word reaches: 0, 2, 4 or 6.
fn first_digit(a: &mut Assembler, inputs: &Inputs) -> Item {
    low_bits(a, inputs.digit(Value::Address, 0), 2);
    a.ops(&[OP_DUP, OP_ADD]);
    a.at(0)
}

/// A load of `digits` digits, extended by its sign or by zeros.
fn load(name: &str, funct3: u8, digits: usize, signed: bool) -> Rule {
    let pattern = Pattern::opcode(opcode::LOAD).funct3(funct3);
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        let first = first_digit(a, inputs);
        // Digit `first + n` lies `7 - first - n` below the highest.
        let picked = (0..digits).map(|digit| {
            a.push(7 - digit as i64);
            a.copy(first);
            a.op(OP_SUB);
            a.look_up(inputs.digit(Value::Word, 7))
        });
        let picked: Vec<Item> = picked.collect();
        a.take(first);
        a.op(OP_DROP);
        let fill = if signed {
            let highest = a.copy(picked[digits - 1]);
            Some(word::sign_digit(a, highest))
        } else {
            None
        };
        let pairs = (0..8).rev().map(|at| {
            let written = Digit::Item(inputs.digit(Value::Written, at));
            let expected = match (picked.get(at), fill) {
                (Some(item), _) => Digit::Item(*item),
                (None, Some(fill)) => Digit::Item(a.copy(fill)),
                (None, None) => Digit::Constant(0),
            };
            (written, expected)
        });
        let pairs: Vec<(Digit, Digit)> = pairs.collect();
        word::verify_digits_differ(a, &pairs);
        pattern.verify(a, inputs, 0);
        verify_running(a, inputs);
    };
    Rule {
        name: format!("result/{name}"),
        hints: vec![],
        reads: vec![
            (Value::Address, 1),
            (Value::Word, ALL),
            (Value::Written, ALL),
            (Value::Instruction, pattern.digits()),
            (Value::Statuses, ALL),
        ],
        body: Box::new(body),
        refutes: of_claim(move |claim| {
            let Some(Instruction::Load { op, .. }) = Instruction::decode(claim.instruction) else {
                return None;
            };
            let good = is_running(claim)
                && pattern.matches(claim.instruction)
                && claim.address.is_multiple_of(op.size());
            (good && claim.written != op.extract(claim.word, claim.address)).then(Vec::new)
        }),
    }
}

/// A store of `digits` digits: the challenger names the digit that is false, as its group of `digits` and its place there.
fn store(name: &str, funct3: u8, digits: usize) -> Rule {
    let pattern = Pattern::opcode(opcode::STORE).funct3(funct3);
    let width = digits as i64;
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        let (group, place) = (inputs.hint("group"), inputs.hint("place"));
        verify_below(a, place, width);
        verify_below(a, group, 8 / width);
        // From the highest digit: `7 - (group * digits + place)`.
        let depth = |a: &mut Assembler, group: Option<Item>| {
            a.push(7);
            if let Some(group) = group {
                a.copy(group);
                word::shift_left(a, digits.trailing_zeros() as usize);
                a.op(OP_SUB);
            }
            a.copy(place);
            a.op(OP_SUB);
        };
        depth(a, Some(group));
        a.look_up(inputs.digit(Value::Written, 7));
        let written = a.at(0);
        let first = first_digit(a, inputs);
        a.copy(group);
        word::shift_left(a, digits.trailing_zeros() as usize);
        a.take(first);
        a.op(OP_NUMEQUAL);
        a.branch(
            |a| {
                depth(a, None);
                a.look_up(inputs.digit(Value::Second, 7));
            },
            |a| {
                depth(a, Some(group));
                a.look_up(inputs.digit(Value::Word, 7));
            },
        );
        a.take(written);
        a.ops(&[OP_NUMNOTEQUAL, OP_VERIFY]);
        pattern.verify(a, inputs, 0);
        verify_running(a, inputs);
    };
    Rule {
        name: format!("result/{name}"),
        hints: vec!["group", "place"],
        reads: vec![
            (Value::Address, 1),
            (Value::Word, ALL),
            (Value::Second, ALL),
            (Value::Written, ALL),
            (Value::Instruction, pattern.digits()),
            (Value::Statuses, ALL),
        ],
        body: Box::new(body),
        refutes: of_claim(move |claim| refutes_store(claim, &pattern, width)),
    }
}

fn refutes_store(claim: &StepClaim, pattern: &Pattern, width: i64) -> Option<Vec<i64>> {
    let Some(Instruction::Store { op, .. }) = Instruction::decode(claim.instruction) else {
        return None;
    };
    let good =
        is_running(claim) && pattern.matches(claim.instruction) && claim.address.is_multiple_of(op.size());
    let wrong = claim.written ^ op.insert(claim.word, claim.address, claim.second);
    if !good || wrong == 0 {
        return None;
    }
    let digit = i64::from(wrong.trailing_zeros() / 4);
    Some(vec![digit / width, digit % width])
}
