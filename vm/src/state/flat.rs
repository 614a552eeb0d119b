//! Accounts, slots and code in memory, without a tree.

use alloy_primitives::map::{AddressMap, B256Map, HashMap};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};

use super::{Account, EMPTY, StateChanges, StateReader};

/// The account's code is not in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("code {code_hash} is not in the state")]
pub struct MissingCode {
    /// keccak256 of the code.
    pub code_hash: B256,
}

/// A state in memory that nothing proves: also one that the tree cannot hold, as Ethereum's tests have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlatState {
    accounts: AddressMap<Account>,
    storage: AddressMap<HashMap<U256, U256>>,
    /// By hash. Kept when the last account with it goes: the way back needs it.
    codes: B256Map<Bytes>,
}

impl FlatState {
    /// Makes the state that `changes` make of an empty one.
    pub fn new(changes: &StateChanges) -> Self {
        let mut state = Self::default();
        state.apply(changes);
        state
    }

    /// Applies a block's net changes.
    pub fn apply(&mut self, changes: &StateChanges) {
        for (address, change) in &changes.accounts {
            match change.after {
                Some(account) => {
                    self.accounts.insert(*address, account);
                    if let Some(code) = &change.code {
                        self.codes.insert(account.code_hash, code.clone());
                    }
                }
                None => {
                    self.accounts.remove(address);
                }
            }
            for (slot, (_, after)) in &change.storage {
                self.set_storage(*address, *slot, *after);
            }
        }
    }

    /// Sets an account and its code.
    pub fn set_account(&mut self, address: Address, account: Account, code: Bytes) {
        self.codes.insert(account.code_hash, code);
        self.accounts.insert(address, account);
    }

    /// Sets a slot; zero removes it.
    pub fn set_storage(&mut self, address: Address, slot: U256, value: U256) {
        let slots = self.storage.entry(address).or_default();
        if value.is_zero() {
            slots.remove(&slot);
        } else {
            slots.insert(slot, value);
        }
        if slots.is_empty() {
            self.storage.remove(&address);
        }
    }

    /// Lists the accounts, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = (&Address, &Account)> {
        self.accounts.iter()
    }

    /// Lists the slots that are not zero, in no order.
    pub fn slots(&self) -> impl Iterator<Item = (Address, U256, U256)> {
        self.storage
            .iter()
            .flat_map(|(address, slots)| slots.iter().map(|(slot, value)| (*address, *slot, *value)))
    }
}

impl StateReader for FlatState {
    type Error = MissingCode;

    fn account(&self, address: Address) -> Result<Option<Account>, MissingCode> {
        Ok(self.accounts.get(&address).copied())
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, MissingCode> {
        let slots = self.storage.get(&address);
        Ok(slots
            .and_then(|slots| slots.get(&slot))
            .copied()
            .unwrap_or_default())
    }

    fn code(&self, _address: Address, code_hash: B256) -> Result<Bytes, MissingCode> {
        match self.codes.get(&code_hash) {
            Some(code) => Ok(code.clone()),
            None if code_hash == KECCAK256_EMPTY || code_hash == EMPTY => Ok(Bytes::new()),
            None => Err(MissingCode { code_hash }),
        }
    }
}
