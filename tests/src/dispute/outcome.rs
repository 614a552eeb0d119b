//! Liars against one honest challenger, each in a slot of its own.

use std::path::PathBuf;

use bitsect_bridge::game::Stage;
use bitsect_bridge::slot::{BranchEnd, Main, MoveKind, Position, SlotState};

use super::arena::{Arena, Claim, ROUNDS, params};
use super::liar::Liar;
use super::parties::Side;

/// Units that are claimed.
pub const CLAIMED: u32 = 9;

/// How a liar loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loses {
    /// By a leaf whose name begins so.
    By(&'static str),
    /// By its silence at a stage.
    Silent(Stage),
}

/// A lie that one honest challenger defeats.
#[derive(Clone, Debug)]
pub struct Defeat {
    /// What it is, for messages.
    pub name: String,
    /// The lie.
    pub liar: Liar,
    /// How it loses.
    pub loses: Loses,
}

impl Defeat {
    /// Names a lie that a leaf ends, whose name begins with `leaf`.
    pub fn by(name: impl Into<String>, liar: Liar, leaf: &'static str) -> Self {
        Self {
            name: name.into(),
            liar,
            loses: Loses::By(leaf),
        }
    }

    /// Names an operator that says nothing at a stage, to which it comes by a lie.
    pub fn silent(liar: Liar, stage: Stage) -> Self {
        Self {
            name: format!("silence at {stage:?}"),
            liar: liar.silent(stage),
            loses: Loses::Silent(stage),
        }
    }

    /// Whether it went so for a challenger.
    pub fn is_done(&self, state: &SlotState, pair: usize) -> bool {
        let ended = |end| state.branches[pair].position == Position::Ended(end);
        let moves = || state.moves.iter().filter(|played| played.pair == Some(pair));
        let done = match self.loses {
            Loses::By(leaf) => {
                let verdict = moves().find(|played| played.kind == MoveKind::End(BranchEnd::Verdict));
                let name = verdict.and_then(|played| played.detail.as_deref());
                ended(BranchEnd::Verdict) && name.is_some_and(|name| name.starts_with(leaf))
            }
            Loses::Silent(stage) => {
                let asked = moves().any(|played| played.kind == MoveKind::Ask(stage));
                let answered = moves().any(|played| played.kind == MoveKind::Answer(stage));
                ended(BranchEnd::Timeout) && asked && !answered
            }
        };
        done && state.main == Main::Slashed { pair }
    }
}

/// Plays each lie in a slot of its own until one honest challenger has ended all of them, and gives the slots. Slots that
/// are left over are not played.
///
/// # Panics
/// Where a lie is not slashed as it is expected.
pub async fn defeat(arena: &mut Arena, lies: &[Defeat]) -> Vec<SlotState> {
    let claims: Vec<Claim> = lies.iter().map(|lie| Claim::False(CLAIMED, lie.liar)).collect();
    arena.slots.truncate(claims.len());
    arena.operator(&claims).await;
    arena.challenger(0);
    let over = |state: &SlotState| matches!(state.branches[0].position, Position::Ended(_));
    let states = arena.play_all_until(Side::Challenger(0), "the end", over).await;
    let failed: Vec<String> = lies
        .iter()
        .zip(&states)
        .filter(|(lie, state)| !lie.is_done(state, 0))
        .map(|(lie, state)| format!("{lie:?}: {}", moves(state)))
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {}: {}",
        failed.len(),
        lies.len(),
        failed.join("\n")
    );
    arena.stop().await;
    states
}

/// Makes an arena with so many slots for lies and one challenger. `guest` is the program as `.ci/guest` builds it.
///
/// # Panics
/// When anything fails.
pub async fn for_lies(guest: PathBuf, lies: usize) -> Arena {
    Arena::start(guest, (lies, 1), params(ROUNDS)).await
}

/// Shows what happened in a slot.
pub fn moves(state: &SlotState) -> String {
    let moves = state.moves.iter().map(|played| {
        let detail = played.detail.as_deref().unwrap_or_default();
        format!("{}: {:?} {detail}", played.height, played.kind)
    });
    moves.collect::<Vec<_>>().join(", ")
}
