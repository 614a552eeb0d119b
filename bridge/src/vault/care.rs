//! Which vault outputs are split, and which are merged: each member derives it from Bitcoin alone.

use std::collections::BTreeSet;

use bitcoin::{Amount, OutPoint};
use bitsect_vm::derive::MAX_VAULT_OUTPUTS;

use super::state::{VaultOutput, VaultState};
use crate::daemon::{DaemonStore, DaemonStoreError, Pledge};
use crate::params::{MERGED_OUTPUTS, VaultParams};

/// Blocks for which operators leave outputs alone that are to be moved: without them members would race, and with a member
/// that is gone for good the outputs must be of use nevertheless.
pub const CARE_BLOCKS: u32 = 36;

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
    pub fn is_reserved(&self, tip: u32) -> bool {
        tip < self.since() + CARE_BLOCKS
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
    /// Outputs that can be assigned now.
    pub assignable: Vec<(OutPoint, Amount)>,
    /// Amounts that can be assigned now or once the moves are done.
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

/// Gives what of the vault an operator may have assigned: nothing whose move it may have signed, and nothing that is about to
/// be moved.
///
/// # Errors
/// Where the file fails.
pub fn usable(
    vault: &VaultState,
    params: &VaultParams,
    store: &DaemonStore,
    tip: u32,
) -> Result<Usable, DaemonStoreError> {
    let moves = moves_of(vault, params, store)?;
    let reserved: Vec<&VaultMove> = moves.iter().filter(|one| one.is_reserved(tip)).collect();
    let inputs = reserved.iter().flat_map(|one| &one.inputs);
    let inputs: BTreeSet<OutPoint> = inputs.map(|(outpoint, _)| *outpoint).collect();
    let mut usable = Usable::default();
    for (outpoint, output) in vault.free() {
        let is_usable = !inputs.contains(outpoint) && store.pledged(outpoint)? != Some(Pledge::Move);
        if is_usable {
            usable.assignable.push((*outpoint, output.amount));
        }
    }
    let now = usable.assignable.iter().map(|(_, amount)| *amount);
    let later = reserved.iter().flat_map(|one| one.outputs.iter().copied());
    usable.amounts = now.chain(later).collect();
    Ok(usable)
}

#[cfg(test)]
mod tests {
    use bitcoin::Txid;
    use bitcoin::hashes::Hash;
    use proptest::prelude::*;

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
        assert!(moves[0].is_reserved(53) && !moves[0].is_reserved(54));
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
                prop_assert!(one.inputs.len() > 1 || one.outputs.iter().all(|part| part.to_sat() > 4_000));
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
