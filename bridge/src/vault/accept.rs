//! Which deposits members accept.

use bitcoin::{Amount, OutPoint, Transaction, Txid};

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
    let terms = vault.terms();
    let is_due = |deposit: &OpenDeposit| {
        tip + 1 >= deposit.height + confirmations && tip <= terms.accept_until(deposit.height)
    };
    let open = vault.open_deposits();
    // Their order is the same for all members, so they ask for the same first.
    let mut open: Vec<(OutPoint, &OpenDeposit)> =
        open.map(|(outpoint, deposit)| (*outpoint, deposit)).collect();
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

/// Gives those of some transactions that spend a deposit whose refund the next block may hold.
pub(super) fn late_accepts<'t>(
    vault: &VaultState,
    transactions: impl Iterator<Item = &'t Transaction>,
    tip: u32,
) -> Vec<Txid> {
    let terms = vault.terms();
    let is_late = |transaction: &&Transaction| {
        let mut inputs = transaction.input.iter();
        inputs.any(|input| {
            let deposit = vault.deposit(&input.previous_output);
            deposit.is_some_and(|deposit| tip + 1 >= terms.refund_height(deposit.height))
        })
    };
    transactions
        .filter(is_late)
        .map(Transaction::compute_txid)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, outpoint, spending};
    use super::*;

    const DEPTH: u32 = 6;

    fn due(world: &Fixture, max: Option<u64>, tip: u32) -> Vec<OutPoint> {
        let params = VaultParams {
            max_vault_sats: max,
            ..VaultParams::default()
        };
        let due = due_accepts(&world.vault, &params, &world.store, (tip, DEPTH)).unwrap();
        due.into_iter().map(|(outpoint, _)| outpoint).collect()
    }

    #[test]
    fn deposits_are_due_when_they_are_deep_and_early() {
        let mut world = Fixture::new(vec![]);
        let deposit = world.deposit(1, 50_000, 10);
        for (tip, is_due) in [(14, false), (15, true), (110, true), (111, false)] {
            for max in [None, Some(50_000)] {
                assert_eq!(due(&world, max, tip).contains(&deposit), is_due, "{tip} {max:?}");
            }
        }
        world.accept(deposit, 50_000, 16);
        assert_eq!(due(&world, None, 20), []);
    }

    #[test]
    fn an_accept_is_late_when_the_next_block_may_hold_the_refund() {
        let mut world = Fixture::new(vec![]);
        let accept = spending(world.deposit(1, 50_000, 10), vec![]);
        let other = spending(outpoint(9, 0), vec![]);
        let late = |tip| late_accepts(&world.vault, [&accept, &other].into_iter(), tip);
        assert_eq!(late(208), []);
        assert_eq!(late(209), [accept.compute_txid()]);
    }

    #[test]
    fn the_vault_is_filled_in_the_order_of_the_chain() {
        let mut world = Fixture::new(vec![]);
        let first = world.deposit(1, 50_000, 10);
        let large = world.deposit(2, 60_000, 11);
        let last = world.deposit(3, 40_000, 12);
        let max = Some(100_000);
        assert_eq!(due(&world, None, 20), [first, large, last]);
        // What does not fit lets others by.
        assert_eq!(due(&world, max, 20), [first, last]);
        assert_eq!(due(&world, Some(89_999), 20), [first]);
        assert_eq!(due(&world, Some(110_000), 20), [first, large]);
        // An output takes as much room as its deposit did, until it is spent.
        world.accept(first, 50_000, 20);
        assert_eq!(due(&world, max, 21), [last]);
    }

    #[test]
    fn an_accept_that_may_be_signed_takes_its_room() {
        let mut world = Fixture::new(vec![]);
        let first = world.deposit(1, 50_000, 10);
        let second = world.deposit(2, 60_000, 40);
        let max = Some(100_000);
        assert_eq!(due(&world, max, 45), [first]);
        // Asked for the second one before, say in another view of the chain: then the first one waits.
        assert_eq!(world.store.pledge(&[second], Pledge::Accept, 10).unwrap(), None);
        assert_eq!(due(&world, max, 45), [second]);
        assert_eq!(world.store.pledge(&[first], Pledge::Accept, 10).unwrap(), None);
        assert_eq!(due(&world, max, 45), [first, second]);
        // Later nobody asks for it any more, but it may be on its way until the deposit is spent.
        let third = world.deposit(3, 50_000, 120);
        assert_eq!(due(&world, max, 125), [second]);
        assert_eq!(due(&world, Some(110_000), 160), []);
        assert_eq!(due(&world, Some(160_000), 160), [third]);
    }
}
