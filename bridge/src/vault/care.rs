//! Which vault outputs are split, and which are merged: each member derives it from Bitcoin alone.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use bitcoin::{Amount, OutPoint, Transaction};
use bitsect_vm::derive::{MAX_VAULT_OUTPUTS, assignment_script};

use super::state::{VaultOutput, VaultState};
use crate::chain::Counted;
use crate::convert::chain_outpoint;
use crate::daemon::{Core, DaemonStore, DaemonStoreError, Pledge};
use crate::params::{MERGED_OUTPUTS, VaultParams};

/// Blocks, from where a move can be asked for, for which operators leave its inputs alone: without them members would race, and
/// with a member that is gone for good the outputs must be of use nevertheless.
pub const CARE_BLOCKS: u32 = 30;

/// Blocks, from where it has asked for a move, after which an operator uses an input although it may have signed that: a member
/// that is gone locks nothing for good. Where the move comes after all, the chain gives the credit back, and a ticket is lost.
pub const ABANDONED_BLOCKS: u32 = 144;

/// Vault outputs that become others of the same sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultMove {
    /// What is spent, in the order of the chain.
    pub inputs: Vec<(OutPoint, VaultOutput)>,
    /// What is made.
    pub outputs: Vec<Amount>,
}

impl VaultMove {
    /// Gives the L1 block of the newest input.
    pub fn since(&self) -> u32 {
        self.inputs
            .iter()
            .map(|(_, output)| output.height)
            .max()
            .unwrap_or(0)
    }

    /// Whether all inputs have so many confirmations.
    pub fn is_deep(&self, tip: u32, confirmations: u32) -> bool {
        tip + 1 >= self.since() + confirmations
    }

    /// Whether operators leave the inputs alone.
    pub fn is_reserved(&self, tip: u32, confirmations: u32) -> bool {
        tip < self.since() + confirmations + CARE_BLOCKS
    }

    /// Says what it does.
    pub fn name(&self) -> String {
        let first = self.inputs.first().map(|(outpoint, _)| outpoint.to_string());
        let first = first.unwrap_or_default();
        match self.inputs.len() {
            1 => format!("split of {first}"),
            _ => format!("merge from {first} on"),
        }
    }
}

/// Gives the moves that are due of outputs that nobody was assigned, in any order: a split depends on its output alone, and the
/// one merge on those that are small.
pub fn due_moves(
    params: &VaultParams,
    free: impl IntoIterator<Item = (OutPoint, VaultOutput)>,
) -> Vec<VaultMove> {
    let mut free: Vec<(OutPoint, VaultOutput)> = free.into_iter().collect();
    free.sort_by_key(|(outpoint, output)| (output.height, *outpoint));
    let mut moves = Vec::new();
    if let Some(above) = params.split_above_sats.map(Amount::from_sat) {
        let large = free.iter().filter(|(_, output)| output.amount > above);
        moves.extend(large.map(|(outpoint, output)| VaultMove {
            inputs: vec![(*outpoint, *output)],
            outputs: split(output.amount, above),
        }));
    }
    if let Some(below) = params.merge_below_sats.map(Amount::from_sat) {
        let small = free.into_iter().filter(|(_, output)| output.amount < below);
        let inputs: Vec<(OutPoint, VaultOutput)> = small.take(MERGED_OUTPUTS).collect();
        if inputs.len() == MERGED_OUTPUTS {
            let sum = inputs.iter().map(|(_, output)| output.amount).sum();
            moves.push(VaultMove {
                inputs,
                outputs: vec![sum],
            });
        }
    }
    moves
}

/// Gives the parts of an amount: as few as are not above the limit, or as many as the chain takes, nearly equal.
fn split(amount: Amount, above: Amount) -> Vec<Amount> {
    let amount = amount.to_sat();
    let parts = amount.div_ceil(above.to_sat()).min(MAX_VAULT_OUTPUTS as u64);
    let (part, rest) = (amount / parts, amount % parts);
    (0..parts)
        .map(|number| Amount::from_sat(part + u64::from(number < rest)))
        .collect()
}

/// The vault as an operator may use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usable {
    /// Outputs that can be assigned now, in the order in which they are wanted: first those that are pledged to it, last those
    /// that are abandoned, of each the largest.
    pub assignable: Vec<(OutPoint, Amount)>,
    /// Those of them whose move may be signed and did not come.
    pub abandoned: BTreeSet<OutPoint>,
    /// Amounts that can be assigned now, once they are deep, or once the moves are done.
    pub amounts: Vec<Amount>,
}

/// Gives the moves of the vault as this member sees it: without outputs that it has had assigned.
///
/// # Errors
/// Where the file fails.
pub fn moves_of(
    vault: &VaultState,
    params: &VaultParams,
    store: &DaemonStore,
) -> Result<Vec<VaultMove>, DaemonStoreError> {
    if *params == VaultParams::default() {
        return Ok(vec![]);
    }
    let mut free = Vec::new();
    for (outpoint, output) in vault.free() {
        if store.pledged(outpoint)? != Some(Pledge::Assignment) {
            free.push((*outpoint, *output));
        }
    }
    Ok(due_moves(params, free))
}

/// Gives what of the vault an operator may have assigned: what is free, or was assigned in vain, and so deep that its assignment
/// comes behind it in any case; nothing that is about to be moved, and nothing whose move it may have signed, unless that was
/// abandoned.
///
/// # Errors
/// Where the file fails.
pub fn usable(
    vault: &VaultState,
    params: &VaultParams,
    store: &DaemonStore,
    (tip, confirmations, counted): (u32, u32, &Counted),
) -> Result<Usable, DaemonStoreError> {
    let moves = moves_of(vault, params, store)?;
    let reserved: Vec<&VaultMove> = moves
        .iter()
        .filter(|one| one.is_reserved(tip, confirmations))
        .collect();
    let inputs = reserved.iter().flat_map(|one| &one.inputs);
    let inputs: BTreeSet<OutPoint> = inputs.map(|(outpoint, _)| *outpoint).collect();
    let mut usable = Usable::default();
    let mut wanted = Vec::new();
    for (outpoint, output) in vault.free().chain(vault.refused(counted)) {
        let pledged = store.pledged_at(outpoint)?;
        // Any output of an operator's can stand for a ticket in the chain; Bitcoin alone does not show that.
        if inputs.contains(outpoint) || counted.assigned.contains(outpoint) {
            continue;
        }
        if let Some((Pledge::Move, height)) = pledged {
            if tip < height + ABANDONED_BLOCKS {
                continue;
            }
            usable.abandoned.insert(*outpoint);
        }
        usable.amounts.push(output.amount);
        if tip + 1 >= output.height + confirmations {
            let rank = match pledged {
                Some((Pledge::Assignment, _)) => 0,
                Some((Pledge::Move, _)) => 2,
                _ => 1,
            };
            wanted.push((rank, Reverse(output.amount), *outpoint));
        }
    }
    wanted.sort_unstable();
    let assignable = wanted.into_iter();
    usable.assignable = assignable
        .map(|(_, Reverse(amount), outpoint)| (outpoint, amount))
        .collect();
    let later = reserved.iter().flat_map(|one| one.outputs.iter().copied());
    usable.amounts.extend(later);
    Ok(usable)
}

/// Releases outputs that are pledged to an assignment that was never sent, because a crash came between: else no move takes them.
/// It is for the start: afterwards what is pledged is carried.
///
/// # Errors
/// Where the file fails; then nothing is released.
pub(super) fn release_never_assigned(core: &Core) -> Result<(), DaemonStoreError> {
    let Some(vault) = core.vault().filter(|_| core.wallet().is_some()) else {
        return Ok(());
    };
    let released = never_assigned(vault, core.store(), core.transactions())?;
    core.store().release(&released, Pledge::Assignment)
}

/// Gives the outputs that are pledged to an assignment, while none of `carried`, which is durable before anything is sent, names
/// them, nor was a ticket spent for them.
fn never_assigned<'t>(
    vault: &VaultState,
    store: &DaemonStore,
    carried: impl Iterator<Item = &'t Transaction>,
) -> Result<Vec<OutPoint>, DaemonStoreError> {
    let outputs = carried.flat_map(|transaction| &transaction.output);
    let scripts: BTreeSet<&[u8]> = outputs.map(|output| output.script_pubkey.as_bytes()).collect();
    let mut pledged = store.all_pledged(Pledge::Assignment)?;
    pledged.retain(|outpoint| {
        let tag = assignment_script(&chain_outpoint(outpoint));
        !vault.is_named(outpoint) && !scripts.contains(tag.as_slice())
    });
    Ok(pledged)
}

#[cfg(test)]
mod tests {
    use bitcoin::Txid;
    use bitcoin::hashes::Hash;
    use proptest::prelude::*;

    use super::super::fixture::{Fixture, outpoint, spending, tag};
    use super::*;

    const PARAMS: VaultParams = VaultParams {
        split_above_sats: Some(8_000),
        merge_below_sats: Some(1_000),
        max_vault_sats: None,
    };

    fn output(number: u8, sats: u64, height: u32) -> (OutPoint, VaultOutput) {
        let output = VaultOutput {
            amount: Amount::from_sat(sats),
            height,
            spent: None,
        };
        (OutPoint::new(Txid::from_byte_array([number; 32]), 0), output)
    }

    fn sats(amounts: &[Amount]) -> Vec<u64> {
        amounts.iter().map(|amount| amount.to_sat()).collect()
    }

    fn counted(origin: u32, free: &[OutPoint]) -> Counted {
        Counted {
            origin,
            free: free.iter().copied().collect(),
            ..Counted::default()
        }
    }

    #[test]
    fn an_output_that_was_assigned_in_vain_is_of_use_again() {
        let tickets = [1, 2].map(|vout| outpoint(0x70, vout));
        let mut world = Fixture::new(tickets.map(Some).to_vec());
        let deposit = world.deposit(1, 50_000, 10);
        let output = world.accept(deposit, 50_000, 12);
        let assignable = |world: &Fixture, counted: &Counted| {
            let (params, at) = (VaultParams::default(), (40, 6, counted));
            !usable(&world.vault, &params, &world.store, at)
                .unwrap()
                .assignable
                .is_empty()
        };
        assert!(assignable(&world, &Counted::default()));
        // Assigned to what is no ticket of a slot's.
        let elsewhere = Counted {
            assigned: [output].into(),
            ..Counted::default()
        };
        assert!(!assignable(&world, &elsewhere));
        world.assign(tickets[0], output, 20);
        // The chain has not come there, or has assigned it.
        assert!(!assignable(&world, &counted(19, &[output])));
        assert!(!assignable(&world, &counted(20, &[])));
        assert!(assignable(&world, &counted(20, &[output])));
        // All tickets are to be counted.
        world.assign(tickets[1], output, 30);
        assert!(!assignable(&world, &counted(29, &[output])));
        assert!(assignable(&world, &counted(30, &[output])));
        assert_eq!(world.vault.named().count(), 1);
        assert!(world.vault.apply(&spending(output, vec![]), 31));
        assert!(!assignable(&world, &counted(31, &[output])));
        assert_eq!(world.vault.named().count(), 0);
    }

    #[test]
    fn outputs_are_assigned_when_they_are_deep_and_pledged_ones_first() {
        let mut world = Fixture::new(vec![]);
        let mut outputs = Vec::new();
        for (number, sats) in (1..).zip([50_000, 90_000, 70_000]) {
            let deposit = world.deposit(number, sats, 10);
            outputs.push(world.accept(deposit, sats, 20 + u32::from(number)));
        }
        let assignable = |world: &Fixture, tip| {
            let (params, counted) = (VaultParams::default(), Counted::default());
            let usable = usable(&world.vault, &params, &world.store, (tip, 6, &counted)).unwrap();
            assert_eq!(usable.amounts.len(), 3);
            let assignable = usable.assignable.into_iter();
            assignable.map(|(outpoint, _)| outpoint).collect::<Vec<_>>()
        };
        assert_eq!(assignable(&world, 25), []);
        assert_eq!(assignable(&world, 26), [outputs[0]]);
        assert_eq!(assignable(&world, 28), [outputs[1], outputs[2], outputs[0]]);
        world.store.pledge(&outputs[..1], Pledge::Assignment, 50).unwrap();
        assert_eq!(assignable(&world, 28), [outputs[0], outputs[1], outputs[2]]);
    }

    #[test]
    fn an_output_whose_move_does_not_come_is_of_use_again() {
        let mut world = Fixture::new(vec![]);
        let [large, free] = [(1, 90_000, 20), (2, 50_000, 40)].map(|(number, sats, height)| {
            let deposit = world.deposit(number, sats, height - 5);
            world.accept(deposit, sats, height)
        });
        world.store.pledge(&[large], Pledge::Move, 50).unwrap();
        let split = VaultParams {
            split_above_sats: Some(80_000),
            ..VaultParams::default()
        };
        // Where it is still to be split, and where something else has made that needless.
        for params in [split, VaultParams::default()] {
            let at =
                |tip| usable(&world.vault, &params, &world.store, (tip, 6, &Counted::default())).unwrap();
            let early = at(50 + ABANDONED_BLOCKS - 1);
            assert_eq!(early.assignable, [(free, Amount::from_sat(50_000))]);
            assert_eq!(early.abandoned, BTreeSet::new());
            let late = at(50 + ABANDONED_BLOCKS);
            let outpoints = late.assignable.iter().map(|(outpoint, _)| *outpoint);
            assert_eq!(outpoints.collect::<Vec<_>>(), [free, large]);
            assert_eq!(late.abandoned, BTreeSet::from([large]));
        }
    }

    #[test]
    fn pledges_of_assignments_that_never_were_are_found() {
        let ticket = outpoint(0x70, 1);
        let mut world = Fixture::new(vec![Some(ticket)]);
        let mut outputs = Vec::new();
        for number in 1..=4 {
            let deposit = world.deposit(number, 50_000, 10);
            outputs.push(world.accept(deposit, 50_000, 12));
        }
        world.store.pledge(&outputs[..3], Pledge::Assignment, 50).unwrap();
        world.store.pledge(&outputs[3..], Pledge::Move, 50).unwrap();
        world.assign(ticket, outputs[0], 20);
        let names = tag(assignment_script(&chain_outpoint(&outputs[1])));
        let job = spending(outpoint(0x70, 2), vec![names]);
        let found = never_assigned(&world.vault, &world.store, [&job].into_iter()).unwrap();
        assert_eq!(found, [outputs[2]]);
    }

    #[test]
    fn outputs_at_the_limits() {
        let parts = |amount| {
            let moves = due_moves(&PARAMS, [output(1, amount, 5)]);
            moves.first().map(|one| sats(&one.outputs))
        };
        assert_eq!(parts(8_000), None);
        assert_eq!(parts(8_001), Some(vec![4_001, 4_000]));
        assert_eq!(parts(16_000), Some(vec![8_000, 8_000]));
        assert_eq!(parts(16_001), Some(vec![5_334, 5_334, 5_333]));
        assert_eq!(
            parts(32 * 8_000 + 33).unwrap(),
            [&[8_002][..], &[8_001; 31]].concat()
        );
        let small: Vec<_> = (0..10)
            .map(|number| output(number, 999, 20 - u32::from(number)))
            .collect();
        assert_eq!(due_moves(&PARAMS, small[..7].to_vec()), []);
        let moves = due_moves(&PARAMS, small.clone());
        assert_eq!(moves.len(), 1);
        let oldest: Vec<_> = small.iter().rev().take(8).copied().collect();
        assert_eq!(
            (moves[0].inputs.clone(), sats(&moves[0].outputs)),
            (oldest, vec![8 * 999])
        );
        assert_eq!(moves[0].since(), 18);
        assert!(!moves[0].is_deep(22, 6) && moves[0].is_deep(23, 6));
        assert!(moves[0].is_reserved(53, 6) && !moves[0].is_reserved(54, 6));
        // One of the limit is not small.
        let mut even = small[..8].to_vec();
        even[3].1.amount = Amount::from_sat(1_000);
        assert_eq!(due_moves(&PARAMS, even), []);
        assert_eq!(due_moves(&VaultParams::default(), [output(1, u64::MAX, 5)]), []);
    }

    fn outputs() -> impl Strategy<Value = Vec<(OutPoint, VaultOutput)>> {
        let sats = prop_oneof![3 => 330_u64..1_200, 2 => 5_000_u64..40_000, 1 => 40_000_u64..3_000_000];
        prop::collection::vec((sats, 1_u32..50), 0..40).prop_map(|all| {
            let outputs = (0..).zip(all);
            outputs
                .map(|(number, (sats, height))| output(number, sats, height))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn moves_keep_the_sum_and_come_to_rest(
            (free, shuffled) in outputs().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            let moves = due_moves(&PARAMS, free.clone());
            prop_assert_eq!(&moves, &due_moves(&PARAMS, shuffled));
            let mut spent = BTreeSet::new();
            for one in &moves {
                let held: Amount = one.inputs.iter().map(|(_, output)| output.amount).sum();
                prop_assert_eq!(held, one.outputs.iter().copied().sum());
                prop_assert!((1..=MAX_VAULT_OUTPUTS).contains(&one.outputs.len()));
                prop_assert!(one.inputs.len() <= MAX_VAULT_OUTPUTS);
                prop_assert!(one.inputs.iter().all(|(outpoint, _)| spent.insert(*outpoint)));
                // No part is small, and where there are less than the most, none is large.
                prop_assert!(one.inputs.len() > 1 || one.outputs.iter().all(|part| part.to_sat() >= 4_000));
                let is_full = one.outputs.len() == MAX_VAULT_OUTPUTS;
                prop_assert!(is_full || one.outputs.iter().all(|part| part.to_sat() <= 8_000));
            }
            // Whatever there was, some moves later there is nothing to be done.
            let (mut left, mut number) = (free, 0_u32);
            for _ in 0..60 {
                let moves = due_moves(&PARAMS, left.clone());
                if moves.is_empty() {
                    break;
                }
                left.retain(|(outpoint, _)| !moves.iter().any(|one| one.inputs.iter().any(|(spent, _)| spent == outpoint)));
                for amount in moves.into_iter().flat_map(|one| one.outputs) {
                    number += 1;
                    let mut made = output(0xff, amount.to_sat(), 60);
                    made.0.vout = number;
                    left.push(made);
                }
            }
            prop_assert_eq!(due_moves(&PARAMS, left), vec![]);
        }
    }
}
