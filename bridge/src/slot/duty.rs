//! What a party has to do, and until when, as Bitcoin stands.

use super::state::{Main, Position, SlotState, Turn};
use crate::game::Stage;
use crate::params::Params;

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Look at the claim, and challenge it where it is false.
    Judge {
        /// The L1 block after which it may be finalised.
        deadline: u32,
    },
    /// Answer a stage.
    Answer {
        /// The challenger's number.
        pair: usize,
        /// The stage.
        stage: Stage,
        /// The L1 block from which on silence loses.
        deadline: u32,
    },
    /// Win, or ask on, behind a stage.
    Choose {
        /// The stage.
        stage: Stage,
        /// The L1 block from which on silence loses.
        deadline: u32,
    },
    /// Take a branch whose other side was silent.
    Collect {
        /// The challenger's number.
        pair: usize,
        /// The stage.
        stage: Stage,
    },
    /// End a claim that nobody challenged.
    FinaliseFast,
    /// End a claim that was upheld.
    FinaliseSlow,
}

/// Whether an output confirmed at `since` may be spent with a lock of so many blocks in the block after `tip` (BIP-0068).
const fn is_mature(since: u32, lock: u16, tip: u32) -> bool {
    tip + 1 >= since + lock as u32
}

/// Gives what the operator has to do after block `tip`.
pub fn operator_duties(params: &Params, state: &SlotState, tip: u32) -> Vec<Duty> {
    let timeout = params.move_timeout_blocks;
    let mut duties = Vec::new();
    let mut challenged = false;
    for (pair, branch) in state.branches.iter().enumerate() {
        match branch.position {
            Position::Waiting {
                turn: Turn::Prover,
                stage,
                since,
            } if state.main == Main::Claimed => {
                let deadline = since + u32::from(timeout);
                duties.push(Duty::Answer {
                    pair,
                    stage,
                    deadline,
                });
            }
            Position::Waiting {
                turn: Turn::Challenger,
                stage,
                since,
            } if is_mature(since, timeout, tip) => duties.push(Duty::Collect { pair, stage }),
            _ => {}
        }
        challenged |= branch.position != Position::Unchallenged;
    }
    if let (Some(claim), Main::Claimed) = (state.claim, state.main) {
        if !challenged && is_mature(claim.height, params.challenge_window_blocks, tip) {
            duties.push(Duty::FinaliseFast);
        }
        if is_mature(claim.height, params.dispute_window_blocks, tip) {
            duties.push(Duty::FinaliseSlow);
        }
    }
    duties
}

/// Gives what a challenger has to do after block `tip`.
pub fn challenger_duties(params: &Params, state: &SlotState, pair: usize, tip: u32) -> Vec<Duty> {
    let timeout = params.move_timeout_blocks;
    let duty = match state.branches[pair].position {
        Position::Unchallenged => {
            state
                .claim
                .filter(|_| state.main == Main::Claimed)
                .map(|claim| Duty::Judge {
                    deadline: claim.height + u32::from(params.challenge_window_blocks),
                })
        }
        Position::Waiting {
            turn: Turn::Challenger,
            stage,
            since,
        } => Some(Duty::Choose {
            stage,
            deadline: since + u32::from(timeout),
        }),
        Position::Waiting {
            turn: Turn::Prover,
            stage,
            since,
        } => is_mature(since, timeout, tip).then_some(Duty::Collect { pair, stage }),
        Position::Ended(_) => None,
    };
    duty.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_mature_as_bitcoin_has_it() {
        // An output of block 100 with a lock of 3 may be spent in block 103: after tip 102.
        assert!(!is_mature(100, 3, 101));
        assert!(is_mature(100, 3, 102));
    }
}
