//! Disputes as `/status` and the `status` command give them.

use std::fmt;

use alloy_primitives::B256;
use bitcoin::Txid;
use bitsect_bridge::daemon::{Carried, Outgoing, Running, SlotView};
use bitsect_bridge::slot::SlotState;
use serde::{Deserialize, Serialize};

use super::view::View;
use super::words;

/// All slots of a deployment, and what the challenger does about them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DisputeStatus {
    /// `watch`, `dry run`, `run`.
    pub mode: String,
    /// The deployment's hash.
    pub deployment: B256,
    /// The last L1 block that was looked at; none before the first.
    pub tip: Option<u32>,
    /// The slots.
    pub slots: Vec<SlotStatus>,
    /// Runs of units that are under way.
    pub runs: Vec<RunStatus>,
    /// Transactions on their way to Bitcoin.
    pub carried: Vec<CarriedStatus>,
    /// Of a dry run, what would be published.
    pub withheld: Vec<WithheldStatus>,
    /// Outputs that pay for moves; none without funds.
    pub fee_outputs: Option<FeeStatus>,
}

/// A slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotStatus {
    /// The slot as Bitcoin shows it.
    #[serde(flatten)]
    pub view: SlotView,
    /// The claim's transaction; none where there is no claim.
    pub claim_txid: Option<Txid>,
    /// What is made of the claim: `true`, `false`, `unknown`.
    pub judgement: Option<String>,
    /// The chain state that is true there; none where the chain has fewer units.
    pub expected: Option<B256>,
    /// Our name among its challengers.
    pub ours: Option<String>,
}

/// A run of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// The slot.
    pub slot: usize,
    /// The unit, from the start of the chain.
    pub unit: u64,
    /// Steps made.
    pub steps: u64,
    /// Seconds since it was asked for.
    pub seconds: f64,
}

/// A transaction on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CarriedStatus {
    /// What it is.
    pub label: String,
    /// Its id.
    pub txid: Txid,
    /// Its size in vB.
    pub vsize: usize,
    /// The last L1 block in which it is in time.
    pub deadline: u32,
    /// The L1 block that holds it.
    pub confirmed: Option<u32>,
}

/// A transaction that a dry run would publish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WithheldStatus {
    /// What it is.
    pub label: String,
    /// Why it is due.
    pub why: String,
    /// Its id.
    pub txid: Txid,
    /// Its size in vB.
    pub vsize: usize,
    /// The last L1 block in which it is in time.
    pub deadline: u32,
}

/// Outputs that pay for moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeeStatus {
    /// How many shall be ready.
    pub wanted: u32,
    /// How many are confirmed and free.
    pub free: u32,
    /// How many are on their way.
    pub pending: u32,
    /// What each holds, in sats.
    pub sats: u64,
}

impl View {
    /// Gives the status.
    pub fn status(&self) -> DisputeStatus {
        let shown = self.shown.borrow().clone();
        let slots = shown.slots.iter().enumerate();
        DisputeStatus {
            mode: self.mode.name().to_owned(),
            deployment: self.deployed.hash,
            tip: (!shown.slots.is_empty()).then_some(shown.tip),
            slots: slots
                .map(|(slot, state)| self.slot(slot, state, shown.tip))
                .collect(),
            runs: shown.runs.iter().map(|running| self.run(running)).collect(),
            carried: shown.carried.iter().map(CarriedStatus::of).collect(),
            withheld: shown.withheld.iter().map(WithheldStatus::of).collect(),
            fee_outputs: shown.fees.map(|fees| FeeStatus {
                wanted: fees.wanted,
                free: fees.free,
                pending: fees.pending,
                sats: fees.value.to_sat(),
            }),
        }
    }

    fn slot(&self, slot: usize, state: &SlotState, tip: u32) -> SlotStatus {
        let ready = &self.deployed.slots[slot];
        let graph = &ready.graph;
        let names = &self.deployed.names[slot];
        let of = (slot, ready.start_unit, graph.spec.bond);
        let judged = state.claim.map(|claim| self.judged(slot, &claim));
        SlotStatus {
            view: SlotView::new(of, &graph.params, state, names, tip),
            claim_txid: judged.map(|_| graph.claim.txid()),
            judgement: judged.map(|judged| words::judgement(judged.judgement).to_owned()),
            expected: judged.and_then(|judged| judged.expected),
            ours: self
                .pair(slot)
                .and_then(|pair| names.challengers.get(pair).cloned()),
        }
    }

    fn run(&self, running: &Running) -> RunStatus {
        RunStatus {
            slot: running.slot,
            unit: self.deployed.slots[running.slot].start_unit + running.unit,
            steps: running.run.progress().steps,
            seconds: running.since.elapsed().as_secs_f64(),
        }
    }
}

impl CarriedStatus {
    fn of(carried: &Carried) -> Self {
        Self {
            label: carried.label.clone(),
            txid: carried.txid,
            vsize: carried.vsize,
            deadline: carried.deadline,
            confirmed: carried.confirmed,
        }
    }
}

impl WithheldStatus {
    fn of(outgoing: &Outgoing) -> Self {
        Self {
            label: outgoing.label.clone(),
            why: outgoing.why.clone(),
            txid: outgoing.transaction.compute_txid(),
            vsize: outgoing.transaction.vsize(),
            deadline: outgoing.deadline,
        }
    }
}

/// A number, or a dash.
fn or_dash<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

impl fmt::Display for DisputeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "disputes   {}, at L1 block {}", self.mode, or_dash(self.tip))?;
        for slot in &self.slots {
            slot.fmt(f)?;
        }
        for run in &self.runs {
            writeln!(
                f,
                "run        slot {}, unit {}: {} million steps in {:.0} s",
                run.slot,
                run.unit,
                run.steps / 1_000_000,
                run.seconds
            )?;
        }
        for carried in &self.carried {
            let at = match carried.confirmed {
                Some(height) => format!("in block {height}"),
                None => format!("until block {}", carried.deadline),
            };
            writeln!(f, "on its way {} ({} vB), {at}", carried.label, carried.vsize)?;
        }
        for withheld in &self.withheld {
            let WithheldStatus {
                label,
                why,
                txid,
                vsize,
                deadline,
            } = withheld;
            writeln!(
                f,
                "would publish {label}: {txid}, {vsize} vB, until block {deadline}: {why}"
            )?;
        }
        match &self.fee_outputs {
            None => Ok(()),
            Some(fees) => writeln!(
                f,
                "fees       {} of {} outputs of {} sats ready, {} on their way",
                fees.free, fees.wanted, fees.sats, fees.pending
            ),
        }
    }
}

impl fmt::Display for SlotStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)?;
        match (self.judgement.as_deref(), self.expected) {
            (None, _) => {}
            (Some("false"), Some(expected)) => writeln!(f, "  the claim is false: {expected} is true")?,
            (Some("false"), None) => writeln!(f, "  the claim is false: there are fewer units")?,
            (Some("unknown"), _) => writeln!(f, "  of the claim nothing is known yet")?,
            (Some(judgement), _) => writeln!(f, "  the claim is {judgement}")?,
        }
        match &self.ours {
            None => Ok(()),
            Some(name) => writeln!(f, "  we are {name}"),
        }
    }
}
