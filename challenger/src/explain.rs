//! Why a claim is right or wrong: the first wrong unit, what it does, and the first wrong transaction in it.

mod claimed;
mod place;
mod print;
mod slot;
mod unit;

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::B256;
use bitsect_bridge::chain::{
    Chain, ChainError, RunError, Runner, Trace, TraceError, claimed_chain, unit_input,
};
use bitsect_vm::chain::ChainParams;
use bitsect_vm::record::UnitRecord;
use serde::Serialize;

pub use claimed::{Claimed, ClaimedLog, ClaimedReceipt, ClaimedTrace, Prefix};
pub use place::{Place, Places, executor};
pub use slot::{BranchExplanation, Explainer, SlotExplanation, Told, published, stored, told};
pub use unit::{Check, Difference, Done, RecordFault, Work, execute, first_difference};

/// Why a claim cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The chain gives no answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The unit cannot be done once more.
    #[error(transparent)]
    Record(#[from] RecordFault),
    /// The unit cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A state of the run cannot be had.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// What was claimed has not the form that it must have.
    #[error("{field}: got {got}, must be {rule}")]
    Claimed {
        /// The field.
        field: &'static str,
        /// What it is.
        got: String,
        /// What it must be.
        rule: &'static str,
    },
    /// The chain changed in between.
    #[error("unit {unit} is gone: Bitcoin reorganised")]
    Gone {
        /// The unit.
        unit: u64,
    },
}

/// Whether a claim is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Verdict {
    /// Everything that was published is true.
    Right,
    /// Bitcoin does not say yet: the chain has fewer units.
    NotDerived {
        /// Units that the chain has.
        have: u64,
        /// Units that it needs.
        need: u64,
    },
    /// Bitcoin did not have as many units when the claim was made.
    Ahead {
        /// Units that the chain has now.
        have: u64,
        /// Units that the claim is about.
        need: u64,
        /// The L1 block that holds the claim.
        height: u32,
    },
    /// A state is wrong.
    Wrong {
        /// The last position whose state is known to be right.
        right_until: u64,
        /// The first position whose published state is wrong.
        wrong_from: u64,
        /// What was published there.
        claimed: Prefix,
        /// What is true there; none where the claim's check does not hold.
        expected: Option<B256>,
    },
    /// The states are true, and one behind the claim's end does not repeat it.
    NotRepeated {
        /// The position.
        position: u64,
    },
}

impl Verdict {
    /// Tells how bad it is for the claim: nothing, not known, wrong.
    pub const fn severity(&self) -> u8 {
        match self {
            Self::Right => 0,
            Self::NotDerived { .. } => 1,
            Self::Ahead { .. } | Self::Wrong { .. } | Self::NotRepeated { .. } => 2,
        }
    }
}

/// Why a claim is right or wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Whether it is right.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The wrong unit, where the published states name one.
    pub unit: Option<UnitFacts>,
}

/// The wrong unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitFacts {
    /// Its number: it leads from `S_unit` to `S_{unit+1}` of the chain.
    pub unit: u64,
    /// What it does.
    #[serde(flatten)]
    pub work: Work,
    /// The first transaction whose receipt differs, where the liar's receipts are known and one does.
    pub difference: Option<Difference>,
    /// The first wrong machine state, where such states were published.
    pub run: Option<RunFacts>,
}

/// The wrong unit's run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFacts {
    /// Steps until the true run ends.
    pub end_step: u64,
    /// How it ends.
    pub end: String,
    /// The chain state that it gives; none where it gives none.
    pub output: Option<B256>,
    /// What of the published input is not that of the unit: `state`, `advice`.
    pub wrong_input: Option<&'static str>,
    /// The wrong steps; none where all published states are true.
    pub wrong: Option<WrongSteps>,
}

/// Steps between a right and a wrong machine state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WrongSteps {
    /// The last step before which the state is known to be right.
    pub right_until: u64,
    /// The first step before which the published state is wrong.
    pub wrong_from: u64,
    /// What was published there.
    pub claimed: Prefix,
    /// What is true there; none where nobody knows, for want of a preimage.
    pub expected: Option<B256>,
    /// The transaction that the first of these steps is about.
    pub first: Option<AtTransaction>,
    /// The transaction that the last of these steps is about.
    pub last: Option<AtTransaction>,
}

/// Where in a block a step is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AtTransaction {
    /// The transaction's place among those that the unit tries to execute; none before the first.
    pub index: Option<usize>,
    /// The transaction.
    pub transaction: Option<B256>,
    /// Whether the step executes it, rather than coming after it.
    pub inside: bool,
}

/// Explains a claim. `runner` runs the wrong unit, where machine states were published.
///
/// # Errors
/// See [`ExplainError`].
pub async fn explain(
    chain: &Arc<dyn Chain>,
    params: &ChainParams,
    runner: Option<&Runner>,
    claimed: &Claimed,
) -> Result<Explanation, ExplainError> {
    let end = claimed.start.saturating_add(claimed.units);
    let seen = claimed_chain(chain, claimed.check(), end);
    let verdict = verdict(seen.as_ref(), claimed, end).await?;
    let unit = match &verdict {
        Verdict::Wrong {
            right_until,
            wrong_from,
            ..
        } if wrong_from - right_until == 1 => {
            let unit = claimed.start.saturating_add(*right_until);
            let record = seen.record(unit).await?.ok_or(ExplainError::Gone { unit })?;
            Some(unit_facts(chain.as_ref(), params, runner, claimed, (unit, record)).await?)
        }
        _ => None,
    };
    Ok(Explanation { verdict, unit })
}

async fn verdict(chain: &dyn Chain, claimed: &Claimed, end: u64) -> Result<Verdict, ExplainError> {
    // Asked for first: what is derived in between may only add units.
    let derived = chain.l1_height().await?;
    let have = chain.unit_count().await?;
    let mut right_until = 0;
    for (position, published) in claimed.positions() {
        let need = claimed.start.saturating_add(position);
        let expected = chain.state(need).await?;
        // A check that does not hold has a record, and no state after it.
        let fails = expected.is_none() && need == end && claimed.ticket.is_some();
        let is_done = expected.is_some() || fails && chain.record(need.saturating_sub(1)).await?.is_some();
        if !is_done {
            return Ok(match claimed.height.filter(|height| derived >= *height) {
                Some(height) => Verdict::Ahead { have, need, height },
                None => Verdict::NotDerived { have, need },
            });
        }
        if !expected.is_some_and(|expected| published.fits(&expected)) {
            return Ok(Verdict::Wrong {
                right_until,
                wrong_from: position,
                claimed: published,
                expected,
            });
        }
        right_until = position;
    }
    Ok(match claimed.not_repeated() {
        Some(position) => Verdict::NotRepeated { position },
        None => Verdict::Right,
    })
}

async fn unit_facts(
    chain: &dyn Chain,
    params: &ChainParams,
    runner: Option<&Runner>,
    claimed: &Claimed,
    (unit, record): (u64, UnitRecord),
) -> Result<UnitFacts, ExplainError> {
    let true_input = record.input();
    let params = params.clone();
    let done = tokio::task::spawn_blocking(move || execute(&params, &record));
    let done = done.await.map_err(broken)??;
    let claimed_receipts = claimed.receipts.as_deref();
    let difference = match (&done.block, claimed_receipts) {
        (Some(block), Some(receipts)) => first_difference(block, receipts),
        _ => None,
    };
    // A branch may have been led to another unit than the first wrong one.
    let of_unit = |trace: &&ClaimedTrace| {
        trace
            .unit
            .is_none_or(|at| claimed.start.saturating_add(at) == unit)
    };
    let run = match (claimed.trace.as_ref().filter(of_unit), runner) {
        (Some(trace), Some(runner)) => {
            let mut facts = run_facts(chain, runner, trace, unit, done.attempts).await?;
            facts.wrong_input = wrong_input(&trace.input, &true_input);
            Some(facts)
        }
        (Some(_), None) => return Err(ChainError::NoProgram.into()),
        (None, _) => None,
    };
    Ok(UnitFacts {
        unit,
        work: done.work,
        difference,
        run,
    })
}

/// Tells which half of an input leaf is another one: chain state or advice.
fn wrong_input(published: &[u8], expected: &[u8; 64]) -> Option<&'static str> {
    let (state, advice) = expected.split_at(32);
    if !published.starts_with(&state[..24]) {
        return Some("state");
    }
    (!published.ends_with(advice)).then_some("advice")
}

async fn run_facts(
    chain: &dyn Chain,
    runner: &Runner,
    claimed: &ClaimedTrace,
    unit: u64,
    attempts: Vec<B256>,
) -> Result<RunFacts, ExplainError> {
    let leaf = claimed
        .input
        .as_ref()
        .try_into()
        .map_err(|_| ExplainError::Claimed {
            field: "trace.input",
            got: format!("{} bytes", claimed.input.len()),
            rule: "64 bytes",
        })?;
    let input = unit_input(chain, unit, Some(leaf)).await?;
    let input = input.ok_or(ExplainError::Gone { unit })?;
    let trace = runner.start(input).trace().await?;
    let states = claimed.states.clone();
    let work = move || wrong_steps(&trace, &states, &attempts);
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}

fn wrong_steps(
    trace: &Arc<Trace>,
    published: &BTreeMap<u64, Prefix>,
    attempts: &[B256],
) -> Result<RunFacts, ExplainError> {
    let mut facts = RunFacts {
        end_step: trace.end_step(),
        end: print::end(trace.end()),
        output: trace.output(),
        wrong_input: None,
        wrong: None,
    };
    let mut right_until = 0;
    for (step, claimed) in published {
        let expected = trace.state_at(*step)?;
        if expected.is_some_and(|expected| claimed.fits(&expected)) {
            right_until = *step;
            continue;
        }
        let last = step.saturating_sub(1);
        let places = match executor(trace.program()) {
            None => None,
            Some(at) => Places::walk(trace, at, last, |made| {
                tracing::debug!(made, last, "stepping through the unit");
            })?,
        };
        let at = |step| {
            places
                .as_ref()
                .map(|places| of_attempts(places.at(step), attempts))
        };
        facts.wrong = Some(WrongSteps {
            right_until,
            wrong_from: *step,
            claimed: *claimed,
            expected,
            first: at(right_until),
            last: at(last),
        });
        break;
    }
    Ok(facts)
}

fn of_attempts(place: Place, attempts: &[B256]) -> AtTransaction {
    let index = place.begun.checked_sub(1);
    AtTransaction {
        index,
        transaction: index.and_then(|index| attempts.get(index)).copied(),
        inside: place.inside,
    }
}

fn broken(error: tokio::task::JoinError) -> ExplainError {
    ExplainError::Run(RunError::Failed {
        reason: error.to_string(),
    })
}
