//! What a daemon knows of the chain and of the machine's runs, as the players ask for it.

use core::ops::Range;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alloy_primitives::B256;
use bitsect_machine::{Oracle, Sha256Preimage};

use crate::chain::{Chain, ChainError, Run, RunError, Runner, Trace, TraceError, claimed_chain, unit_input};
use crate::game::position::Position;
use crate::game::truth::{Broken, Need, Path, Place, Truth, Unknown};
use crate::game::{Stage, units};

/// Traces that are kept at once: of the unit that is played about, by the prover's input and by the true one.
const KEPT_TRACES: usize = 4;

/// The true chain and runs of its units, as far as they were asked for.
pub struct Knowledge {
    chain: Arc<dyn Chain>,
    runner: Runner,
    text: Range<u32>,
    /// The unit that the slot starts behind.
    start: u64,
    states: BTreeMap<u64, B256>,
    inputs: BTreeMap<u64, [u8; 64]>,
    traces: HashMap<[u8; 64], Arc<Trace>>,
}

/// Why something cannot be known now.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    /// The chain failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A run is of no unit that is known.
    #[error("unit {unit} is not derived yet")]
    NotDerived {
        /// The unit.
        unit: u64,
    },
}

impl core::fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Knowledge(from unit {})", self.start)
    }
}

impl Knowledge {
    /// Knows what a chain gives, of a slot that starts behind so many units.
    pub fn new(chain: Arc<dyn Chain>, runner: Runner, start: u64) -> Self {
        Self {
            text: runner.program().text.clone(),
            chain,
            runner,
            start,
            states: BTreeMap::new(),
            inputs: BTreeMap::new(),
            traces: HashMap::new(),
        }
    }

    /// Gets to know what the players ask of a branch without running anything: chain states, and the unit's input. Reorgs
    /// change them, so they are asked for anew each time. From the search over steps on nobody asks for them: there the
    /// published input is what counts, and a record of a unit takes long to read.
    ///
    /// # Errors
    /// Where the chain fails.
    pub async fn look(&mut self, position: &Position) -> Result<(), ChainError> {
        if !matches!(position.stage(), Stage::Units(_) | Stage::Link) {
            return Ok(());
        }
        let rounds = position.rounds();
        let search = units(rounds);
        let choices = position.unit_choices();
        // The search's ends are compared too.
        let chain = self.claimed(position);
        let mut wanted = vec![0, u64::from(position.claim().count), search.intervals()];
        for round in 0..=choices.len().min(usize::from(rounds.units) - 1) {
            wanted.extend(search.asked(&choices[..round]));
        }
        if let Some(unit) = position.unit() {
            wanted.extend([unit, unit + 1]);
            match chain.record(self.start + unit).await? {
                Some(record) => self.inputs.insert(unit, record.input()),
                None => self.inputs.remove(&unit),
            };
        }
        self.states.clear();
        let claimed = u64::from(position.claim().count);
        for units in wanted {
            // Behind the claim's last unit its state repeats.
            if let Some(state) = chain.state(self.start + units.min(claimed)).await? {
                self.states.insert(units, state);
            }
        }
        Ok(())
    }

    /// Gives the chain.
    pub const fn chain(&self) -> &Arc<dyn Chain> {
        &self.chain
    }

    /// Gives the chain as a branch's claim sees it.
    fn claimed(&self, position: &Position) -> Arc<dyn Chain> {
        let end = self.start + u64::from(position.claim().count);
        claimed_chain(&self.chain, position.check(), end)
    }

    /// Gives the unit that the slot starts behind.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Starts the run that a player needs, in the background: it takes as long as the unit's run.
    pub fn run(
        &self,
        position: &Position,
        input: [u8; 64],
    ) -> impl Future<Output = Result<Run, KnowledgeError>> + Send + use<> {
        let unit = self.start + position.unit().unwrap_or_default();
        let (chain, runner) = (self.claimed(position), self.runner.clone());
        async move {
            let input = unit_input(chain.as_ref(), unit, Some(input)).await?;
            let input = input.ok_or(KnowledgeError::NotDerived { unit })?;
            Ok(runner.start(input))
        }
    }

    /// Keeps a run.
    pub fn insert(&mut self, input: [u8; 64], trace: Arc<Trace>) {
        if self.traces.len() >= KEPT_TRACES {
            self.traces.clear();
        }
        self.traces.insert(input, trace);
    }

    /// Gives the step at which a run that is known stopped, or lacked a preimage.
    pub fn end_step(&self, input: &[u8; 64]) -> Option<u64> {
        self.traces.get(input).map(|trace| trace.end_step())
    }

    fn trace(&self, input: &[u8; 64], step: u64) -> Result<&Trace, Need> {
        let need = Need { input: *input, step };
        self.traces.get(input).map(Arc::as_ref).ok_or(need)
    }
}

fn broken(step: u64, error: &TraceError) -> Broken {
    Broken {
        step,
        reason: error.to_string(),
    }
}

impl Truth for Knowledge {
    fn text(&self) -> Range<u32> {
        self.text.clone()
    }

    fn chain_state(&self, units: u64) -> Option<B256> {
        self.states.get(&units).copied()
    }

    fn input(&self, units: u64) -> Option<[u8; 64]> {
        self.inputs.get(&units).copied()
    }

    fn machine_state(&self, input: &[u8; 64], step: u64) -> Result<Option<B256>, Unknown> {
        let state = self.trace(input, step)?.state_at(step);
        Ok(state.map_err(|error| broken(step, &error))?)
    }

    fn path(&self, input: &[u8; 64], step: u64, place: Place) -> Result<Path, Unknown> {
        let known = self.trace(input, step)?.path_at(step, place.address, place.level);
        let known = known.map_err(|error| broken(step, &error))?;
        Ok(known.map_or_else(Path::default, |known| match known.leaf {
            Some(leaf) => Path::to_leaf(place.address, leaf, &known.siblings),
            None => Path::to_node(place, known.node, &known.siblings),
        }))
    }

    fn sha256(&self, digest: &B256) -> Option<Sha256Preimage> {
        let traces = self.traces.values();
        traces
            .filter_map(|trace| trace.input().preimages().sha256(digest))
            .next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{RpcChain, RunnerConfig, elf, unit_of};

    /// `addi a0, a0, 1`, and `j -4`.
    const COUNT: [u32; 2] = [0x0015_0513, 0xffdf_f06f];
    const STEPS: u64 = 64;

    async fn known() -> (Knowledge, [u8; 64]) {
        let config = RunnerConfig {
            steps: STEPS,
            ..RunnerConfig::default()
        };
        let runner = Runner::new(&elf(&COUNT), config).unwrap();
        let chain = RpcChain::new("http://127.0.0.1:1", None).unwrap();
        let unit = unit_of(0);
        let input = *unit.leaf();
        let trace = runner.start(unit).trace().await.unwrap();
        let mut knowledge = Knowledge::new(Arc::new(chain), runner, 0);
        knowledge.insert(input, trace);
        (knowledge, input)
    }

    #[tokio::test]
    async fn a_machine_that_fails_is_no_run_that_is_needed() {
        let (knowledge, input) = known().await;
        let (place, step) = (Place::leaf(0), STEPS + 1);
        let expected = Unknown::Broken(Broken {
            step,
            reason: format!("step: got {step}, must be at most {STEPS}"),
        });
        assert_eq!(knowledge.path(&input, step, place), Err(expected.clone()));
        assert_eq!(knowledge.machine_state(&input, step), Err(expected));
        let need = Need {
            input: [0; 64],
            step: 1,
        };
        assert_eq!(knowledge.path(&[0; 64], 1, place), Err(need.into()));
    }
}
