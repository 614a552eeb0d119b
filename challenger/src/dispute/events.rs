//! Which alarms the slots give rise to, as they stand.

use bitsect_bridge::daemon::{Clock, Judgement};
use bitsect_bridge::game::Stage;
use bitsect_bridge::graph::SlotGraph;
use bitsect_bridge::params::Params;
use bitsect_bridge::slot::{BranchEnd, Main, Move, MoveKind, Position, SlotState, Turn};

use super::view::Seen;
use super::words;
use crate::alarm::Event;

/// An alarm, and the line that says that it was raised. The same slots give the same lines.
pub type Alarm = (String, Event);

/// One slot as it stands.
struct Slot<'a> {
    number: usize,
    /// Our number among its challengers.
    pair: Option<usize>,
    claim: String,
    params: &'a Params,
    state: &'a SlotState,
    seen: Option<&'a Seen>,
    tip: u32,
}

/// Gives all alarms of a slot as it stands after block `tip`. `pair` is our number among its challengers.
pub fn alarms(
    graph: &SlotGraph,
    (number, pair): (usize, Option<usize>),
    state: &SlotState,
    seen: Option<&Seen>,
    tip: u32,
) -> Vec<Alarm> {
    let slot = Slot {
        number,
        pair,
        claim: graph.claim.txid().to_string(),
        params: &graph.params,
        seen: seen.filter(|seen| Some(seen.claim) == state.claim),
        state,
        tip,
    };
    let mut alarms = slot.of_claim();
    alarms.extend(slot.of_challenge());
    alarms.extend(state.moves.iter().filter_map(|made| slot.of_move(made)));
    let branches = state.branches.iter().enumerate();
    alarms.extend(branches.filter_map(|(pair, branch)| slot.of_branch(pair, branch.position)));
    alarms
}

impl Slot<'_> {
    fn ours(&self, challenger: usize) -> bool {
        self.pair == Some(challenger)
    }

    fn judgement(&self) -> Judgement {
        self.seen.map_or(Judgement::Unknown, |seen| seen.judged.judgement)
    }

    fn is_false(&self) -> bool {
        self.judgement() == Judgement::False
    }

    fn of_claim(&self) -> Vec<Alarm> {
        let Some(claim) = self.state.claim else {
            return vec![];
        };
        let (slot, units) = (self.number, claim.count);
        let judgement = words::judgement(self.judgement());
        let claimed = alloy_primitives::hex::encode_prefixed(claim.state);
        // Derivation comes a moment behind the block: that is no news.
        if self.judgement() == Judgement::Unknown && self.tip <= claim.height {
            return vec![];
        }
        let line = format!("claim {slot} {units} {claimed} {judgement}");
        let mut alarms = vec![(
            line,
            Event::ClaimSeen {
                slot,
                claim: self.claim.clone(),
                units,
                claimed: claimed.clone(),
                judgement,
            },
        )];
        if let Some(seen) = self.seen.filter(|_| self.is_false()) {
            let clock = self.clock("challenge", claim.height, self.params.challenge_window_blocks);
            let event = Event::ClaimFalse {
                slot,
                claim: self.claim.clone(),
                units,
                claimed: claimed.clone(),
                expected: seen.judged.expected.map(|state| state.to_string()),
                blocks_left: clock.blocks_left,
            };
            alarms.push((format!("false {slot} {units} {claimed}"), event));
        }
        alarms
    }

    /// The time for the challenge of a false claim: ours, or where we have no branch, anybody's.
    fn of_challenge(&self) -> Option<Alarm> {
        let claim = self.state.claim?;
        let waits = |pair: usize| self.state.branches[pair].position == Position::Unchallenged;
        let waits = match self.pair {
            Some(pair) => waits(pair),
            None => (0..self.state.branches.len()).all(waits),
        };
        if !waits || !self.is_false() || self.state.main != Main::Claimed {
            return None;
        }
        let clock = self.clock("challenge", claim.height, self.params.challenge_window_blocks);
        self.late(self.pair, Turn::Challenger, clock)
    }

    fn of_branch(&self, pair: usize, position: Position) -> Option<Alarm> {
        let Position::Waiting { turn, stage, since } = position else {
            return None;
        };
        // The operator of a claim that is defeated already has nothing to answer.
        if turn == Turn::Prover && self.state.main != Main::Claimed {
            return None;
        }
        let clock = self.clock(&words::stage(stage), since, self.params.move_timeout_blocks);
        self.late(Some(pair), turn, clock)
    }

    fn clock(&self, what: &str, since: u32, blocks: u16) -> Clock {
        Clock::new(what.to_owned(), None, since, blocks, self.tip)
    }

    fn late(&self, challenger: Option<usize>, turn: Turn, clock: Clock) -> Option<Alarm> {
        let (slot, turn, stage) = (self.number, words::turn(turn), clock.what);
        let ours = challenger.is_some_and(|challenger| self.ours(challenger));
        let line = format!("late {slot} {challenger:?} {turn} {stage} {}", clock.since);
        if clock.blocks_left == 0 {
            let event = Event::DeadlineMissed {
                slot,
                challenger,
                ours,
                turn,
                stage,
            };
            return Some((format!("{line} missed"), event));
        }
        clock.half_gone.then(|| {
            let event = Event::DeadlineHalf {
                slot,
                challenger,
                ours,
                turn,
                stage,
                blocks_left: clock.blocks_left,
            };
            (format!("{line} half"), event)
        })
    }

    fn of_move(&self, made: &Move) -> Option<Alarm> {
        let (slot, transaction) = (self.number, made.txid.to_string());
        let by = words::turn(words::mover(made.kind));
        let event = match (made.kind, made.pair) {
            (MoveKind::Ask(Stage::Units(0)), Some(challenger)) => Event::ChallengeMade {
                slot,
                challenger,
                ours: self.ours(challenger),
                transaction: transaction.clone(),
            },
            (MoveKind::Ask(stage) | MoveKind::Answer(stage), Some(challenger)) => Event::DisputeMoved {
                slot,
                challenger,
                ours: self.ours(challenger),
                by,
                stage: words::stage(stage),
                transaction: transaction.clone(),
            },
            (MoveKind::End(end), Some(challenger)) if end != BranchEnd::Finalised => Event::DisputeEnded {
                slot,
                challenger,
                ours: self.ours(challenger),
                end: words::end(end),
                leaf: made.detail.clone(),
                transaction: transaction.clone(),
            },
            (MoveKind::Main(main @ (Main::FinalisedFast | Main::FinalisedSlow)), _) if self.is_false() => {
                Event::FalseClaimFinalised {
                    slot,
                    claim: self.claim.clone(),
                    way: if main == Main::FinalisedFast {
                        "fast"
                    } else {
                        "slow"
                    },
                    transaction: transaction.clone(),
                }
            }
            _ => return None,
        };
        Some((
            format!("made {slot} {:?} {:?} {transaction}", made.pair, made.kind),
            event,
        ))
    }
}
