//! The reference interpreter: decodes each instruction each time. Every other engine must equal it.

use crate::execute::{Trap, Write, execute, memory_address};
use crate::instruction::Instruction;
use crate::machine::{Machine, Missing, Status};
use crate::oracle::Oracle;

/// Runs machines.
pub trait Engine {
    /// Runs a machine until it has made `step` steps. One that stopped makes the rest without changing.
    ///
    /// # Errors
    /// Where the oracle lacks a preimage; the machine stays before the step that needs it, now and ever.
    fn run_to(&mut self, machine: &mut Machine, step: u64, oracle: &dyn Oracle) -> Result<(), Missing>;
}

/// The engine that is the rule.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interpreter;

impl Engine for Interpreter {
    fn run_to(&mut self, machine: &mut Machine, step: u64, oracle: &dyn Oracle) -> Result<(), Missing> {
        if let Some(missing) = machine.missing {
            return Err(missing);
        }
        while machine.steps < step {
            if machine.status != Status::Running {
                machine.steps = step;
                break;
            }
            machine.step(oracle)?;
        }
        Ok(())
    }
}

impl Machine {
    /// Makes one step of a running machine.
    ///
    /// # Errors
    /// Where the oracle lacks a preimage; nothing has changed then.
    pub(crate) fn step(&mut self, oracle: &dyn Oracle) -> Result<(), Missing> {
        match self.fetch() {
            Err(trap) => self.trap(trap),
            Ok(Instruction::Ecall) => self.call(oracle)?,
            Ok(instruction) => {
                let (rs1, rs2) = instruction.sources();
                let operands = (self.registers[usize::from(rs1)], self.registers[usize::from(rs2)]);
                let address = memory_address(&instruction, operands.0).unwrap_or_default();
                // A step that traps needs no memory.
                if self.tree.has_opaque() && execute(&instruction, self.pc, operands, 0, &self.text).is_ok() {
                    self.reveal(address, oracle)?;
                }
                let word = self.memory.word(address);
                match execute(&instruction, self.pc, operands, word, &self.text) {
                    Err(trap) => self.trap(trap),
                    Ok(effect) => {
                        self.pc = effect.pc;
                        match effect.write {
                            Write::None => {}
                            Write::Register { index, value } => self.registers[usize::from(index)] = value,
                            Write::Memory { address, value } => self.memory.set_word(address, value),
                        }
                    }
                }
            }
        }
        self.steps += 1;
        if self.status != Status::Running {
            self.stopped_at = Some(self.steps);
        }
        Ok(())
    }

    /// Reads the instruction at `pc`. Text is never opaque: no call writes it.
    pub(crate) fn fetch(&self) -> Result<Instruction, Trap> {
        let word = self.instruction_word().ok_or(Trap::InstructionAddress)?;
        Instruction::decode(word).ok_or(Trap::IllegalInstruction)
    }
}
