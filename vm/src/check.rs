//! The check: a claim's last unit, which asks a chain state whether a slot's ticket was spent for a vault output
//! (docs/bridge.md).

use alloy_primitives::B256;

use crate::chain::bridge::{OutputId, assigned_height, assignment_slot};
use crate::chain::predeploys::BRIDGE;
use crate::chain::{ChainParams, ChainState, hash_pair};
use crate::state::{NodeReader, StateReader, TreeError, TreeState};

/// What a check's advice begins with. A block's hash does not: finding one that does takes 2^64 times a block's work.
pub const CHECK_TAG: [u8; 8] = *b"bstcheck";

/// Why a check does not hold.
#[derive(Debug, thiserror::Error)]
pub enum CheckError<E: core::error::Error> {
    /// The ticket was spent for no vault output.
    #[error("ticket {0} has no assignment")]
    Unassigned(OutputId),
    /// Bitcoin might still take the assignment back.
    #[error("assignment: expected l1 block {expected}, {blocks} after it, got {got}")]
    Immature {
        /// The least height.
        expected: u32,
        /// The chain's `claim_maturity`.
        blocks: u32,
        /// The height of the last L1 block read.
        got: u32,
    },
    /// State cannot be read.
    #[error("state: {0}")]
    State(#[from] TreeError<E>),
}

/// Gives the advice of the check of a ticket: tag and name.
pub fn check_advice(ticket: &OutputId) -> B256 {
    let mut advice = B256::ZERO;
    let bytes = CHECK_TAG.iter().chain(ticket.iter());
    advice.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    advice
}

/// Gives the ticket that an advice asks for; `None` where it is no check's.
pub fn checked_ticket(advice: &B256) -> Option<OutputId> {
    let ticket = advice.strip_prefix(&CHECK_TAG)?;
    OutputId::try_from(ticket).ok()
}

/// Gives the state after a check that holds: no chain state has it, so that no unit follows.
pub fn checked_state(before: &B256, advice: &B256) -> B256 {
    hash_pair(before, advice)
}

/// Checks that a ticket was spent for a vault output, `claim_maturity` L1 blocks ago. `tree` is the state tree after the
/// chain's tip.
///
/// # Errors
/// Where it was not, or state cannot be read.
pub fn verify_assignment<N>(
    params: &ChainParams,
    chain: &ChainState,
    ticket: &OutputId,
    tree: &N,
) -> Result<(), CheckError<N::Error>>
where
    N: NodeReader,
{
    let state = TreeState::new(chain.tip.header.state_root, tree);
    let value = state.storage(BRIDGE, assignment_slot(ticket))?;
    let height = assigned_height(value).ok_or(CheckError::Unassigned(*ticket))?;
    let blocks = params.derive.claim_maturity;
    let (expected, got) = (height.saturating_add(blocks), chain.l1.height);
    if got < expected {
        return Err(CheckError::Immature {
            expected,
            blocks,
            got,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_its_ticket() {
        let ticket = OutputId::repeat_byte(7);
        assert_eq!(checked_ticket(&check_advice(&ticket)), Some(ticket));
        assert_eq!(checked_ticket(&B256::ZERO), None);
        assert_eq!(checked_ticket(&B256::repeat_byte(b'b')), None);
    }
}
