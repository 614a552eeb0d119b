//! What things of a dispute are called where people and programs read of them.

use bitsect_bridge::daemon::Judgement;
use bitsect_bridge::game::Stage;
use bitsect_bridge::slot::{BranchEnd, MoveKind, Turn};

/// Names a stage.
pub fn stage(stage: Stage) -> String {
    format!("{stage:?}")
}

/// Names a side.
pub const fn turn(turn: Turn) -> &'static str {
    match turn {
        Turn::Prover => "operator",
        Turn::Challenger => "challenger",
    }
}

/// Names what is made of a claim.
pub const fn judgement(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::True => "true",
        Judgement::False => "false",
        Judgement::Unknown => "unknown",
    }
}

/// Names the end of a branch.
pub const fn end(end: BranchEnd) -> &'static str {
    match end {
        BranchEnd::Verdict => "verdict",
        BranchEnd::Timeout => "timeout",
        BranchEnd::Forfeit => "forfeit",
        BranchEnd::Recovered => "recovered",
        BranchEnd::Finalised => "finalised",
    }
}

/// Gives the side that makes a move.
pub const fn mover(kind: MoveKind) -> Turn {
    match kind {
        MoveKind::Ask(_) | MoveKind::End(BranchEnd::Verdict | BranchEnd::Timeout | BranchEnd::Recovered) => {
            Turn::Challenger
        }
        MoveKind::Claim
        | MoveKind::Answer(_)
        | MoveKind::End(BranchEnd::Forfeit | BranchEnd::Finalised)
        | MoveKind::Main(_) => Turn::Prover,
    }
}
