//! Which deposits members accept.

use bitcoin::{Amount, OutPoint};

use super::state::{OpenDeposit, VaultState};
use crate::daemon::{DaemonStore, DaemonStoreError, Pledge};
use crate::params::VaultParams;

/// Gives the deposits that are accepted now, in the order of the chain: deep enough, early enough, and with room in the vault.
///
/// # Errors
/// Where the file fails.
pub fn due_accepts<'v>(
    vault: &'v VaultState,
    params: &VaultParams,
    store: &DaemonStore,
    (tip, confirmations): (u32, u32),
) -> Result<Vec<(OutPoint, &'v OpenDeposit)>, DaemonStoreError> {
    let window = vault.terms().deposit_window;
    let is_due = |deposit: &OpenDeposit| {
        tip + 1 >= deposit.height + confirmations
            // One that is confirmed too late mints nothing: it is not signed when that might happen.
            && tip <= deposit.height + window / 2
    };
    let mut open: Vec<(OutPoint, &OpenDeposit)> = vault
        .deposits()
        .filter(|(_, deposit)| deposit.spent.is_none() && tip <= deposit.height + window)
        .map(|(outpoint, deposit)| (*outpoint, deposit))
        .collect();
    // So that members ask for the same first.
    open.sort_by_key(|(outpoint, deposit)| (deposit.height, *outpoint));
    let Some(max) = params.max_vault_sats.map(Amount::from_sat) else {
        open.retain(|(_, deposit)| is_due(deposit));
        return Ok(open);
    };
    let mut held = vault.held();
    let (mut due, mut waiting) = (Vec::new(), Vec::new());
    for (outpoint, deposit) in open {
        // Its accept may be signed, by others too: it counts, whether it comes or not.
        if store.pledged(&outpoint)? == Some(Pledge::Accept) {
            held += deposit.output.value;
            due.extend(is_due(deposit).then_some((outpoint, deposit)));
        } else if is_due(deposit) {
            waiting.push((outpoint, deposit));
        }
    }
    for (outpoint, deposit) in waiting {
        let with = held + deposit.output.value;
        if with <= max {
            held = with;
            due.push((outpoint, deposit));
        } else {
            tracing::debug!(%outpoint, %with, %max, "a deposit waits for room in the vault");
        }
    }
    due.sort_by_key(|(outpoint, deposit)| (deposit.height, *outpoint));
    Ok(due)
}
