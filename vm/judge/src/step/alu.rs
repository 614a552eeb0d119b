//! `add`, `sub`, `slt`, `sltu` and their immediate forms: the written word is another than the instruction gives.

use bitsect_machine::AluOp;

use super::decode::{IMMEDIATE_I, Pattern, extend, immediate_i, opcode};
use super::{StepClaim, of_claim, verify_running};
use crate::leaf::{ALL, Inputs, Rule, Value};
use crate::script::Assembler;
use crate::word::{self, Digit, Limbs};

/// Where the second operand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    /// From `rs2`.
    Register,
    /// From the instruction.
    Immediate,
}

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    vec![
        arithmetic("add", AluOp::Add, Second::Register),
        arithmetic("sub", AluOp::Sub, Second::Register),
        arithmetic("addi", AluOp::Add, Second::Immediate),
        arithmetic("slt", AluOp::Slt, Second::Register),
        arithmetic("slti", AluOp::Slt, Second::Immediate),
        arithmetic("sltu", AluOp::Sltu, Second::Register),
        arithmetic("sltiu", AluOp::Sltu, Second::Immediate),
    ]
}

fn arithmetic(name: &str, op: AluOp, second: Second) -> Rule {
    let pattern = pattern(op, second);
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        let written = limbs(a, inputs, Value::Written);
        let first = limbs(a, inputs, Value::First);
        let second = operand(a, inputs, second);
        let result = match op {
            AluOp::Sub => word::subtract(a, first, second),
            AluOp::Slt | AluOp::Sltu => {
                let low = word::less(a, first, second, op == AluOp::Slt);
                let top = a.push(0);
                Limbs { low, top }
            }
            _ => word::add(a, first, second),
        };
        word::verify_differ(a, result, written);
        pattern.verify(a, inputs, 0);
        verify_running(a, inputs);
    };
    Rule {
        name: format!("result/{name}"),
        hints: vec![],
        reads: reads(&pattern, second),
        body: Box::new(body),
        refutes: of_claim(move |claim| {
            let false_result = claim.written != result(claim, op, second);
            (is_running(claim) && pattern.matches(claim.instruction) && false_result).then(Vec::new)
        }),
    }
}

/// Gives what an operation's instruction word looks like.
pub fn pattern(op: AluOp, second: Second) -> Pattern {
    let (funct3, funct7) = match op {
        AluOp::Add => (0, 0x00),
        AluOp::Sub => (0, 0x20),
        AluOp::Sll => (1, 0x00),
        AluOp::Slt => (2, 0x00),
        AluOp::Sltu => (3, 0x00),
        AluOp::Xor => (4, 0x00),
        AluOp::Srl => (5, 0x00),
        AluOp::Sra => (5, 0x20),
        AluOp::Or => (6, 0x00),
        AluOp::And => (7, 0x00),
        AluOp::Mul => (0, 0x01),
        AluOp::Mulh => (1, 0x01),
        AluOp::Mulhsu => (2, 0x01),
        AluOp::Mulhu => (3, 0x01),
        AluOp::Div => (4, 0x01),
        AluOp::Divu => (5, 0x01),
        AluOp::Rem => (6, 0x01),
        AluOp::Remu => (7, 0x01),
    };
    match second {
        Second::Register => Pattern::opcode(opcode::OP).funct3(funct3).funct7(funct7),
        Second::Immediate if matches!(op, AluOp::Sll | AluOp::Srl | AluOp::Sra) => {
            Pattern::opcode(opcode::OP_IMM).funct3(funct3).funct7(funct7)
        }
        Second::Immediate => Pattern::opcode(opcode::OP_IMM).funct3(funct3),
    }
}

/// Gives what an operation's rule reads: the operands uppermost, ready for [`limbs`].
pub fn reads(pattern: &Pattern, second: Second) -> Vec<(Value, u128)> {
    let mut reads = vec![(Value::Written, ALL), (Value::First, ALL)];
    let immediate = match second {
        Second::Register => {
            reads.push((Value::Second, ALL));
            0
        }
        Second::Immediate => IMMEDIATE_I,
    };
    reads.push((Value::Instruction, pattern.digits() | immediate));
    reads.push((Value::Statuses, ALL));
    reads
}

/// Whether the claim is of a machine that ran and runs on.
pub const fn is_running(claim: &StepClaim) -> bool {
    claim.status == 0 && claim.status_after == 0
}

/// Computes what the operation gives.
pub const fn result(claim: &StepClaim, op: AluOp, second: Second) -> u32 {
    let immediate = (claim.instruction as i32 >> 20) as u32;
    let second = match second {
        Second::Register => claim.second,
        Second::Immediate => immediate,
    };
    op.apply(claim.first, second)
}

/// Takes a word, and pushes its limbs.
pub fn limbs(a: &mut Assembler, inputs: &Inputs, value: Value) -> Limbs {
    let digits: Vec<Digit> = inputs.digits(value).into_iter().map(Digit::Item).collect();
    word::limbs(a, &digits)
}

/// Takes the second operand, and pushes its limbs.
pub fn operand(a: &mut Assembler, inputs: &Inputs, second: Second) -> Limbs {
    match second {
        Second::Register => limbs(a, inputs, Value::Second),
        Second::Immediate => {
            let immediate = immediate_i(a, inputs);
            extend(a, immediate)
        }
    }
}
