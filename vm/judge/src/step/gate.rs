//! Gates: what a step's claim has to be for the challenger to dispute a read or a write of it.
//!
//! A step does not read or write everything that a claim has values for, and a prover cannot defend a read that was never
//! made. So the move that opens a path game proves from the claim that the step makes this read or write; the leaves of
//! the path game rely on it.

use bitsect_machine::address::{HASH_OF_NODE, NODE_FROM_HASH, SHA256_PREIMAGE};

use super::StepClaim;
use super::condition::Condition::{After, AfterNot, Matches, RdIsZero, Rs1IsZero, Rs2IsZero, Running, Word};
use super::condition::{Condition, rule};
use super::decode::{Pattern, opcode};
use crate::leaf::{Rule, Value};

/// One read or write of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// The word `pc` of control.
    Pc,
    /// The status word of control.
    Status,
    /// The instruction's word.
    Instruction,
    /// The register `rs1`.
    First,
    /// The register `rs2`.
    Second,
    /// The word that a load or store reaches.
    Word,
    /// `a7` of a call.
    CallNumber,
    /// `a0` of a call.
    CallAddress,
    /// `a1` of a call.
    CallLevel,
    /// The key leaf.
    Key,
    /// The node whose hash is read.
    Node,
    /// The write of `rd`.
    WriteRegister,
    /// The write of a word of memory.
    WriteMemory,
    /// The write of a node.
    WriteNode,
    /// The write of the key leaf.
    WriteKey,
    /// The write of key and block.
    WritePreimage,
    /// The write of control.
    WriteControl,
}

impl Access {
    /// All of them, reads in the order in which a step makes them, then writes.
    pub const ALL: [Self; 17] = [
        Self::Pc,
        Self::Status,
        Self::Instruction,
        Self::First,
        Self::Second,
        Self::Word,
        Self::CallNumber,
        Self::CallAddress,
        Self::CallLevel,
        Self::Key,
        Self::Node,
        Self::WriteRegister,
        Self::WriteMemory,
        Self::WriteNode,
        Self::WriteKey,
        Self::WritePreimage,
        Self::WriteControl,
    ];

    /// Gives the gates of this access: one of them opens it. `pc` and status are read in any state and have none.
    pub fn gates(self) -> Vec<Rule> {
        let name = format!("gate/{self:?}");
        let one = |conditions| vec![rule(name.clone(), conditions)];
        let each = |opcodes: &[(&str, u8)], conditions: &[Condition]| {
            let gates = opcodes.iter().map(|(of, opcode)| {
                let mut all = vec![Running, Matches(Pattern::opcode(*opcode))];
                all.extend_from_slice(conditions);
                rule(format!("{name}-{of}"), all)
            });
            gates.collect()
        };
        let call = |numbers: &[u32]| {
            let gates = numbers.iter().map(|number| {
                let call = vec![Running, After(0), ecall(), first_is(*number)];
                rule(format!("{name}-{number}"), call)
            });
            gates.collect()
        };
        match self {
            Self::Pc | Self::Status => vec![],
            Self::Instruction => one(vec![Running, AfterNot(2)]),
            Self::First => each(&WITH_RS1, &[AfterNot(3), Rs1IsZero(false)]),
            Self::Second => each(&WITH_RS2, &[AfterNot(3), Rs2IsZero(false)]),
            Self::Word => each(&WITH_MEMORY, &[After(0)]),
            Self::CallNumber | Self::CallAddress | Self::CallLevel => one(vec![Running, ecall()]),
            Self::Key => call(&[NODE_FROM_HASH, SHA256_PREIMAGE]),
            Self::Node | Self::WriteKey => call(&[HASH_OF_NODE]),
            Self::WriteRegister => each(&opcode::WITH_RD, &[After(0), RdIsZero(false)]),
            Self::WriteMemory => each(&[("store", opcode::STORE)], &[After(0)]),
            Self::WriteNode => call(&[NODE_FROM_HASH]),
            Self::WritePreimage => call(&[SHA256_PREIMAGE]),
            Self::WriteControl => one(vec![Running]),
        }
    }

    /// Whether the claim's step makes this access.
    pub fn is_open(self, claim: &StepClaim) -> bool {
        let gates = self.gates();
        gates.is_empty() || gates.iter().any(|gate| gate.refute(&claim.values()).is_some())
    }
}

const WITH_RS1: [(&str, u8); 6] = [
    ("jalr", opcode::JALR),
    ("load", opcode::LOAD),
    ("op-imm", opcode::OP_IMM),
    ("branch", opcode::BRANCH),
    ("store", opcode::STORE),
    ("op", opcode::OP),
];
const WITH_RS2: [(&str, u8); 3] = [
    ("branch", opcode::BRANCH),
    ("store", opcode::STORE),
    ("op", opcode::OP),
];
const WITH_MEMORY: [(&str, u8); 2] = [("load", opcode::LOAD), ("store", opcode::STORE)];
const fn ecall() -> Condition {
    Word {
        value: Value::Instruction,
        word: 0x73,
        is: true,
    }
}

const fn first_is(word: u32) -> Condition {
    Word {
        value: Value::First,
        word,
        is: true,
    }
}
