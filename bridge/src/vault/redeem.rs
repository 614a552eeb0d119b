//! When an operator can redeem credit: nothing of it may be on its way elsewhere.

use bitcoin::{OutPoint, Transaction};
use bitsect_l1::rpc::{Client, RpcError, code};

use super::state::{Assigned, Spend, VaultState};
use crate::chain::Counted;
use crate::daemon::{Core, DaemonStore, DaemonStoreError, Pledge};
use crate::user::UserError;

/// Gives an output with which credit is being redeemed: by a transaction that is not confirmed, or not counted by the chain, of
/// whose final block `origin` is the L1 origin.
///
/// # Errors
/// Where the daemon's file fails.
pub fn redemption_under_way(
    vault: &VaultState,
    store: &DaemonStore,
    origin: u32,
) -> Result<Option<OutPoint>, DaemonStoreError> {
    let pledged = store.all_pledged(Pledge::Redemption)?;
    let is_under_way = |outpoint: &OutPoint| {
        let spend = vault.redeemed(outpoint);
        spend.is_none_or(|spend| spend.height > origin)
    };
    Ok(pledged.into_iter().find(is_under_way))
}

/// Sends a redemption again, where it is neither in a block nor in the mempool; tells whether it was not.
///
/// # Errors
/// Where Bitcoin Core fails, or does not take it.
pub async fn send_redemption(client: &Client, transaction: &Transaction) -> Result<bool, RpcError> {
    let txid = transaction.compute_txid();
    if client.get_mempool_entry(&txid).await?.is_some() {
        return Ok(false);
    }
    match client.send_raw_transaction(transaction).await {
        Ok(_) => Ok(true),
        Err(RpcError::Rpc { code, .. }) if code == code::ALREADY_IN_CHAIN => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends a redemption that is under way again, and says once at each tip that nothing is assigned for it. What Bitcoin Core does
/// not take stops nothing else.
///
/// # Errors
/// Where the daemon's file fails.
pub(super) async fn keep_redeeming(
    core: &Core,
    origin: u32,
    said: &mut Option<u32>,
) -> Result<(), DaemonStoreError> {
    let Some(vault) = core.vault() else {
        return Ok(());
    };
    let (store, tip) = (core.store(), core.tip());
    let Some(outpoint) = redemption_under_way(vault, store, origin)? else {
        return Ok(());
    };
    let confirmed = vault.redeemed(&outpoint).map(|spend| spend.height);
    if said.replace(tip) != Some(tip) {
        tracing::warn!(%outpoint, ?confirmed, "credit is being redeemed: nothing is assigned until it is counted");
    }
    let kept = store.redemption(&outpoint)?.filter(|_| confirmed.is_none());
    let Some(transaction) = kept else {
        return Ok(());
    };
    let txid = transaction.compute_txid();
    match send_redemption(core.client(), &transaction).await {
        Ok(true) => tracing::warn!(%txid, "the redemption was lost, and is sent again"),
        Ok(false) => {}
        // Where its coins are gone, `operator redeem` makes another one.
        Err(error) => tracing::warn!(%txid, %error, "the redemption cannot be sent again"),
    }
    Ok(())
}

/// Whether the chain has counted an assignment on Bitcoin: it has an output assigned to the ticket, or has refused it.
pub(super) fn is_counted(ticket: &OutPoint, spend: &Spend, counted: &Counted) -> bool {
    counted.tickets.contains(ticket) || spend.height <= counted.origin
}

/// Gives the tickets that Bitcoin does not show as spent: a transaction that spends another one is on its way no more.
pub fn unspent_tickets(vault: &VaultState, slots: &[(usize, OutPoint)]) -> Vec<OutPoint> {
    let unspent = slots.iter().filter(|(slot, _)| vault.assigned(*slot).is_none());
    unspent.map(|(_, ticket)| *ticket).collect()
}

/// Checks that credit can be redeemed: there is some, and no assignment of it is on its way, which would find none and cost its
/// ticket. `slots` are the operator's, with their tickets.
///
/// # Errors
/// [`UserError::Refused`] names the rule.
pub fn verify_redeemable(
    vault: &VaultState,
    credit_sats: u64,
    slots: &[(usize, OutPoint)],
    counted: &Counted,
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
        if is_there && !is_counted(ticket, &spend, counted) {
            let rule = "all on Bitcoin counted by the chain";
            let origin = counted.origin;
            let got = format!("slot {slot}'s in block {}, counted to {origin}", spend.height);
            return Err(UserError::refused("assignments", rule, got));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    use bitsect_vm::derive::redemption_script;

    use super::super::fixture::{Fixture, outpoint, spending, tag};
    use super::*;

    const TICKET: u8 = 0x70;

    #[test]
    fn a_redemption_is_under_way_until_it_is_counted() {
        let mut world = Fixture::new(vec![None, Some(outpoint(TICKET, 1))]);
        let (ours, other) = (outpoint(TICKET, 2), outpoint(TICKET + 1, 2));
        let under_way =
            |world: &Fixture, origin| redemption_under_way(&world.vault, &world.store, origin).unwrap();
        assert_eq!(under_way(&world, 20), None);
        world.store.pledge(&[ours], Pledge::Redemption, 10).unwrap();
        assert_eq!(under_way(&world, 1_000), Some(ours));
        let redeems = tag(redemption_script(Address::repeat_byte(5)));
        // Another's, and one without the tag, are none.
        assert!(!world.vault.apply(&spending(other, vec![redeems.clone()]), 20));
        let near = tag([&redemption_script(Address::ZERO)[..], &[0]].concat());
        assert!(!world.vault.apply(&spending(ours, vec![near]), 20));
        assert!(world.vault.apply(&spending(ours, vec![redeems]), 20));
        assert_eq!(world.vault.redeemed(&ours).unwrap().height, 20);
        assert_eq!(under_way(&world, 19), Some(ours));
        assert_eq!(under_way(&world, 20), None);
        world.vault = world.vault.restarted();
        assert_eq!(under_way(&world, 20), Some(ours));
    }

    #[test]
    fn credit_is_not_redeemed_before_assignments_are_counted() {
        let ticket = outpoint(TICKET, 1);
        let mut world = Fixture::new(vec![Some(ticket)]);
        let deposit = world.deposit(1, 50_000, 10);
        let output = world.accept(deposit, 50_000, 12);
        let refused = |world: &Fixture, credit, tickets: &[OutPoint], origin| {
            let counted = Counted {
                origin,
                tickets: tickets.iter().copied().collect(),
                ..Counted::default()
            };
            let verified = verify_redeemable(&world.vault, credit, &[(0, ticket)], &counted);
            verified.err().map(|error| error.to_string())
        };
        assert_eq!(refused(&world, 1, &[], 0), None);
        let none = "credit: expected at least 1 sat, got 0 sats".to_owned();
        assert_eq!(refused(&world, 0, &[], 0), Some(none));
        let slots = [(0, ticket), (1, outpoint(TICKET, 2))];
        assert_eq!(unspent_tickets(&world.vault, &slots), [slots[0].1, slots[1].1]);
        world.assign(ticket, output, 20);
        assert_eq!(unspent_tickets(&world.vault, &slots), [slots[1].1]);
        // However old it is: blocks of Bitcoin alone do not say that the chain has come there.
        let waits = "assignments: expected all on Bitcoin counted by the chain, got slot 0's in block 20, counted to 19";
        assert_eq!(refused(&world, 1, &[], 19).as_deref(), Some(waits));
        // Counted, and refused or held good.
        assert_eq!(refused(&world, 1, &[], 20), None);
        assert_eq!(refused(&world, 1, &[ticket], 19), None);
        // Taken, or moved before it was counted: a redemption comes behind both.
        assert!(world.vault.apply(&spending(output, vec![]), 30));
        assert_eq!(refused(&world, 1, &[], 19), None);
    }
}
