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
mod tests;
