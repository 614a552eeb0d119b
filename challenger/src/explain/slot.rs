//! What a slot's claim says and its dispute has published, as Bitcoin shows it, and why it is right or wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bitcoin::Txid;
use bitsect_bridge::chain::{Chain, Runner};
use bitsect_bridge::daemon::{DaemonStore, DaemonStoreError, ReadySlot, position};
use bitsect_bridge::game::position::Position;
use bitsect_bridge::game::search::Search;
use bitsect_bridge::game::{trace, units};
use bitsect_bridge::slot::SlotState;
use bitsect_judge::step::Cut;
use bitsect_vm::chain::ChainParams;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{Claimed, ClaimedTrace, ExplainError, Explanation, Prefix, explain};
use crate::dispute::{Deployed, stage_name};

/// Why a slot's claim is right or wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotExplanation {
    /// The slot.
    pub slot: usize,
    /// Who claims in it.
    pub operator: String,
    /// The claim's transaction; none where there is no claim.
    pub claim: Option<Txid>,
    /// By what each branch has published; by the claim alone where there is no branch.
    pub branches: Vec<BranchExplanation>,
}

/// Why a claim is right or wrong, by what a branch has published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BranchExplanation {
    /// The challenger's number; none of the claim alone.
    pub challenger: Option<usize>,
    /// The stage that the branch is at.
    pub stage: Option<String>,
    /// Why.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// An explanation as a running challenger gives it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// For programs.
    pub explanation: serde_json::Value,
    /// For people.
    pub text: String,
    /// How bad it is for the claim, as [`Verdict::severity`](super::Verdict::severity) has it.
    pub severity: u8,
}

/// Prepares an explanation for those who ask.
pub fn told(explanation: &SlotExplanation) -> Told {
    let verdicts = explanation
        .branches
        .iter()
        .map(|branch| &branch.explanation.verdict);
    Told {
        explanation: serde_json::to_value(explanation).expect("an explanation has only types that JSON has"),
        text: explanation.to_string(),
        severity: verdicts.map(super::Verdict::severity).max().unwrap_or_default(),
    }
}

/// Explains claims of slots, one at a time: it may take a run.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "gigabytes of pages")]
pub struct Explainer {
    chain: Arc<dyn Chain>,
    params: Arc<ChainParams>,
    runner: Runner,
    turn: Arc<Mutex<()>>,
}

impl Explainer {
    /// Explains by a chain, and runs of its units.
    pub fn new(chain: Arc<dyn Chain>, params: ChainParams, runner: Runner) -> Self {
        Self {
            chain,
            params: Arc::new(params),
            runner,
            turn: Arc::default(),
        }
    }

    /// Explains a slot's claim.
    ///
    /// # Errors
    /// See [`ExplainError`].
    pub async fn slot(
        &self,
        deployed: &Deployed,
        slot: usize,
        state: &SlotState,
    ) -> Result<SlotExplanation, ExplainError> {
        let _turn = self.turn.lock().await;
        let ready = &deployed.slots[slot];
        let mut branches = Vec::new();
        for (challenger, claimed) in published(ready, state) {
            let explained = explain(&self.chain, &self.params, Some(&self.runner), &claimed);
            let stage = challenger.and_then(|pair| position(&ready.graph, state, pair));
            branches.push(BranchExplanation {
                challenger,
                stage: stage.map(|position| stage_name(position.stage())),
                explanation: explained.await?,
            });
        }
        Ok(SlotExplanation {
            slot,
            operator: deployed.names[slot].operator.clone(),
            claim: state.claim.map(|_| ready.graph.claim.txid()),
            branches,
        })
    }
}

/// Gives the slots as a challenger's file has them, which no running challenger has open.
///
/// # Errors
/// Where the file fails, or is of another deployment.
pub fn stored(store: &DaemonStore, deployed: &Deployed) -> Result<Vec<SlotState>, DaemonStoreError> {
    let slots = deployed.slots.iter();
    let mut states: Vec<SlotState> = slots.map(|slot| SlotState::new(&slot.graph)).collect();
    for (height, seen) in store.seen()? {
        let slot = seen.slot as usize;
        if let (Some(state), Some(ready)) = (states.get_mut(slot), deployed.slots.get(slot)) {
            state.apply(&ready.graph, &seen.transaction, height);
        }
    }
    Ok(states)
}

/// Gives what a slot's claim and each of its branches say; the claim alone where no branch is challenged.
pub fn published(slot: &ReadySlot, state: &SlotState) -> Vec<(Option<usize>, Claimed)> {
    let Some(claim) = state.claim else {
        return vec![];
    };
    let alone = Claimed {
        start: slot.start_unit,
        units: claim.count.into(),
        state: Prefix::from(claim.state),
        ticket: slot.graph.spec.ticket,
        height: Some(claim.height),
        states: BTreeMap::new(),
        trace: None,
        receipts: None,
    };
    let branches = state.branches.iter().enumerate();
    let answered = branches.filter(|(_, branch)| branch.published.values.len() > CLAIM_VALUES);
    let positions = answered.filter_map(|(pair, _)| Some((pair, position(&slot.graph, state, pair)?)));
    let branches: Vec<_> = positions
        .map(|(pair, position)| (Some(pair), of_branch(alone.clone(), &position)))
        .collect();
    if branches.is_empty() {
        return vec![(None, alone)];
    }
    branches
}

/// Values that the claim itself publishes: count and state.
const CLAIM_VALUES: usize = 2;

fn of_branch(mut claimed: Claimed, position: &Position) -> Claimed {
    let rounds = position.rounds();
    let states = searched(units(rounds), &position.unit_choices(), |at| {
        position.chain_state(at)
    });
    claimed.states = states;
    let (Some(unit), Some(input)) = (position.unit(), position.input()) else {
        return claimed;
    };
    let mut states = searched(trace(rounds), &position.step_choices(), |at| {
        position.machine_state(at)
    });
    for end in [0, rounds.steps_total()] {
        let state = position.machine_state(end).map(Prefix::from);
        states.extend(state.map(|state| (end, state)));
    }
    claimed.trace = Some(ClaimedTrace {
        unit: Some(unit),
        input: input.into(),
        states,
    });
    claimed
}

/// Gives the published values of a search, by position.
fn searched(search: Search, choices: &[u8], value: impl Fn(u64) -> Option<Cut>) -> BTreeMap<u64, Prefix> {
    let rounds = choices.len().min(usize::from(search.rounds) - 1);
    let asked = (0..=rounds).flat_map(|round| search.asked(&choices[..round]));
    asked
        .filter_map(|at| Some((at, Prefix::from(value(at)?))))
        .collect()
}

impl fmt::Display for SlotExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(claim) = self.claim else {
            return writeln!(f, "slot {}: {} has made no claim", self.slot, self.operator);
        };
        writeln!(f, "slot {}: {}'s claim {claim}", self.slot, self.operator)?;
        for branch in &self.branches {
            match (branch.challenger, &branch.stage) {
                (Some(challenger), Some(stage)) => {
                    writeln!(f, "branch   challenger {challenger}, at {stage}")?;
                }
                _ => writeln!(f, "branch   none has published more")?,
            }
            branch.explanation.fmt(f)?;
        }
        Ok(())
    }
}
