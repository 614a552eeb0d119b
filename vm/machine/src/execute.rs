//! What one instruction does: a pure function of its operands. Interpreter, witness checker and judge agree on it.

use core::ops::Range;

use crate::address::PROTECTED;
use crate::instruction::Instruction;

/// Why a machine trapped: the number is the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Trap {
    /// `pc` is misaligned or outside the text.
    InstructionAddress = 2,
    /// No instruction of rv32im.
    IllegalInstruction = 3,
    /// `ebreak`.
    Breakpoint = 4,
    /// A load at an address that is no multiple of its size.
    LoadMisaligned = 5,
    /// A load from protected memory.
    LoadProtected = 6,
    /// A store at an address that is no multiple of its size.
    StoreMisaligned = 7,
    /// A store to protected memory or the text.
    StoreProtected = 8,
    /// An `ecall` that is no call, or whose argument breaks a rule.
    BadCall = 9,
}

/// What a step writes beside control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing.
    None,
    /// A register, never `x0`.
    Register {
        /// Its index.
        index: u8,
        /// Its new value.
        value: u32,
    },
    /// A word of memory.
    Memory {
        /// Its address, a multiple of 4.
        address: u32,
        /// Its new value.
        value: u32,
    },
}

/// What an instruction other than `ecall` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The next `pc`.
    pub pc: u32,
    /// What is written.
    pub write: Write,
}

/// Gives the address that a load or store reaches.
pub const fn memory_address(instruction: &Instruction, rs1: u32) -> Option<u32> {
    match *instruction {
        Instruction::Load { offset, .. } | Instruction::Store { offset, .. } => {
            Some(rs1.wrapping_add(offset))
        }
        _ => None,
    }
}

/// Executes an instruction other than `ecall`. `word` is the aligned word that a load or store reaches.
///
/// # Errors
/// Where the step traps.
pub fn execute(
    instruction: &Instruction,
    pc: u32,
    (rs1, rs2): (u32, u32),
    word: u32,
    text: &Range<u32>,
) -> Result<Effect, Trap> {
    let behind = pc.wrapping_add(4);
    let (next, write) = match *instruction {
        Instruction::Lui { rd, imm } => (behind, register(rd, imm)),
        Instruction::Auipc { rd, imm } => (behind, register(rd, pc.wrapping_add(imm))),
        Instruction::Jal { rd, offset } => (pc.wrapping_add(offset), register(rd, behind)),
        Instruction::Jalr { rd, offset, .. } => (rs1.wrapping_add(offset) & !1, register(rd, behind)),
        Instruction::Branch { op, offset, .. } => {
            let taken = op.holds(rs1, rs2);
            (if taken { pc.wrapping_add(offset) } else { behind }, Write::None)
        }
        Instruction::Load { op, rd, offset, .. } => {
            let address = rs1.wrapping_add(offset);
            if !address.is_multiple_of(op.size()) {
                return Err(Trap::LoadMisaligned);
            }
            if address >= PROTECTED {
                return Err(Trap::LoadProtected);
            }
            (behind, register(rd, op.extract(word, address)))
        }
        Instruction::Store { op, offset, .. } => {
            let address = rs1.wrapping_add(offset);
            if !address.is_multiple_of(op.size()) {
                return Err(Trap::StoreMisaligned);
            }
            if address >= PROTECTED || text.contains(&address) {
                return Err(Trap::StoreProtected);
            }
            let value = op.insert(word, address, rs2);
            (
                behind,
                Write::Memory {
                    address: address & !3,
                    value,
                },
            )
        }
        Instruction::OpImm { op, rd, imm, .. } => (behind, register(rd, op.apply(rs1, imm))),
        Instruction::Op { op, rd, .. } => (behind, register(rd, op.apply(rs1, rs2))),
        Instruction::Fence => (behind, Write::None),
        Instruction::Ebreak => return Err(Trap::Breakpoint),
        Instruction::Ecall => return Err(Trap::BadCall),
    };
    Ok(Effect { pc: next, write })
}

const fn register(index: u8, value: u32) -> Write {
    if index == 0 {
        Write::None
    } else {
        Write::Register { index, value }
    }
}
