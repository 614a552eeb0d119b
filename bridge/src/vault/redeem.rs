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

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    use bitsect_vm::derive::redemption_script;

    use super::super::fixture::{Fixture, outpoint, spending, tag};
    use super::*;

    const TICKET: u8 = 0x70;

    #[test]
    fn a_redemption_is_under_way_until_it_is_counted_for_sure() {
        let mut world = Fixture::new(vec![None, Some(outpoint(TICKET, 1))]);
        let (ours, other) = (outpoint(TICKET, 2), outpoint(TICKET + 1, 2));
        let under_way = |world: &Fixture, tip| redemption_under_way(&world.vault, &world.store, tip).unwrap();
        assert_eq!(under_way(&world, 20), None);
        world.store.pledge(&[ours], Pledge::Redemption).unwrap();
        assert_eq!(under_way(&world, 1_000), Some(ours));
        let redeems = tag(redemption_script(Address::repeat_byte(5)));
        // Another's, and one without the tag, are none.
        assert!(!world.vault.apply(&spending(other, vec![redeems.clone()]), 20));
        let near = tag([&redemption_script(Address::ZERO)[..], &[0]].concat());
        assert!(!world.vault.apply(&spending(ours, vec![near]), 20));
        assert!(world.vault.apply(&spending(ours, vec![redeems]), 20));
        assert_eq!(world.vault.redeemed(&ours).unwrap().height, 20);
        assert_eq!(under_way(&world, 163), Some(ours));
        assert_eq!(under_way(&world, 164), None);
        world.vault = world.vault.restarted();
        assert_eq!(under_way(&world, 164), Some(ours));
    }

    #[test]
    fn credit_is_not_redeemed_before_assignments_are_counted() {
        let ticket = outpoint(TICKET, 1);
        let mut world = Fixture::new(vec![Some(ticket)]);
        let deposit = world.deposit(1, 50_000, 10);
        let output = world.accept(deposit, 50_000, 12);
        let refused = |world: &Fixture, credit, counted: &[OutPoint], tip| {
            let verified = verify_redeemable((&world.vault, tip), credit, &[(0, ticket)], counted);
            verified.err().map(|error| error.to_string())
        };
        assert_eq!(refused(&world, 1, &[], 20), None);
        let none = "credit: expected at least 1 sat, got 0 sats".to_owned();
        assert_eq!(refused(&world, 0, &[], 20), Some(none));
        world.assign(ticket, output, 20);
        let waits = "assignments: expected all on Bitcoin counted by the chain, or 144 blocks old, got slot 0's \
                     in block 20, not counted";
        assert_eq!(refused(&world, 1, &[], 163).as_deref(), Some(waits));
        assert_eq!(refused(&world, 1, &[], 164), None);
        assert_eq!(refused(&world, 1, &[ticket], 21), None);
        // Taken: then it was counted.
        assert!(world.vault.apply(&spending(output, vec![]), 30));
        assert_eq!(refused(&world, 1, &[], 31), None);
    }
}
