//! Disputes as `/status` and the `status` command give them.

use std::fmt;

use alloy_primitives::{B256, hex};
use bitcoin::Txid;
use bitsect_bridge::daemon::{Carried, Outgoing, Running, Shown};
use bitsect_bridge::slot::{Claimed, Main, Move, Position, SlotState};
use serde::{Deserialize, Serialize};

use super::clock::Clock;
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
    /// Its number.
    pub slot: usize,
    /// Who claims in it.
    pub operator: String,
    /// Units of the chain before its start.
    pub start_unit: u64,
    /// Where the bond is.
    pub bond: String,
    /// The claim.
    pub claim: Option<ClaimStatus>,
    /// The branches, by challenger.
    pub branches: Vec<BranchStatus>,
    /// All that happened, in order.
    pub moves: Vec<MoveStatus>,
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimStatus {
    /// Its transaction.
    pub txid: Txid,
    /// Its `k`: units from the slot's start.
    pub units: u32,
    /// The chain state that it claims, cut.
    pub claimed: String,
    /// The L1 block that holds it.
    pub height: u32,
    /// `true`, `false`, `unknown`.
    pub judgement: String,
    /// The chain state that is true there; none where the chain has fewer units.
    pub expected: Option<B256>,
    /// L1 blocks left for a challenge; none where the claim is over.
    pub challenge_blocks_left: Option<u32>,
    /// L1 blocks until an upheld claim may be finalised; none where the claim is over.
    pub dispute_blocks_left: Option<u32>,
}

/// A branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BranchStatus {
    /// The challenger's number.
    pub challenger: usize,
    /// Its name.
    pub name: String,
    /// Whether it is ours.
    pub ours: bool,
    /// The stage that is asked for, or was answered last.
    pub stage: Option<String>,
    /// Who has to move.
    pub turn: Option<String>,
    /// The last L1 block in which a move is in time.
    pub deadline: Option<u32>,
    /// L1 blocks left.
    pub blocks_left: Option<u32>,
    /// How it ended.
    pub end: Option<String>,
}

/// A confirmed move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveStatus {
    /// Whose branch; none of the slot's own.
    pub challenger: Option<usize>,
    /// Who moved.
    pub by: String,
    /// What it did.
    pub made: String,
    /// Of a choice, the option; of a verdict, the leaf.
    pub detail: Option<String>,
    /// Its transaction.
    pub txid: Txid,
    /// The L1 block.
    pub height: u32,
    /// Its size in vB.
    pub vsize: usize,
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
                .map(|(slot, state)| self.slot(slot, state, &shown))
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

    fn slot(&self, slot: usize, state: &SlotState, shown: &Shown) -> SlotStatus {
        let branches = 0..state.branches.len();
        SlotStatus {
            slot,
            operator: self.deployed.operators.get(slot).cloned().unwrap_or_default(),
            start_unit: self.deployed.slots[slot].start_unit,
            bond: words::main(state.main),
            claim: state
                .claim
                .map(|claim| self.claim(slot, &claim, state, shown.tip)),
            branches: branches
                .map(|pair| self.branch((slot, pair), state, shown.tip))
                .collect(),
            moves: state.moves.iter().map(MoveStatus::of).collect(),
        }
    }

    fn claim(&self, slot: usize, claim: &Claimed, state: &SlotState, tip: u32) -> ClaimStatus {
        let graph = &self.deployed.slots[slot].graph;
        let judged = self.judged(slot, claim);
        let left = |lock: u16| {
            let clock = Clock::new(claim.height, lock, tip);
            (state.main == Main::Claimed).then_some(clock.left)
        };
        ClaimStatus {
            txid: graph.claim.txid(),
            units: claim.count,
            claimed: hex::encode_prefixed(claim.state),
            height: claim.height,
            judgement: words::judgement(judged.judgement).to_owned(),
            expected: judged.expected,
            challenge_blocks_left: left(graph.params.challenge_window_blocks),
            dispute_blocks_left: left(graph.params.dispute_window_blocks),
        }
    }

    fn branch(&self, (slot, pair): (usize, usize), state: &SlotState, tip: u32) -> BranchStatus {
        let lock = self.deployed.slots[slot].graph.params.move_timeout_blocks;
        let mut status = BranchStatus {
            challenger: pair,
            name: self.deployed.challengers.get(pair).cloned().unwrap_or_default(),
            ours: self.pair(slot) == Some(pair),
            stage: None,
            turn: None,
            deadline: None,
            blocks_left: None,
            end: None,
        };
        match state.branches[pair].position {
            Position::Unchallenged => {}
            Position::Waiting { turn, stage, since } => {
                let clock = Clock::new(since, lock, tip);
                status.stage = Some(words::stage(stage));
                status.turn = Some(words::turn(turn).to_owned());
                status.deadline = Some(clock.deadline);
                status.blocks_left = Some(clock.left);
            }
            Position::Ended(end) => status.end = Some(words::end(end).to_owned()),
        }
        status
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

impl MoveStatus {
    fn of(made: &Move) -> Self {
        let (by, what) = words::made(made.kind);
        Self {
            challenger: made.pair,
            by: by.to_owned(),
            made: what,
            detail: made.detail.clone(),
            txid: made.txid,
            height: made.height,
            vsize: made.vsize,
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
        writeln!(f, "slot {}     {}, bond {}", self.slot, self.operator, self.bond)?;
        let Some(claim) = &self.claim else {
            return Ok(());
        };
        writeln!(
            f,
            "  claim    {} units, {} in block {}: {}",
            claim.units, claim.claimed, claim.height, claim.judgement
        )?;
        if claim.judgement == "false" {
            writeln!(
                f,
                "  true     {}",
                or_dash(claim.expected.map(|state| state.to_string()))
            )?;
        }
        if let (Some(challenge), Some(dispute)) = (claim.challenge_blocks_left, claim.dispute_blocks_left) {
            writeln!(
                f,
                "  left     {challenge} blocks to challenge, {dispute} until it stands"
            )?;
        }
        for branch in &self.branches {
            branch.fmt(f)?;
        }
        if !self.moves.is_empty() {
            writeln!(
                f,
                "  {:>7}  {:<3} {:<28} {:>7}  transaction",
                "block", "", "move", "vB"
            )?;
        }
        for made in &self.moves {
            let what = match &made.detail {
                Some(detail) => format!("{} ({detail})", made.made),
                None => made.made.clone(),
            };
            let (height, vsize, txid) = (made.height, made.vsize, made.txid);
            let of = or_dash(made.challenger);
            writeln!(f, "  {height:>7}  {of:<3} {what:<28} {vsize:>7}  {txid}")?;
        }
        Ok(())
    }
}

impl fmt::Display for BranchStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.ours { " (ours)" } else { "" };
        write!(f, "  branch   {} {}{whose}: ", self.challenger, self.name)?;
        match (&self.end, &self.turn, &self.stage, self.blocks_left) {
            (Some(end), ..) => writeln!(f, "ended, {end}"),
            (None, Some(turn), Some(stage), Some(left)) => {
                writeln!(f, "{stage}, {turn} has to move, {left} blocks left")
            }
            _ => writeln!(f, "not challenged"),
        }
    }
}
