//! A translator to x86-64, basic block by basic block.
//!
//! Text is immutable, so translated code never goes stale. Ten guest registers live in host registers, the others in
//! the frame. A block takes its length from the remaining steps before it runs, so that step counts are exact; where
//! fewer remain, and wherever a step traps or calls, the interpreter goes on from exactly there.
#![allow(
    clippy::useless_conversion,
    reason = "dynasm! converts register numbers, of whatever type"
)]

mod block;
mod code;
mod emit;
mod memory;
mod registers;

use core::ops::Range;

use alloy_primitives::B256;

use crate::interpret::{Engine, Interpreter};
use crate::machine::{Machine, Missing, Status};
use crate::oracle::Oracle;

use block::Emitter;
use code::{Code, Context, Leave};
use registers::Pins;

/// Bytes of host code after which everything is translated anew: far more than any real program has, and a bound on
/// what one that jumps into the middle of every block can take.
const MAX_CODE: usize = 512 << 20;

/// The fast engine of x86-64 hosts.
#[derive(Default)]
pub(crate) struct Translator {
    translation: Option<Translation>,
}

/// The code of one program.
struct Translation {
    text: Range<u32>,
    text_hash: B256,
    pins: Pins,
    code: Code,
}

impl Translator {
    /// Gives the code of a machine's program; none where it cannot be translated.
    fn translation(&mut self, machine: &Machine) -> Option<&mut Translation> {
        let text_hash = machine.text_hash?;
        let text = &machine.text;
        if text.is_empty() || !text.start.is_multiple_of(4) || !text.end.is_multiple_of(4) {
            return None;
        }
        let known = self
            .translation
            .as_ref()
            .is_some_and(|known| known.text == *text && known.text_hash == text_hash);
        if !known {
            let pins = Pins::choose(machine.memory.range(text));
            // A host that gives no executable memory interprets.
            let code = Code::new(text, &pins).ok()?;
            self.translation = Some(Translation {
                text: text.clone(),
                text_hash,
                pins,
                code,
            });
        }
        self.translation.as_mut()
    }
}

impl Translation {
    /// The word of the text that a `pc` stands on.
    fn index(&self, pc: u32) -> Option<u32> {
        let valid = pc.is_multiple_of(4) && self.text.contains(&pc);
        valid.then(|| (pc - self.text.start) / 4)
    }

    /// Makes sure that the block at a `pc` is translated. False where the host refuses memory for it.
    fn ensure(&mut self, machine: &Machine, index: u32) -> bool {
        if self.code.has(index) {
            return true;
        }
        if self.code.size() > MAX_CODE {
            self.code.clear();
        }
        let (bytes, entries) = Emitter::translate(&machine.memory, &self.text, &self.pins, &self.code, index);
        self.code.add(&bytes, &entries).is_ok()
    }
}

impl Engine for Translator {
    fn run_to(&mut self, machine: &mut Machine, step: u64, oracle: &dyn Oracle) -> Result<(), Missing> {
        if let Some(missing) = machine.missing {
            return Err(missing);
        }
        let Some(translation) = self.translation(machine) else {
            return Interpreter.run_to(machine, step, oracle);
        };
        while machine.steps < step {
            if machine.status != Status::Running {
                machine.steps = step;
                break;
            }
            let index = translation.index(machine.pc);
            // Translated code does not know nodes without preimage.
            let Some(index) = index.filter(|_| !machine.tree.has_opaque()) else {
                machine.step(oracle)?;
                continue;
            };
            if !translation.ensure(machine, index) {
                return Interpreter.run_to(machine, step, oracle);
            }
            let mut context = Context::new(&machine.registers, step - machine.steps);
            let leave = translation.code.run(index, &mut context, &mut machine.memory);
            machine.registers = context.registers;
            machine.pc = context.pc;
            machine.steps = step - context.left;
            match leave {
                Leave::Jump => {}
                Leave::Step if machine.steps == step => {}
                Leave::Step => machine.step(oracle)?,
                Leave::Tail => Interpreter.run_to(machine, step, oracle)?,
            }
        }
        Ok(())
    }
}
