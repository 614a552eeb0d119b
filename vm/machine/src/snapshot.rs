//! Snapshots of a run, so that any of its steps is reached by running a bounded part of it again.

use std::collections::BTreeMap;
use std::io;

use alloy_primitives::B256;

use crate::interpret::Engine;
use crate::machine::{Machine, Missing, Status};
use crate::memory::{Memory, PAGE_SIZE, UNSAVED};
use crate::oracle::Oracle;
use crate::tree::Tree;

/// Steps between the first snapshots: some milliseconds of the fast engine.
const FIRST_SPACING: u64 = 1 << 22;

/// What snapshots may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all pages that are kept. The first and the last state are kept whatever they take.
    pub bytes: usize,
    /// How many snapshots are kept: at least 2.
    pub count: usize,
    /// Steps between snapshots at first; doubled whenever there are too many.
    pub spacing: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 2 << 30,
            count: 512,
            spacing: FIRST_SPACING,
        }
    }
}

/// What changed since the snapshot before.
struct Snapshot {
    step: u64,
    pc: u32,
    status: Status,
    registers: [u32; 32],
    stopped_at: Option<u64>,
    /// Nodes without their preimage: all there are, not only new ones.
    opaque: BTreeMap<u32, (u32, B256)>,
    /// By number; none is a page of zeros.
    pages: BTreeMap<usize, Option<Box<[u8; PAGE_SIZE]>>>,
}

/// A run, and snapshots of it.
#[expect(missing_debug_implementations, reason = "gigabytes of pages")]
pub struct History {
    text: core::ops::Range<u32>,
    text_hash: Option<B256>,
    /// Ascending by step; the first is where the recording began.
    snapshots: Vec<Snapshot>,
    limits: Limits,
    spacing: u64,
    bytes: usize,
    missing: Option<Missing>,
}

impl History {
    /// Runs a machine to a step, or until it stops or lacks a preimage, and takes snapshots on the way.
    pub fn record(
        machine: &mut Machine,
        engine: &mut dyn Engine,
        oracle: &dyn Oracle,
        limit: u64,
        limits: Limits,
    ) -> Self {
        Self::record_while(machine, engine, oracle, limit, limits, |_| true)
    }

    /// Records as [`History::record`] does, and asks at every snapshot whether to go on, with the steps made so far.
    pub fn record_while(
        machine: &mut Machine,
        engine: &mut dyn Engine,
        oracle: &dyn Oracle,
        limit: u64,
        limits: Limits,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Self {
        let mut history = Self {
            text: machine.text.clone(),
            text_hash: machine.text_hash,
            snapshots: Vec::new(),
            limits,
            spacing: limits.spacing.max(1),
            bytes: 0,
            missing: machine.missing,
        };
        machine.memory.take_flagged(UNSAVED);
        let touched = machine.memory.touched();
        history.take(machine, touched);
        while machine.status == Status::Running
            && machine.steps < limit
            && history.missing.is_none()
            && go_on(machine.steps)
        {
            let next = machine.steps.saturating_add(history.spacing).min(limit);
            history.missing = engine.run_to(machine, next, oracle).err();
            let changed = machine.memory.take_flagged(UNSAVED);
            history.take(machine, changed);
        }
        history
    }

    /// Gives the preimage whose lack ended the run.
    pub const fn missing(&self) -> Option<Missing> {
        self.missing
    }

    /// Gives how many snapshots there are, and the bytes of their pages.
    pub const fn size(&self) -> (usize, usize) {
        (self.snapshots.len(), self.bytes)
    }

    /// Gives the longest run from a snapshot to a step: what bounds the time to reach any.
    pub fn longest_gap(&self) -> u64 {
        let steps = self.snapshots.windows(2).map(|pair| pair[1].step - pair[0].step);
        steps.max().unwrap_or_default()
    }

    /// Makes the machine as it was before a step.
    ///
    /// # Errors
    /// Where the system does not give 4 GiB of address space, the recording began later, or the oracle lacks a
    /// preimage.
    pub fn machine_at(
        &self,
        step: u64,
        engine: &mut dyn Engine,
        oracle: &dyn Oracle,
    ) -> Result<Machine, HistoryError> {
        let until = self.snapshots.partition_point(|snapshot| snapshot.step <= step);
        let base = until.checked_sub(1).and_then(|last| self.snapshots.get(last));
        let base = base.ok_or(HistoryError::TooEarly {
            expected: self.snapshots.first().map_or(0, |first| first.step),
            got: step,
        })?;
        let mut memory = Memory::new().map_err(HistoryError::Memory)?;
        let mut pages = BTreeMap::new();
        for snapshot in self.snapshots[..until].iter().rev() {
            for (page, bytes) in &snapshot.pages {
                pages.entry(*page).or_insert(bytes);
            }
        }
        for (page, bytes) in pages {
            if let Some(bytes) = bytes {
                memory.write((page * PAGE_SIZE) as u32, bytes.as_slice());
            }
        }
        let mut tree = Tree::new();
        tree.restore(&mut memory, &base.opaque);
        let mut machine = Machine {
            memory,
            tree,
            registers: base.registers,
            pc: base.pc,
            status: base.status,
            steps: base.step,
            text: self.text.clone(),
            text_hash: self.text_hash,
            stopped_at: base.stopped_at,
            missing: self.missing.filter(|missing| missing.step == base.step),
        };
        // The state before the step that lacks a preimage is known.
        if machine.steps < step {
            engine.run_to(&mut machine, step, oracle)?;
        }
        Ok(machine)
    }

    fn take(&mut self, machine: &Machine, changed: Vec<usize>) {
        let pages = changed.into_iter().map(|page| {
            let bytes = machine.memory.page(page);
            (
                page,
                bytes.iter().any(|byte| *byte != 0).then(|| Box::new(*bytes)),
            )
        });
        let snapshot = Snapshot {
            step: machine.steps,
            pc: machine.pc,
            status: machine.status,
            registers: machine.registers,
            stopped_at: machine.stopped_at,
            opaque: machine.tree.opaque().clone(),
            pages: pages.collect(),
        };
        self.bytes += snapshot.bytes();
        self.snapshots.push(snapshot);
        while self.snapshots.len() > 2
            && (self.snapshots.len() > self.limits.count.max(2) || self.bytes > self.limits.bytes)
        {
            self.thin();
        }
    }

    /// Merges every other snapshot into the one behind it. The first stays, and so does the last.
    fn thin(&mut self) {
        let mut kept: Vec<Snapshot> = Vec::with_capacity(self.snapshots.len() / 2 + 1);
        let mut merged: Option<Snapshot> = None;
        let last = self.snapshots.len() - 1;
        for (at, mut snapshot) in core::mem::take(&mut self.snapshots).into_iter().enumerate() {
            if let Some(older) = merged.take() {
                for (page, bytes) in older.pages {
                    snapshot.pages.entry(page).or_insert(bytes);
                }
            }
            if at % 2 == 1 && at != last {
                merged = Some(snapshot);
            } else {
                kept.push(snapshot);
            }
        }
        self.snapshots = kept;
        self.bytes = self.snapshots.iter().map(Snapshot::bytes).sum();
        self.spacing = self.spacing.saturating_mul(2);
    }
}

impl Snapshot {
    fn bytes(&self) -> usize {
        self.pages.values().flatten().count() * PAGE_SIZE
    }
}

/// Why a state cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The system does not give 4 GiB of address space.
    #[error("memory: {0}")]
    Memory(io::Error),
    /// The recording began later.
    #[error("step: got {got}, must be {expected} or later")]
    TooEarly {
        /// The first step.
        expected: u64,
        /// The step that was asked for.
        got: u64,
    },
    /// The run ended for want of a preimage.
    #[error(transparent)]
    Missing(#[from] Missing),
}
