//! What the prover says of one step.

use core::ops::Range;

use alloy_primitives::B256;
use bitsect_machine::address::{EXIT, HASH_OF_NODE, NODE_FROM_HASH, SHA256_PREIMAGE};
use bitsect_machine::{Access, Instruction, StepWitness, Trap, Write, execute, is_callable, memory_address};

use crate::leaf::{Value, Values};

/// A root or node of the search: the first 24 bytes.
pub type Cut = [u8; 24];

/// The published values of a step. What a step does not read or write is zero where an honest prover says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepClaim {
    /// The status before the step, 0 to 9.
    pub status: u8,
    /// The status after the step.
    pub status_after: u8,
    /// `pc` before the step.
    pub pc: u32,
    /// The word at `pc`.
    pub instruction: u32,
    /// The first source register; `a7` of a call.
    pub first: u32,
    /// The second source register; `a0` of a call.
    pub second: u32,
    /// The aligned word that a load or store reaches; `a1` of a call.
    pub word: u32,
    /// The address that a load or store reaches.
    pub address: u32,
    /// What is written to `rd`, also where that is `x0`, or to memory.
    pub written: u32,
    /// `pc` after the step.
    pub next: u32,
    /// The state before the step.
    pub before: Cut,
    /// The state between the two writes.
    pub middle: Cut,
    /// The state after the step.
    pub after: Cut,
}

/// Cuts a root or node to what the search publishes.
pub fn cut(hash: &B256) -> Cut {
    let mut cut = [0; 24];
    cut.copy_from_slice(&hash[..24]);
    cut
}

impl StepClaim {
    /// Gives what an honest prover says.
    pub fn of(witness: &StepWitness, text: &Range<u32>) -> Self {
        let mut reads = witness.reads.iter();
        let control = reads.next().map_or([0; 64], |access| access.leaf);
        let word =
            |at: usize| u32::from_le_bytes([control[at], control[at + 1], control[at + 2], control[at + 3]]);
        let mut claim = Self {
            status: word(4) as u8,
            pc: word(0),
            before: cut(&witness.before),
            middle: cut(&witness.middle),
            after: cut(&witness.after),
            ..Self::default()
        };
        let mut rest = reads.map(Access::word);
        claim.instruction = rest.next().unwrap_or(0);
        match Instruction::decode(claim.instruction) {
            Some(Instruction::Ecall) => {
                claim.first = rest.next().unwrap_or(0);
                claim.second = rest.next().unwrap_or(0);
                claim.word = rest.next().unwrap_or(0);
            }
            Some(instruction) => {
                let (rs1, rs2) = instruction.sources();
                let mut register = |index: u8| if index == 0 { 0 } else { rest.next().unwrap_or(0) };
                claim.first = register(rs1);
                claim.second = register(rs2);
                claim.word = rest.next().unwrap_or(0);
            }
            None => {}
        }
        claim.conclude(text);
        claim
    }

    /// Fills in what follows from what was read: the address, what is written, `pc` and the status after.
    pub fn conclude(&mut self, text: &Range<u32>) {
        let trap = |claim: &mut Self, trap: Trap| {
            claim.next = claim.pc;
            claim.status_after = trap as u8;
        };
        (self.address, self.written, self.next, self.status_after) = (0, 0, 0, self.status);
        if self.status != 0 {
            return;
        }
        if !self.pc.is_multiple_of(4) || !text.contains(&self.pc) {
            return trap(self, Trap::InstructionAddress);
        }
        let Some(instruction) = Instruction::decode(self.instruction) else {
            return trap(self, Trap::IllegalInstruction);
        };
        self.address = memory_address(&instruction, self.first).unwrap_or(0);
        if instruction == Instruction::Ecall {
            return match self.first {
                EXIT | NODE_FROM_HASH | HASH_OF_NODE | SHA256_PREIMAGE if self.call_is_good(text) => {
                    self.next = self.pc.wrapping_add(4);
                    self.status_after = u8::from(self.first == EXIT);
                }
                _ => trap(self, Trap::BadCall),
            };
        }
        // A write to `x0` has a value too: whether it is made is another question.
        let probe = with_destination(instruction);
        match execute(&probe, self.pc, (self.first, self.second), self.word, text) {
            Err(reason) => trap(self, reason),
            Ok(effect) => {
                self.next = effect.pc;
                self.written = match effect.write {
                    Write::None => 0,
                    Write::Register { value, .. } | Write::Memory { value, .. } => value,
                };
            }
        }
    }

    fn call_is_good(&self, text: &Range<u32>) -> bool {
        match self.first {
            NODE_FROM_HASH => is_callable(self.second, self.word, Some(text)),
            HASH_OF_NODE => is_callable(self.second, self.word, None),
            _ => true,
        }
    }

    /// Gives the values as they are published.
    pub fn values(&self) -> Values {
        let mut values = Values::new();
        for (value, word) in [
            (Value::Pc, self.pc),
            (Value::Instruction, self.instruction),
            (Value::First, self.first),
            (Value::Second, self.second),
            (Value::Word, self.word),
            (Value::Address, self.address),
            (Value::Written, self.written),
            (Value::Next, self.next),
        ] {
            values.insert(value, word.to_le_bytes());
        }
        for (value, root) in [
            (Value::Before, self.before),
            (Value::Middle, self.middle),
            (Value::After, self.after),
        ] {
            values.insert(value, root);
        }
        values.insert(Value::Statuses, [self.status | self.status_after << 4]);
        values
    }

    /// Reads the claim from published values; those that are not there are zero.
    pub fn from_values(values: &Values) -> Self {
        let word = |value| values.get(value).map_or(0, |_| values.word(value));
        let root = |value| {
            values
                .get(value)
                .and_then(|bytes| bytes.try_into().ok())
                .unwrap_or_default()
        };
        let statuses = values.get(Value::Statuses).map_or(0, |bytes| bytes[0]);
        Self {
            status: statuses & 15,
            status_after: statuses >> 4,
            pc: word(Value::Pc),
            instruction: word(Value::Instruction),
            first: word(Value::First),
            second: word(Value::Second),
            word: word(Value::Word),
            address: word(Value::Address),
            written: word(Value::Written),
            next: word(Value::Next),
            before: root(Value::Before),
            middle: root(Value::Middle),
            after: root(Value::After),
        }
    }
}

/// Gives the instruction with another destination than `x0`.
const fn with_destination(mut instruction: Instruction) -> Instruction {
    match &mut instruction {
        Instruction::Lui { rd, .. }
        | Instruction::Auipc { rd, .. }
        | Instruction::Jal { rd, .. }
        | Instruction::Jalr { rd, .. }
        | Instruction::Load { rd, .. }
        | Instruction::OpImm { rd, .. }
        | Instruction::Op { rd, .. } => *rd = 1,
        _ => {}
    }
    instruction
}
