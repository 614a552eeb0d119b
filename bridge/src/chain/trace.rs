//! A finished run of a unit: the machine's state at every step.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::B256;
use bitsect_machine::{
    Access, EngineKind, History, HistoryError, KnownPath, Limits, Machine, Missing, Program, Status,
    StepWitness, Trap,
};
use bitsect_vm::chain::hash_pair;
use bitsect_vm::state::hash_node;

use super::UnitInput;

/// Steps of a dispute's trace: 13 times what the dearest unit of 30 M gas takes.
pub const TRACE_STEPS: u64 = 1 << 40;

/// States that are remembered: a search asks for the same ones round after round.
const KEPT_STATES: usize = 4_096;
/// Machines that are remembered: a move asks for several paths under one state.
const KEPT_MACHINES: usize = 2;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The program ended itself.
    Halted {
        /// The exit code; 0 where it gave a next state.
        exit_code: u32,
    },
    /// The program trapped: there is no next state.
    Trapped(Trap),
    /// The next step needs a preimage that is not known.
    Missing(Missing),
    /// It was still running after all steps that a trace has.
    Unfinished,
}

/// Why a question about a trace has no answer.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The system does not give 4 GiB of address space.
    #[error("memory: {0}")]
    Memory(io::Error),
    /// The trace ends before.
    #[error("step: got {got}, must be at most {limit}")]
    Step {
        /// The step that was asked for.
        got: u64,
        /// Steps of the trace.
        limit: u64,
    },
}

/// A run of a unit, of which every state can be had: one that stopped repeats its state. What lies behind a missing
/// preimage is `None`.
///
/// A first answer about a step runs the machine from a snapshot and takes some hundredths of a second: not on a thread that
/// must not wait.
#[expect(missing_debug_implementations, reason = "gigabytes of pages")]
pub struct Trace {
    program: Arc<Program>,
    input: UnitInput,
    history: History,
    end: End,
    end_step: u64,
    end_state: B256,
    output: B256,
    limit: u64,
    states: Mutex<HashMap<u64, B256>>,
    /// By step, the one that was used last at the end.
    machines: Mutex<Vec<(u64, Machine)>>,
}

impl Trace {
    /// Runs a unit with the fast engine. `go_on` is asked at every snapshot, with the steps made so far; where it says no
    /// there is no trace.
    ///
    /// # Errors
    /// [`TraceError::Memory`].
    pub fn record(
        program: Arc<Program>,
        input: UnitInput,
        steps: u64,
        limits: Limits,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<Option<Self>, TraceError> {
        let mut machine = Machine::new(&program, input.leaf()).map_err(TraceError::Memory)?;
        let mut engine = EngineKind::Fast.engine();
        let mut stopped = false;
        let history = History::record_while(
            &mut machine,
            engine.as_mut(),
            input.preimages(),
            steps,
            limits,
            |made| {
                stopped |= !go_on(made);
                !stopped
            },
        );
        if stopped {
            return Ok(None);
        }
        let end = match (machine.status(), history.missing()) {
            (Status::Halted { exit_code }, _) => End::Halted { exit_code },
            (Status::Trapped(trap), _) => End::Trapped(trap),
            (Status::Running, Some(missing)) => End::Missing(missing),
            (Status::Running, None) => End::Unfinished,
        };
        Ok(Some(Self {
            end,
            end_step: machine.stopped_at().unwrap_or_else(|| machine.steps()),
            output: machine.output(),
            end_state: machine.root(),
            program,
            input,
            history,
            limit: steps,
            states: Mutex::default(),
            machines: Mutex::default(),
        }))
    }

    /// Tells how it ended.
    pub const fn end(&self) -> End {
        self.end
    }

    /// Gives how many steps it made until then.
    pub const fn end_step(&self) -> u64 {
        self.end_step
    }

    /// Gives the machine's state there: the last that is known.
    pub const fn end_state(&self) -> B256 {
        self.end_state
    }

    /// Gives `S_{k+1}` where the program gave one.
    pub fn output(&self) -> Option<B256> {
        (self.end == End::Halted { exit_code: 0 }).then_some(self.output)
    }

    /// Gives the program that was run.
    pub const fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Gives what it started from.
    pub const fn input(&self) -> &UnitInput {
        &self.input
    }

    /// Gives about how many bytes it takes in memory.
    pub const fn bytes(&self) -> usize {
        self.history.size().1 + self.input.bytes()
    }

    /// Makes the machine as it was before a step; `None` behind a missing preimage.
    ///
    /// # Errors
    /// See [`TraceError`].
    pub fn machine_at(&self, step: u64) -> Result<Option<Machine>, TraceError> {
        if step > self.limit {
            let limit = self.limit;
            return Err(TraceError::Step { got: step, limit });
        }
        if matches!(self.end, End::Missing(missing) if step > missing.step) {
            return Ok(None);
        }
        let mut engine = EngineKind::Fast.engine();
        let machine = self
            .history
            .machine_at(step, engine.as_mut(), self.input.preimages());
        match machine {
            Ok(machine) => Ok(Some(machine)),
            Err(HistoryError::Missing(_)) => Ok(None),
            Err(HistoryError::Memory(error)) => Err(TraceError::Memory(error)),
            Err(HistoryError::TooEarly { expected, got }) => Err(TraceError::Step { got, limit: expected }),
        }
    }

    /// Gives the machine's state before a step, which is that after as many steps.
    ///
    /// # Errors
    /// See [`TraceError`].
    pub fn state_at(&self, step: u64) -> Result<Option<B256>, TraceError> {
        let repeats = match self.end {
            End::Halted { .. } | End::Trapped(_) => step >= self.end_step,
            End::Missing(_) | End::Unfinished => step == self.end_step,
        };
        if repeats && step <= self.limit {
            return Ok(Some(self.end_state));
        }
        if let Some(state) = lock(&self.states).get(&step) {
            return Ok(Some(*state));
        }
        let Some(mut machine) = self.machine_at(step)? else {
            return Ok(None);
        };
        let state = machine.root();
        let mut states = lock(&self.states);
        if states.len() >= KEPT_STATES {
            states.clear();
        }
        states.insert(step, state);
        Ok(Some(state))
    }

    /// Gives the way to a node in the state before a step, as far down as its preimages are known; `None` behind a missing
    /// preimage.
    ///
    /// # Errors
    /// See [`TraceError`].
    pub fn path_at(&self, step: u64, address: u32, level: u32) -> Result<Option<KnownPath>, TraceError> {
        let mut machines = lock(&self.machines);
        let found = machines.iter().position(|(at, _)| *at == step);
        let kept = found.map(|index| machines.remove(index).1);
        drop(machines);
        let Some(mut machine) = kept.map_or_else(|| self.machine_at(step), |kept| Ok(Some(kept)))? else {
            return Ok(None);
        };
        let path = machine.known_path(address, level, self.input.preimages());
        let mut machines = lock(&self.machines);
        if machines.len() >= KEPT_MACHINES {
            machines.remove(0);
        }
        machines.push((step, machine));
        Ok(Some(path))
    }

    /// Gives the witness of a step; `None` where it, or one before, needs a preimage that is not known.
    ///
    /// # Errors
    /// See [`TraceError`].
    pub fn witness_at(&self, step: u64) -> Result<Option<StepWitness>, TraceError> {
        let machine = self.machine_at(step)?;
        Ok(machine.and_then(|mut machine| machine.prove_step(self.input.preimages()).ok()))
    }

    /// Gives the leaf that holds an address, with its siblings up to the state before a step; `None` where it is not known.
    ///
    /// # Errors
    /// See [`TraceError`].
    pub fn leaf_at(&self, step: u64, address: u32) -> Result<Option<Access>, TraceError> {
        let machine = self.machine_at(step)?;
        Ok(machine.and_then(|mut machine| machine.prove_leaf(address, self.input.preimages()).ok()))
    }
}

/// Nothing panics while it holds the lock, and what is remembered is never half changed.
fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Computes the nodes from a leaf's hash, which is the first, up to the root, which is the last.
pub fn path_nodes(leaf: &Access) -> Vec<B256> {
    let mut node = hash_node(&leaf.leaf);
    let mut index = leaf.address >> 6;
    let mut nodes = vec![node];
    for sibling in &leaf.siblings {
        node = if index.is_multiple_of(2) {
            hash_pair(&node, sibling)
        } else {
            hash_pair(sibling, &node)
        };
        nodes.push(node);
        index /= 2;
    }
    nodes
}
