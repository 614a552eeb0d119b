//! The net changes of a block, out of revm's journal.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use alloy_consensus::constants::KECCAK_EMPTY;
use alloy_primitives::{Address, U256};
use revm::state::{Account as RevmAccount, EvmState};

use crate::state::{Account, AccountChange, StateChanges};

use super::db::StateDb;
use super::error::Fault;

/// A slot that differs: account, slot, value before, value after.
type SlotChange = (Address, U256, U256, U256);

/// Compares what was read with what is there now. Only real differences are kept; accounts that were touched and are
/// empty are gone (EIP-161), and so are those that destroyed themselves.
pub(super) fn collect<S, E: core::error::Error>(
    mut db: StateDb<S>,
    state: &EvmState,
) -> Result<StateChanges, Fault<E>> {
    let mut slots = changed_slots(&db.slots, state);
    // Order, not uniqueness, is what sorting is for: the journal reads a slot only once.
    slots.sort_unstable_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut slots = slots.as_slice();

    db.accounts.sort_unstable_by_key(|(address, _)| *address);
    let mut changes: Vec<(Address, AccountChange)> = Vec::with_capacity(db.accounts.len());
    for (address, before) in db.accounts {
        let end = slots.partition_point(|slot| slot.0 <= address);
        let (own, rest) = slots.split_at_checked(end).unwrap_or((slots, &[]));
        slots = rest;
        let Some(account) = state.get(&address) else {
            continue;
        };
        let change = account_change(address, before, account, own)?;
        if change.before != change.after || !change.storage.is_empty() {
            changes.push((address, change));
        }
    }
    Ok(StateChanges {
        accounts: changes.into_iter().collect(),
    })
}

/// Finds the slots that differ, in no order.
fn changed_slots(reads: &[(Address, U256, U256)], state: &EvmState) -> Vec<SlotChange> {
    let mut changed = Vec::with_capacity(reads.len());
    // Slots that were read before their account was created: none as long as an account needs code to have storage.
    let mut early = BTreeSet::new();
    // Reads of one contract come in runs: keep the account found last.
    let mut last: Option<(Address, &RevmAccount, bool)> = None;
    for (address, slot, before) in reads {
        let found = match last {
            Some((same, account, gone)) if same == *address => Some((account, gone)),
            _ => state.get(address).map(|account| (account, is_gone(account))),
        };
        let Some((account, gone)) = found else { continue };
        last = Some((*address, account, gone));
        if account.is_created() {
            early.insert((*address, *slot));
        }
        let present = account
            .storage
            .get(slot)
            .map_or(U256::ZERO, |slot| slot.present_value);
        let after = if gone { U256::ZERO } else { present };
        if *before != after {
            changed.push((*address, *slot, *before, after));
        }
    }
    // A contract that this block created never asked the database: all of its slots are new.
    for (address, account) in state {
        if account.is_created() && !is_gone(account) {
            for (slot, value) in &account.storage {
                if !value.present_value.is_zero() && !early.contains(&(*address, *slot)) {
                    changed.push((*address, *slot, U256::ZERO, value.present_value));
                }
            }
        }
    }
    changed
}

/// Whether the account does not exist after the block.
fn is_gone(account: &RevmAccount) -> bool {
    // "Locally": in the last transaction that saw it. An earlier destruction was carried out when the account was
    // loaded again, so that what is there now was made after it.
    account.is_selfdestructed_locally() || (account.is_touched() && account.is_empty())
}

fn account_change<E: core::error::Error>(
    address: Address,
    before: Option<Account>,
    account: &RevmAccount,
    slots: &[SlotChange],
) -> Result<AccountChange, Fault<E>> {
    let storage: BTreeMap<U256, (U256, U256)> = slots
        .iter()
        .map(|(_, slot, before, after)| (*slot, (*before, *after)))
        .collect();
    if is_gone(account) {
        return Ok(AccountChange {
            before,
            after: None,
            code: None,
            storage,
        });
    }
    if !account.is_touched() {
        return Ok(AccountChange {
            before,
            after: before,
            code: None,
            storage,
        });
    }
    let info = &account.info;
    if u128::try_from(info.balance).is_err() {
        return Err(Fault::BalanceTooLarge {
            address,
            balance: info.balance,
        });
    }
    let old_hash = before.map_or(KECCAK_EMPTY, |account| account.code_hash);
    let code = if info.code_hash == old_hash {
        None
    } else {
        Some(
            info.code
                .as_ref()
                .map(|code| code.original_bytes())
                .unwrap_or_default(),
        )
    };
    let code_size = match &code {
        Some(code) => u32::try_from(code.len()).unwrap_or(u32::MAX),
        None => before.map_or(0, |account| account.code_size),
    };
    let after = Account {
        nonce: info.nonce,
        balance: info.balance,
        code_hash: info.code_hash,
        code_size,
    };
    Ok(AccountChange {
        before,
        after: Some(after),
        code,
        storage,
    })
}
