//! Conditions on published values, of which rules without arithmetic are made. Each is a Script and its mirror in Rust.

use core::ops::Range;

use bitcoin::opcodes::all::*;
use bitsect_machine::Instruction;
use bitsect_machine::address::PROTECTED;

use super::decode::{OPCODE, Pattern, opcode, verify_is};
use super::{StepClaim, of_claim};
use crate::leaf::{ALL, Inputs, Rule, Value};
use crate::script::{Assembler, Item};
use crate::word::{self, AT, Digit};

/// Something that holds of a claim.
#[derive(Clone, Debug)]
pub enum Condition {
    /// The machine was running before the step.
    Running,
    /// The machine had stopped before the step.
    Stopped,
    /// The status after the step.
    After(u8),
    /// Not this status after the step.
    AfterNot(u8),
    /// At least this status after the step.
    AfterAtLeast(u8),
    /// The instruction word.
    Matches(Pattern),
    /// Another opcode.
    OpcodeNot(u8),
    /// An opcode that rv32im does not have.
    UnknownOpcode,
    /// Whether `funct3` is one of these, by bit.
    Funct3 {
        /// Bit `i` for `funct3 = i`.
        set: u8,
        /// Whether it is.
        is: bool,
    },
    /// Whether `funct3` and `funct7` are those of an operation on registers.
    Operation(bool),
    /// Whether `funct3` and `funct7` are those of an operation on an immediate.
    ImmediateOperation(bool),
    /// Whether the word of a system instruction is `ecall` or `ebreak`.
    System(bool),
    /// Whether a word is this one.
    Word {
        /// The value.
        value: Value,
        /// The word.
        word: u32,
        /// Whether it is.
        is: bool,
    },
    /// Whether a word is a multiple of `2^bits`.
    Multiple {
        /// The value.
        value: Value,
        /// The number of low bits that are zero.
        bits: usize,
        /// Whether it is.
        is: bool,
    },
    /// Whether a word is in the top `2^bits` bytes of the address space.
    Uppermost {
        /// The value.
        value: Value,
        /// The number of bits below those that are all ones.
        bits: usize,
        /// Whether it is.
        is: bool,
    },
    /// Whether a word is within a range below 2^28.
    Within {
        /// The value.
        value: Value,
        /// The range.
        range: Range<u32>,
        /// Whether it is.
        is: bool,
    },
    /// Whether `rs1` names `x0`.
    Rs1IsZero(bool),
    /// Whether `rs2` names `x0`.
    Rs2IsZero(bool),
    /// Whether `rd` names `x0`.
    RdIsZero(bool),
    /// Two roots differ: the first condition of its rule, so that the first lies uppermost.
    Differ(Value, Value),
}

/// The bits of an address below protected memory.
const PROTECTED_BITS: usize = PROTECTED.trailing_zeros() as usize;

/// Whether a word reaches protected memory.
pub const fn protected(value: Value, is: bool) -> Condition {
    Condition::Uppermost {
        value,
        bits: PROTECTED_BITS,
        is,
    }
}

/// Makes the rule that is satisfied where all conditions hold.
pub fn rule(name: impl Into<String>, conditions: Vec<Condition>) -> Rule {
    let mut reads: Vec<(Value, u128)> = Vec::new();
    for (value, digits) in conditions.iter().flat_map(Condition::reads) {
        match reads.iter_mut().find(|(other, _)| *other == value) {
            Some((_, kept)) => *kept |= digits,
            None => reads.push((value, digits)),
        }
    }
    let roots = conditions
        .iter()
        .any(|condition| matches!(condition, Condition::Differ(..)));
    let script = conditions.clone();
    Rule {
        name: name.into(),
        hints: if roots { vec![AT] } else { vec![] },
        reads,
        body: Box::new(move |a, inputs| {
            for condition in &script {
                condition.verify(a, inputs);
            }
        }),
        refutes: of_claim(move |claim| {
            let hold = conditions.iter().all(|condition| condition.holds(claim));
            hold.then(|| {
                conditions
                    .iter()
                    .filter_map(|condition| condition.place(claim))
                    .collect()
            })
        }),
    }
}

/// The opcodes of rv32im.
const OPCODES: [u8; 11] = [
    opcode::LUI,
    opcode::AUIPC,
    opcode::JAL,
    opcode::JALR,
    opcode::BRANCH,
    opcode::LOAD,
    opcode::STORE,
    opcode::OP_IMM,
    opcode::OP,
    opcode::FENCE,
    opcode::SYSTEM,
];

fn word_of(claim: &StepClaim, value: Value) -> u32 {
    match value {
        Value::Pc => claim.pc,
        Value::Instruction => claim.instruction,
        Value::First => claim.first,
        Value::Second => claim.second,
        Value::Word => claim.word,
        Value::Address => claim.address,
        Value::Written => claim.written,
        Value::Next => claim.next,
        _ => unreachable!("conditions on words are on words"),
    }
}

fn root_of(claim: &StepClaim, value: Value) -> [u8; 24] {
    match value {
        Value::Before => claim.before,
        Value::Middle => claim.middle,
        _ => claim.after,
    }
}

impl Condition {
    fn reads(&self) -> Vec<(Value, u128)> {
        let instruction = |digits| vec![(Value::Instruction, digits)];
        match self {
            Self::Running | Self::Stopped => vec![(Value::Statuses, 0b01)],
            Self::After(_) | Self::AfterNot(_) | Self::AfterAtLeast(_) => vec![(Value::Statuses, 0b10)],
            Self::Matches(pattern) => instruction(pattern.digits()),
            Self::OpcodeNot(_) | Self::UnknownOpcode => instruction(OPCODE),
            Self::Funct3 { .. } => instruction(0b1000),
            Self::Operation(_) | Self::ImmediateOperation(_) => instruction(0b1100_1000),
            Self::System(_) => instruction(ALL),
            Self::Word { value, .. } | Self::Within { value, .. } => vec![(*value, ALL)],
            Self::Multiple { value, bits, .. } => vec![(*value, (1 << bits.div_ceil(4)) - 1)],
            Self::Uppermost { value, bits, .. } => vec![(*value, 0xff & !((1 << (bits / 4)) - 1))],
            Self::Rs1IsZero(_) => instruction(0b0001_1000),
            Self::Rs2IsZero(_) => instruction(0b0110_0000),
            Self::RdIsZero(_) => instruction(0b0000_0110),
            Self::Differ(first, second) => vec![(*first, ALL), (*second, ALL)],
        }
    }

    /// Whether it holds.
    pub fn holds(&self, claim: &StepClaim) -> bool {
        let word = claim.instruction;
        let decodes = Instruction::decode(word).is_some();
        match self {
            Self::Running => claim.status == 0,
            Self::Stopped => claim.status != 0,
            Self::After(status) => claim.status_after == *status,
            Self::AfterNot(status) => claim.status_after != *status,
            Self::AfterAtLeast(status) => claim.status_after >= *status,
            Self::Matches(pattern) => pattern.matches(word),
            Self::OpcodeNot(opcode) => word & 0x7f != u32::from(*opcode),
            Self::UnknownOpcode => OPCODES.iter().all(|opcode| word & 0x7f != u32::from(*opcode)),
            Self::Funct3 { set, is } => (set >> (word >> 12 & 7) & 1 == 1) == *is,
            // Of another opcode the same bits would be asked; the opcode is a condition of its own.
            Self::Operation(is) => Instruction::decode(word & !0x7f | 0x33).is_some() == *is,
            Self::ImmediateOperation(is) => Instruction::decode(word & !0x7f | 0x13).is_some() == *is,
            Self::System(is) => decodes == *is,
            Self::Word { value, word, is } => (word_of(claim, *value) == *word) == *is,
            Self::Multiple { value, bits, is } => (word_of(claim, *value) & low_mask(*bits) == 0) == *is,
            Self::Uppermost { value, bits, is } => {
                (word_of(claim, *value) | low_mask(*bits) == u32::MAX) == *is
            }
            Self::Within { value, range, is } => range.contains(&word_of(claim, *value)) == *is,
            Self::Rs1IsZero(is) => (word >> 15 & 31 == 0) == *is,
            Self::Rs2IsZero(is) => (word >> 20 & 31 == 0) == *is,
            Self::RdIsZero(is) => (word >> 7 & 31 == 0) == *is,
            Self::Differ(first, second) => root_of(claim, *first) != root_of(claim, *second),
        }
    }

    /// The place, from the highest, of the digit in which two roots differ.
    fn place(&self, claim: &StepClaim) -> Option<i64> {
        let Self::Differ(first, second) = self else {
            return None;
        };
        let (first, second) = (root_of(claim, *first), root_of(claim, *second));
        let byte = (0..24).rev().find(|at| first[*at] != second[*at])?;
        let upper = first[byte] >> 4 != second[byte] >> 4;
        Some(47 - (2 * byte as i64 + i64::from(upper)))
    }

    /// Verifies that it holds, and leaves the digits where they are.
    fn verify(&self, a: &mut Assembler, inputs: &Inputs) {
        let instruction = |at| inputs.digit(Value::Instruction, at);
        match self {
            Self::Running => {
                a.copy(inputs.digit(Value::Statuses, 0));
                a.ops(&[OP_NOT, OP_VERIFY]);
            }
            Self::Stopped => {
                a.copy(inputs.digit(Value::Statuses, 0));
                a.op(OP_VERIFY);
            }
            Self::After(status) => compare_after(a, inputs, *status, &[OP_NUMEQUALVERIFY]),
            Self::AfterNot(status) => compare_after(a, inputs, *status, &[OP_NUMNOTEQUAL, OP_VERIFY]),
            Self::AfterAtLeast(status) => {
                compare_after(a, inputs, *status, &[OP_GREATERTHANOREQUAL, OP_VERIFY])
            }
            Self::Matches(pattern) => pattern.verify(a, inputs, ALL),
            Self::OpcodeNot(opcode) => {
                push_opcode(a, inputs);
                a.push(i64::from(*opcode));
                a.ops(&[OP_NUMNOTEQUAL, OP_VERIFY]);
            }
            Self::UnknownOpcode => {
                push_opcode(a, inputs);
                for opcode in OPCODES {
                    a.op(OP_DUP);
                    a.push(i64::from(opcode));
                    a.ops(&[OP_NUMNOTEQUAL, OP_VERIFY]);
                }
                a.op(OP_DROP);
            }
            Self::Funct3 { set, is } => {
                push_funct3(a, inputs);
                push_member(a, *set);
                verify(a, *is);
            }
            Self::Operation(is) => {
                push_operation(a, inputs);
                verify(a, *is);
            }
            Self::ImmediateOperation(is) => {
                push_immediate_operation(a, inputs);
                verify(a, *is);
            }
            Self::System(is) => {
                // All digits but 0 and 1 of the opcode and 5, which tells `ecall` from `ebreak`, are zero.
                a.copy(instruction(1));
                a.push(7);
                a.op(OP_SUB);
                for at in [2, 3, 4, 6, 7] {
                    a.copy(instruction(at));
                    a.op(OP_ADD);
                }
                a.op(OP_NOT);
                a.copy(instruction(5));
                a.push(2);
                a.ops(&[OP_LESSTHAN, OP_BOOLAND]);
                verify(a, *is);
            }
            Self::Word { value, word, is } => verify_word(a, inputs, *value, *word, *is),
            Self::Multiple { value, bits, is } => {
                push_low_bits(a, inputs, *value, *bits);
                if *is {
                    a.op(OP_NOT);
                }
                a.op(OP_VERIFY);
            }
            Self::Uppermost { value, bits, is } => {
                push_zero_bits_above(a, inputs, *value, *bits);
                if *is {
                    a.op(OP_NOT);
                }
                a.op(OP_VERIFY);
            }
            Self::Within { value, range, is } => {
                push_within(a, inputs, *value, range);
                verify(a, *is);
            }
            Self::Rs1IsZero(is) => {
                push_rs1_lowest(a, inputs);
                a.copy(instruction(4));
                a.op(OP_ADD);
                if *is {
                    a.op(OP_NOT);
                }
                a.op(OP_VERIFY);
            }
            Self::Rs2IsZero(is) => {
                let six = a.copy(instruction(6));
                word::low_bits(a, six, 1);
                a.copy(instruction(5));
                a.op(OP_ADD);
                if *is {
                    a.op(OP_NOT);
                }
                a.op(OP_VERIFY);
            }
            Self::RdIsZero(is) => {
                a.copy(instruction(1));
                a.push(7);
                a.op(OP_GREATERTHAN);
                a.copy(instruction(2));
                a.op(OP_ADD);
                if *is {
                    a.op(OP_NOT);
                }
                a.op(OP_VERIFY);
            }
            Self::Differ(first, second) => {
                let [first, second] = [*first, *second].map(|value| inputs.digits(value));
                word::verify_differ_at(a, inputs.hint(AT), &first, &second);
            }
        }
    }
}

const fn low_mask(bits: usize) -> u32 {
    ((1_u64 << bits) - 1) as u32
}

fn verify(a: &mut Assembler, is: bool) {
    if !is {
        a.op(OP_NOT);
    }
    a.op(OP_VERIFY);
}

fn compare_after(a: &mut Assembler, inputs: &Inputs, status: u8, opcodes: &[bitcoin::opcodes::Opcode]) {
    a.copy(inputs.digit(Value::Statuses, 1));
    a.push(i64::from(status));
    a.ops(opcodes);
}

/// Pushes the opcode: seven bits.
fn push_opcode(a: &mut Assembler, inputs: &Inputs) {
    let one = a.copy(inputs.digit(Value::Instruction, 1));
    word::low_bits(a, one, 3);
    word::shift_left(a, 4);
    a.copy(inputs.digit(Value::Instruction, 0));
    a.op(OP_ADD);
}

fn push_funct3(a: &mut Assembler, inputs: &Inputs) -> Item {
    let three = a.copy(inputs.digit(Value::Instruction, 3));
    word::low_bits(a, three, 3)
}

/// Pushes bit 0 of `rs1`.
fn push_rs1_lowest(a: &mut Assembler, inputs: &Inputs) {
    a.copy(inputs.digit(Value::Instruction, 3));
    a.push(7);
    a.op(OP_GREATERTHAN);
}

/// Takes a number below eight, and pushes whether it is in the set.
fn push_member(a: &mut Assembler, set: u8) {
    let members: Vec<i64> = (0..8).filter(|member| set >> member & 1 == 1).collect();
    let (last, others) = members.split_last().expect("a set that is not empty");
    for (index, member) in others.iter().enumerate() {
        a.op(OP_DUP);
        a.push(*member);
        a.op(OP_NUMEQUAL);
        if index > 0 {
            a.ops(&[OP_ROT, OP_BOOLOR]);
        }
        a.op(OP_SWAP);
    }
    a.push(*last);
    a.op(OP_NUMEQUAL);
    if !others.is_empty() {
        a.op(OP_BOOLOR);
    }
}

/// Pushes `funct7` with bit 0 of digit 6 left out: `16 n7 + 2 (n6 / 2)`.
fn push_funct7_doubled(a: &mut Assembler, inputs: &Inputs) -> Item {
    a.copy(inputs.digit(Value::Instruction, 7));
    word::shift_left(a, 4);
    a.copy(inputs.digit(Value::Instruction, 6));
    a.op(OP_DUP);
    let six_again = a.at(0);
    word::low_bits(a, six_again, 1);
    a.ops(&[OP_SUB, OP_ADD]);
    a.at(0)
}

/// Pushes whether an operation on registers has these `funct3` and `funct7`: 0 and 1 with any, 0x20 for `sub` and `sra`.
fn push_operation(a: &mut Assembler, inputs: &Inputs) {
    push_funct3(a, inputs);
    push_member(a, 0b0010_0001);
    let seven = push_funct7_doubled(a, inputs);
    a.copy(seven);
    a.push(2 * 0x20);
    a.ops(&[OP_NUMEQUAL, OP_ROT, OP_BOOLAND, OP_SWAP]);
    a.push(2 * 2);
    a.ops(&[OP_LESSTHAN, OP_BOOLOR]);
}

/// Pushes whether an operation on an immediate has these: shifts want `funct7` 0, and `srai` 0x20.
fn push_immediate_operation(a: &mut Assembler, inputs: &Inputs) {
    push_funct3(a, inputs);
    push_member(a, 0b1101_1101);
    let seven = push_funct7_doubled(a, inputs);
    a.copy(seven);
    a.op(OP_NOT);
    a.take(seven);
    a.push(2 * 0x20);
    a.op(OP_NUMEQUAL);
    // `funct3` 5, where it is a shift at all.
    push_funct3(a, inputs);
    a.push(5);
    a.ops(&[OP_NUMEQUAL, OP_BOOLAND, OP_BOOLOR, OP_BOOLOR]);
}

fn verify_word(a: &mut Assembler, inputs: &Inputs, value: Value, word: u32, is: bool) {
    let digit = |at: usize| (word >> (4 * at) & 15) as u8;
    if is {
        for at in (0..8).rev() {
            a.copy(inputs.digit(value, at));
            verify_is(a, digit(at));
        }
        return;
    }
    for at in (0..8).rev() {
        a.copy(inputs.digit(value, at));
        if digit(at) != 0 {
            a.push(i64::from(digit(at)));
            a.ops(&[OP_SUB, OP_ABS]);
        }
        if at < 7 {
            a.op(OP_ADD);
        }
    }
    a.op(OP_VERIFY);
}

/// Pushes a number that is zero exactly where the low bits are.
fn push_low_bits(a: &mut Assembler, inputs: &Inputs, value: Value, bits: usize) {
    let (whole, rest) = (bits / 4, bits % 4);
    for at in 0..whole {
        a.copy(inputs.digit(value, at));
        if at > 0 {
            a.op(OP_ADD);
        }
    }
    if rest > 0 {
        let digit = a.copy(inputs.digit(value, whole));
        word::low_bits(a, digit, rest);
        if whole > 0 {
            a.op(OP_ADD);
        }
    }
}

/// Pushes a number that is zero exactly where all bits from this one up are ones.
fn push_zero_bits_above(a: &mut Assembler, inputs: &Inputs, value: Value, bits: usize) {
    let (first, rest) = (bits / 4, bits % 4);
    a.push(15 * (8 - first as i64) - ((1 << rest) - 1));
    for at in first..8 {
        a.copy(inputs.digit(value, at));
        if at == first && rest > 0 {
            // Bits below do not matter: the digit counts without them.
            a.op(OP_DUP);
            let again = a.at(0);
            word::low_bits(a, again, rest);
            a.op(OP_SUB);
        }
        a.op(OP_SUB);
    }
}

/// Pushes whether a word is in a range.
fn push_within(a: &mut Assembler, inputs: &Inputs, value: Value, range: &Range<u32>) {
    assert!(i64::from(range.end) <= word::LOW, "a range below 2^28");
    let digits: Vec<Digit> = inputs
        .digits(value)
        .into_iter()
        .map(|digit| Digit::Item(a.copy(digit)))
        .collect();
    let limbs = word::limbs(a, &digits);
    a.take(limbs.low);
    a.push(i64::from(range.start));
    a.push(i64::from(range.end));
    a.op(OP_WITHIN);
    a.take(limbs.top);
    a.ops(&[OP_NOT, OP_BOOLAND]);
}
