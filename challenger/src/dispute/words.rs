//! What things of a dispute are called where people and programs read of them.

use bitsect_bridge::daemon::Judgement;
use bitsect_bridge::game::{Part, Stage};
use bitsect_bridge::slot::{BranchEnd, Main, MoveKind, Turn};

/// Names a stage.
pub fn stage(stage: Stage) -> String {
    let of = |part: Part| match part {
        Part::Link => "link",
        Part::Step => "step",
    };
    match stage {
        Stage::Units(round) => format!("units {round}"),
        Stage::Link => "link".to_owned(),
        Stage::Trace(round) => format!("trace {round}"),
        Stage::Step => "step".to_owned(),
        Stage::Content(part) => format!("content of {}", of(part)),
        Stage::Path(part, round) => format!("path of {}, {round}", of(part)),
        Stage::Final(part) => format!("final of {}", of(part)),
    }
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

/// Names where a bond is.
pub fn main(main: Main) -> String {
    match main {
        Main::Bonded => "bonded".to_owned(),
        Main::Claimed => "claimed".to_owned(),
        Main::FinalisedFast => "finalised fast".to_owned(),
        Main::FinalisedSlow => "finalised slow".to_owned(),
        Main::Slashed { pair } => format!("slashed by challenger {pair}"),
        Main::Withdrawn => "withdrawn".to_owned(),
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

/// Names a move: what it did, and by whom where a party of a branch made it.
pub fn made(kind: MoveKind) -> (&'static str, String) {
    match kind {
        MoveKind::Claim => ("operator", "claim".to_owned()),
        MoveKind::Ask(Stage::Units(0)) => ("challenger", "challenge".to_owned()),
        MoveKind::Ask(asked) => ("challenger", format!("ask {}", stage(asked))),
        MoveKind::Answer(answered) => ("operator", format!("answer {}", stage(answered))),
        MoveKind::End(BranchEnd::Forfeit) => ("operator", "forfeit".to_owned()),
        MoveKind::End(BranchEnd::Finalised) => ("operator", "finalised".to_owned()),
        MoveKind::End(how) => ("challenger", end(how).to_owned()),
        MoveKind::Main(Main::Slashed { pair }) => ("challenger", format!("slashed by challenger {pair}")),
        MoveKind::Main(at) => ("operator", main(at)),
    }
}
