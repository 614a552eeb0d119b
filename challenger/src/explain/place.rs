//! Which transaction a step of a unit's run is about.
//!
//! The guest executes each transaction by one call of `BlockExecutor::run` (`bitsect_vm::execute`): first those of the
//! inbox, then the sequenced ones, in order. The program's symbols say where that function begins. So a run is stepped
//! through from its first step, and calls and returns are counted: by the return address and the stack pointer at the
//! call. It takes the interpreter, some 40 million steps a second.

use bitsect_bridge::chain::{Trace, TraceError};
use bitsect_machine::{Engine, Interpreter, Program};
use serde::Serialize;

/// What the function's name begins with and holds, demangled. It is generic: its name tells over what.
const EXECUTOR: &str = "<bitsect_vm::execute::block::BlockExecutor<";
const METHOD: &str = ">::run::<";
/// Registers: return address, stack pointer.
const RA: usize = 1;
const SP: usize = 2;
/// Steps between two words on the progress.
const REPORT: u64 = 1 << 20;

/// How many transactions had begun before a step, and whether the last one still runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Transactions that have begun.
    pub begun: usize,
    /// Whether the step is inside the last of them.
    pub inside: bool,
}

/// Finds where the function begins that executes a transaction; none in another program, or where it was compiled away.
pub fn executor(program: &Program) -> Option<u32> {
    let mut found = program.symbols.iter().filter(|symbol| {
        let name = format!("{:#}", rustc_demangle::demangle(&symbol.name));
        name.starts_with(EXECUTOR) && name.contains(METHOD)
    });
    match (found.next(), found.next()) {
        (Some(symbol), None) => Some(symbol.address),
        _ => None,
    }
}

/// Where the steps of a run are: each change of place, by the first step that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places(Vec<(u64, Place)>);

impl Places {
    /// Steps through a run up to `last`, or its end, by the function at `executor`. `progress` hears the steps made.
    /// `None` where it meets a missing preimage before.
    ///
    /// # Errors
    /// See [`TraceError`].
    pub fn walk(
        trace: &Trace,
        executor: u32,
        last: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<Option<Self>, TraceError> {
        let Some(mut machine) = trace.machine_at(0)? else {
            return Ok(None);
        };
        let last = last.min(trace.end_step());
        let mut place = Place::default();
        let mut changes = vec![(0, place)];
        let mut back = (0, 0);
        loop {
            let (made, pc, registers) = (machine.steps(), machine.pc(), machine.registers());
            if pc == executor {
                place.begun += 1;
                place.inside = true;
                back = (registers[RA], registers[SP]);
                changes.push((made, place));
            } else if place.inside && (pc, registers[SP]) == back {
                place.inside = false;
                changes.push((made, place));
            }
            if made >= last {
                return Ok(Some(Self(changes)));
            }
            if made.is_multiple_of(REPORT) {
                progress(made);
            }
            let stepped = Interpreter.run_to(&mut machine, made + 1, trace.input().preimages());
            if stepped.is_err() {
                return Ok(None);
            }
        }
    }

    /// Gives the changes: first step and place, ascending.
    pub fn changes(&self) -> &[(u64, Place)] {
        &self.0
    }

    /// Gives the place of a step.
    pub fn at(&self, step: u64) -> Place {
        let until = self.0.partition_point(|(first, _)| *first <= step);
        let last = until.checked_sub(1).and_then(|last| self.0.get(last));
        last.map_or_else(Place::default, |(_, place)| *place)
    }
}
