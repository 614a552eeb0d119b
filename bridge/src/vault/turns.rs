//! Whose turn it is to pay for something that all members want on Bitcoin.

use crate::committee::{Deployment, MemberId, Role};

/// Members take turns at sending what they have signed together, since one pays the fee: operators first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// How many operators there are.
    pub operators: u32,
    /// Which of them we are; none of a challenger.
    pub ours: Option<u32>,
    /// L1 blocks from one turn to the next.
    pub blocks: u32,
}

/// Blocks from one operator's turn to the next one's.
const TURN_BLOCKS: u32 = 6;

impl Turns {
    /// Gives a member's turn.
    pub fn of(deployment: &Deployment, member: MemberId) -> Self {
        let ids = deployment.ids();
        let operators: Vec<MemberId> = ids
            .filter(|id| deployment.member(*id).role == Role::Operator)
            .collect();
        let ours = operators.iter().position(|id| *id == member);
        Self {
            operators: operators.len() as u32,
            ours: ours.map(|ours| ours as u32),
            blocks: TURN_BLOCKS,
        }
    }

    /// Gives the blocks between the first turn at something with this number, and ours.
    pub(super) fn blocks_behind(&self, number: u64) -> u32 {
        let operators = self.operators.max(1);
        let first = (number % u64::from(operators)) as u32;
        let behind = self
            .ours
            .map_or(operators, |ours| (ours + operators - first) % operators);
        behind.saturating_mul(self.blocks)
    }

    /// Gives the blocks until operators are at us again with something that has this number and waits for long: they take turns for
    /// ever then, so that no two begin at one tip. It says nothing of challengers.
    pub(super) fn blocks_left(&self, number: u64, tip: u32) -> u32 {
        let (operators, blocks) = (u64::from(self.operators.max(1)), u64::from(self.blocks.max(1)));
        let at = |tip: u64| (number % operators + tip / blocks) % operators;
        let (ours, tip) = (u64::from(self.ours.unwrap_or_default()), u64::from(tip));
        let left = (0..operators * blocks).find(|left| at(tip + left) == ours);
        left.unwrap_or_default() as u32
    }

    /// Gives the blocks of a round, in which each operator has a turn.
    pub(super) const fn round(&self) -> u32 {
        self.operators.saturating_mul(self.blocks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// At each block it is one operator's turn, and everybody's comes.
        #[test]
        fn one_at_a_time(operators in 1..8_u32, blocks in 1..9_u32, number: u64, tip in 0..1_000_000_u32) {
            let turns = |ours| Turns { operators, ours: Some(ours), blocks };
            let left: Vec<u32> = (0..operators).map(|ours| turns(ours).blocks_left(number, tip)).collect();
            prop_assert_eq!(left.iter().filter(|left| **left == 0).count(), 1);
            prop_assert!(left.iter().all(|left| *left < turns(0).round()));
            for (ours, left) in (0..).zip(left) {
                prop_assert_eq!(turns(ours).blocks_left(number, tip + left), 0);
            }
        }
    }
}
