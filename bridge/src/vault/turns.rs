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
}
