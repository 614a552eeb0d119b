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
        let at = |tip| usable(&world.vault, &params, &world.store, (tip, 6, &Counted::default())).unwrap();
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
