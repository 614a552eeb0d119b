//! A state in memory: for tests, benchmarks and tools.

use core::convert::Infallible;

use alloy_primitives::map::{AddressMap, B256Map, HashMap};
use alloy_primitives::{Address, B256, Bytes, U256};

use crate::state::{Account, StateChanges, StateReader};

/// A state in memory. Nothing proves it.
#[derive(Clone, Debug, Default)]
pub struct MemoryState {
    accounts: AddressMap<Account>,
    storage: AddressMap<HashMap<U256, U256>>,
    code: B256Map<Bytes>,
}

impl MemoryState {
    /// Makes the state that `changes` make of an empty one.
    pub fn new(changes: &StateChanges) -> Self {
        let mut state = Self::default();
        state.apply(changes);
        state
    }

    /// Applies the changes of a block.
    pub fn apply(&mut self, changes: &StateChanges) {
        for (address, change) in &changes.accounts {
            match change.after {
                Some(account) => {
                    self.accounts.insert(*address, account);
                    if let Some(code) = &change.code {
                        self.code.insert(account.code_hash, code.clone());
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
        self.code.insert(account.code_hash, code);
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

    /// All accounts, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = (&Address, &Account)> {
        self.accounts.iter()
    }

    /// All slots that are not zero, in no order.
    pub fn slots(&self) -> impl Iterator<Item = (&Address, &U256, &U256)> {
        self.storage
            .iter()
            .flat_map(|(address, slots)| slots.iter().map(move |(slot, value)| (address, slot, value)))
    }
}

impl StateReader for MemoryState {
    type Error = Infallible;

    fn account(&self, address: Address) -> Result<Option<Account>, Infallible> {
        Ok(self.accounts.get(&address).copied())
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(self
            .storage
            .get(&address)
            .and_then(|slots| slots.get(&slot))
            .copied()
            .unwrap_or_default())
    }

    fn code(&self, _address: Address, code_hash: B256) -> Result<Bytes, Infallible> {
        Ok(self.code.get(&code_hash).cloned().unwrap_or_default())
    }
}
