//! When an operator can redeem credit: nothing of it may be on its way elsewhere.

use bitcoin::OutPoint;

use super::operator::PATIENCE;
use super::state::{Assigned, Spend, VaultState};
use crate::daemon::{DaemonStore, DaemonStoreError, Pledge};
use crate::user::UserError;

/// Gives an output with which credit is being redeemed: by a transaction that is not confirmed, or not so long that the chain
/// has counted it for sure.
///
/// # Errors
/// Where the daemon's file fails.
pub fn redemption_under_way(
    vault: &VaultState,
    store: &DaemonStore,
    tip: u32,
) -> Result<Option<OutPoint>, DaemonStoreError> {
    let pledged = store.all_pledged(Pledge::Redemption)?;
    let is_under_way = |outpoint: &OutPoint| {
        let spend = vault.redeemed(outpoint);
        spend.is_none_or(|spend| tip < spend.height + PATIENCE)
    };
    Ok(pledged.into_iter().find(is_under_way))
}

/// Whether the chain has counted an assignment on Bitcoin, as far as can be told.
pub(super) fn is_counted(ticket: &OutPoint, spend: &Spend, counted: &[OutPoint], tip: u32) -> bool {
    counted.contains(ticket) || tip >= spend.height + PATIENCE
}

/// Checks that credit can be redeemed: there is some, and no assignment of it is on its way, which would find none and cost its
/// ticket. `slots` are the operator's, with their tickets, `counted` the tickets that the chain has outputs assigned to.
///
/// # Errors
/// [`UserError::Refused`] names the rule.
pub fn verify_redeemable(
    (vault, tip): (&VaultState, u32),
    credit_sats: u64,
    slots: &[(usize, OutPoint)],
    counted: &[OutPoint],
) -> Result<(), UserError> {
    if credit_sats == 0 {
        return Err(UserError::refused("credit", "at least 1 sat", "0 sats"));
    }
    for (slot, ticket) in slots {
        let Some(Assigned {
            output: Some(output),
            spend,
        }) = vault.assigned(*slot)
        else {
            continue;
        };
        let is_there = vault.output(&output).is_some_and(|output| output.spent.is_none());
        if is_there && !is_counted(ticket, &spend, counted, tip) {
            let rule = "all on Bitcoin counted by the chain, or 144 blocks old";
            let got = format!("slot {slot}'s in block {}, not counted", spend.height);
            return Err(UserError::refused("assignments", rule, got));
        }
    }
    Ok(())
}
