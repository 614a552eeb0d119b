//! Slots as people and their tools see them: claim, branches, moves, and every clock.

use bitcoin::{OutPoint, Txid};
use serde::{Deserialize, Serialize};

use crate::params::Params;
use crate::slot::{Branch, BranchEnd, Main, Move, MoveKind, Position, SlotState, Turn};

/// Who is who in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The operator.
    pub operator: String,
    /// The challengers, by number.
    pub challengers: Vec<String>,
}

/// A slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotView {
    /// Its number.
    pub slot: usize,
    /// Who claims in it.
    pub operator: String,
    /// The unit that it starts behind.
    pub start_unit: u64,
    /// The bond.
    pub bond: OutPoint,
    /// Where the bond is: bonded, claimed, finalised fast, finalised slow, slashed, withdrawn.
    pub main: String,
    /// The claim.
    pub claim: Option<ClaimView>,
    /// The branches, by challenger.
    pub branches: Vec<BranchView>,
    /// What runs out, and when.
    pub clocks: Vec<Clock>,
    /// What happened, in order.
    pub moves: Vec<MoveView>,
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimView {
    /// Units after the slot's start.
    pub units: u32,
    /// The chain state, cut to 24 bytes, in hexadecimal.
    pub state: String,
    /// The L1 block that holds it.
    pub height: u32,
}

/// A branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BranchView {
    /// The challenger.
    pub challenger: String,
    /// Where it stands: unchallenged, waiting, or how it ended.
    pub position: String,
    /// The stage that is asked or was answered last.
    pub stage: Option<String>,
    /// Who has to move.
    pub turn: Option<String>,
    /// Blocks that are left for it.
    pub blocks_left: Option<u32>,
}

/// What runs out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// What.
    pub what: String,
    /// Who has to act before; nobody where it only has to pass.
    pub who: Option<String>,
    /// The L1 block since which it runs.
    pub since: u32,
    /// The L1 block at which it has run out.
    pub deadline: u32,
    /// Blocks until then.
    pub blocks_left: u32,
    /// Whether half of it is gone.
    pub half_gone: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveView {
    /// What.
    pub what: String,
    /// In whose branch.
    pub challenger: Option<String>,
    /// Of a choice the option, of a verdict the leaf.
    pub detail: Option<String>,
    /// The transaction.
    pub txid: Txid,
    /// The L1 block.
    pub height: u32,
    /// Its size, in vB.
    pub vsize: usize,
}

impl Clock {
    /// Makes the clock of what may take so many blocks, as it stands after block `tip`.
    pub fn new(what: String, who: Option<String>, since: u32, blocks: u16, tip: u32) -> Self {
        let deadline = since + u32::from(blocks);
        Self {
            what,
            who,
            since,
            deadline,
            blocks_left: deadline.saturating_sub(tip),
            half_gone: 2 * tip.saturating_sub(since) >= u32::from(blocks),
        }
    }
}

fn main_text(main: Main, names: &Names) -> String {
    match main {
        Main::Bonded => "bonded".to_owned(),
        Main::Claimed => "claimed".to_owned(),
        Main::FinalisedFast => "finalised fast".to_owned(),
        Main::FinalisedSlow => "finalised slow".to_owned(),
        Main::Slashed { pair } => format!("slashed by {}", challenger(names, pair)),
        Main::Withdrawn => "withdrawn".to_owned(),
    }
}

const fn end_text(end: BranchEnd) -> &'static str {
    match end {
        BranchEnd::Verdict => "verdict",
        BranchEnd::Timeout => "timeout",
        BranchEnd::Forfeit => "forfeit",
        BranchEnd::Recovered => "recovered",
        BranchEnd::Finalised => "finalised",
    }
}

fn challenger(names: &Names, pair: usize) -> String {
    let name = names.challengers.get(pair).cloned();
    name.unwrap_or_else(|| format!("challenger {pair}"))
}

fn turn_text(turn: Turn, names: &Names, pair: usize) -> String {
    match turn {
        Turn::Prover => names.operator.clone(),
        Turn::Challenger => challenger(names, pair),
    }
}

impl SlotView {
    /// Shows a slot as it stands after block `tip`.
    pub fn new(
        (slot, start_unit, bond): (usize, u64, OutPoint),
        params: &Params,
        state: &SlotState,
        names: &Names,
        tip: u32,
    ) -> Self {
        let branches = state.branches.iter().enumerate();
        let moves = state.moves.iter();
        Self {
            slot,
            operator: names.operator.clone(),
            start_unit,
            bond,
            main: main_text(state.main, names),
            claim: state.claim.map(|claim| ClaimView {
                units: claim.count,
                state: hex::encode(claim.state),
                height: claim.height,
            }),
            branches: branches
                .map(|(pair, branch)| branch_view(params, branch, names, pair, tip))
                .collect(),
            clocks: clocks(params, state, names, tip),
            moves: moves.map(|done| move_view(done, names)).collect(),
        }
    }
}

fn branch_view(params: &Params, branch: &Branch, names: &Names, pair: usize, tip: u32) -> BranchView {
    let mut view = BranchView {
        challenger: challenger(names, pair),
        position: String::new(),
        stage: None,
        turn: None,
        blocks_left: None,
    };
    match branch.position {
        Position::Unchallenged => view.position = "unchallenged".to_owned(),
        Position::Ended(end) => view.position = end_text(end).to_owned(),
        Position::Waiting { turn, stage, since } => {
            let deadline = since + u32::from(params.move_timeout_blocks);
            view.position = "waiting".to_owned();
            view.stage = Some(format!("{stage:?}"));
            view.turn = Some(turn_text(turn, names, pair));
            view.blocks_left = Some(deadline.saturating_sub(tip));
        }
    }
    view
}

fn clocks(params: &Params, state: &SlotState, names: &Names, tip: u32) -> Vec<Clock> {
    let mut clocks = Vec::new();
    if let (Some(claim), Main::Claimed) = (state.claim, state.main) {
        let since = claim.height;
        let unchallenged = state
            .branches
            .iter()
            .any(|branch| branch.position == Position::Unchallenged);
        let window = params.challenge_window_blocks;
        if unchallenged && tip < since + u32::from(window) {
            clocks.push(Clock::new(
                "challenge window".to_owned(),
                None,
                since,
                window,
                tip,
            ));
        }
        let window = params.dispute_window_blocks;
        clocks.push(Clock::new("dispute window".to_owned(), None, since, window, tip));
    }
    for (pair, branch) in state.branches.iter().enumerate() {
        if let Position::Waiting { turn, stage, since } = branch.position {
            let what = match turn {
                Turn::Prover => format!("answer {stage:?} to {}", challenger(names, pair)),
                Turn::Challenger => format!("move behind {stage:?}"),
            };
            let who = Some(turn_text(turn, names, pair));
            clocks.push(Clock::new(what, who, since, params.move_timeout_blocks, tip));
        }
    }
    clocks
}

fn move_view(done: &Move, names: &Names) -> MoveView {
    let what = match done.kind {
        MoveKind::Claim => "claim".to_owned(),
        MoveKind::Ask(stage) => format!("ask {stage:?}"),
        MoveKind::Answer(stage) => format!("answer {stage:?}"),
        MoveKind::End(end) => format!("branch ends: {}", end_text(end)),
        MoveKind::Main(main) => format!("bond {}", main_text(main, names)),
    };
    MoveView {
        what,
        challenger: done.pair.map(|pair| challenger(names, pair)),
        detail: done.detail.clone(),
        txid: done.txid,
        height: done.height,
        vsize: done.vsize,
    }
}

impl core::fmt::Display for SlotView {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "slot {} of {}, behind unit {}: {}",
            self.slot, self.operator, self.start_unit, self.main
        )?;
        if let Some(claim) = &self.claim {
            write!(
                f,
                "; {} units, state {}, block {}",
                claim.units, claim.state, claim.height
            )?;
        }
        writeln!(f)?;
        for branch in &self.branches {
            write!(f, "  {}: {}", branch.challenger, branch.position)?;
            if let (Some(stage), Some(turn), Some(left)) = (&branch.stage, &branch.turn, branch.blocks_left) {
                write!(f, " for {turn} at {stage}, {left} blocks left")?;
            }
            writeln!(f)?;
        }
        for clock in &self.clocks {
            let Clock {
                what,
                who,
                deadline,
                blocks_left,
                ..
            } = clock;
            let who = who.as_ref().map(|who| format!("{who}: ")).unwrap_or_default();
            writeln!(
                f,
                "  clock: {who}{what}, {blocks_left} blocks left until {deadline}"
            )?;
        }
        for done in &self.moves {
            let MoveView {
                what,
                detail,
                txid,
                height,
                vsize,
                ..
            } = done;
            let of = done
                .challenger
                .as_ref()
                .map(|of| format!(" ({of})"))
                .unwrap_or_default();
            let detail = detail
                .as_ref()
                .map(|detail| format!(" [{detail}]"))
                .unwrap_or_default();
            writeln!(f, "  block {height}: {what}{of}{detail}, {vsize} vB, {txid}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_tell_half_and_end() {
        let clock = |tip| Clock::new("move".to_owned(), None, 100, 10, tip);
        assert_eq!((clock(100).blocks_left, clock(100).half_gone), (10, false));
        assert_eq!((clock(104).blocks_left, clock(104).half_gone), (6, false));
        assert_eq!((clock(105).blocks_left, clock(105).half_gone), (5, true));
        assert_eq!((clock(120).blocks_left, clock(120).half_gone), (0, true));
        // A reorg may take the tip below the block since which it runs.
        assert_eq!(clock(90).blocks_left, 20);
    }
}
