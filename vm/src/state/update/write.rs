//! The values that a block's changes write, by tree key.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, U256};

use super::super::hash::EMPTY;
use super::super::key::{Zone, chunk_place, slot_place, split_key, stem_input, tree_key, zone_stem};
use super::super::{
    Account, AccountChange, BASIC_DATA, CODE_HASH, Node, StateChanges, Stem, TreeKey, UpdateError,
    chunk_count, chunks, hash_nodes, pack_basic_data,
};

/// One value to write; zero removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) stem: Stem,
    pub(super) sub_index: u8,
    pub(super) value: B256,
}

/// Values whose stems are not hashed yet, so that the hashing is done many at a time.
#[derive(Default)]
struct Draft {
    inputs: Vec<Node>,
    values: Vec<(usize, Zone, u8, B256)>,
}

impl Draft {
    fn put(&mut self, address: Address, (zone, group, sub_index): (Zone, U256, u8), value: B256) {
        let input = stem_input(address, group);
        if self.inputs.last() != Some(&input) {
            self.inputs.push(input);
        }
        self.values
            .push((self.inputs.len().saturating_sub(1), zone, sub_index, value));
    }

    /// Gives the writes in the order of their keys.
    fn finish(self) -> Vec<Write> {
        let digests = hash_nodes(&self.inputs);
        let mut keyed: Vec<(TreeKey, B256)> = self
            .values
            .into_iter()
            .filter_map(|(input, zone, sub_index, value)| {
                Some((tree_key(&zone_stem(zone, digests.get(input)?), sub_index), value))
            })
            .collect();
        keyed.sort_unstable_by_key(|(key, _)| *key);
        let write = |(key, value)| {
            let (stem, sub_index) = split_key(&key);
            Write {
                stem,
                sub_index,
                value,
            }
        };
        keyed.into_iter().map(write).collect()
    }
}

/// Lists what the changes write, in the order of the keys, each key once.
pub(super) fn writes<E>(changes: &StateChanges) -> Result<Vec<Write>, UpdateError<E>> {
    let mut draft = Draft::default();
    for (address, change) in &changes.accounts {
        if change.before != change.after {
            write_header(&mut draft, *address, change.after.as_ref())?;
            write_code(&mut draft, *address, change)?;
        }
        for (slot, (_, value)) in &change.storage {
            draft.put(*address, slot_place(*slot), B256::from(*value));
        }
    }
    Ok(draft.finish())
}

fn write_header<E>(
    draft: &mut Draft,
    address: Address,
    after: Option<&Account>,
) -> Result<(), UpdateError<E>> {
    let (basic_data, code_hash) = match after {
        None => (EMPTY, EMPTY),
        Some(account) => {
            let balance = account.balance;
            let packed = pack_basic_data(account).ok_or(UpdateError::BalanceTooLarge { address, balance })?;
            (packed, account.code_hash)
        }
    };
    draft.put(address, (Zone::Header, U256::ZERO, BASIC_DATA), basic_data);
    draft.put(address, (Zone::Header, U256::ZERO, CODE_HASH), code_hash);
    Ok(())
}

fn write_code<E>(draft: &mut Draft, address: Address, change: &AccountChange) -> Result<(), UpdateError<E>> {
    let hash_of = |account: &Option<Account>| account.filter(|a| a.code_size != 0).map(|a| a.code_hash);
    let size_of = |account: &Option<Account>| account.map_or(0, |a| a.code_size);
    let (before, after) = (size_of(&change.before), size_of(&change.after));
    if hash_of(&change.before) == hash_of(&change.after) {
        return Ok(());
    }
    let code = match (&change.code, hash_of(&change.after)) {
        (_, None) => &[],
        (Some(code), Some(_)) => code.as_ref(),
        (None, Some(code_hash)) => return Err(UpdateError::CodeMissing { address, code_hash }),
    };
    if u32::try_from(code.len()) != Ok(after) {
        return Err(UpdateError::CodeSize {
            address,
            expected: after,
            got: code.len(),
        });
    }
    for (number, chunk) in (0u32..).zip(chunks(code)) {
        draft.put(address, chunk_place(number), chunk);
    }
    for number in chunk_count(after)..chunk_count(before) {
        draft.put(address, chunk_place(number), EMPTY);
    }
    Ok(())
}
