//! A state in memory: for the genesis block, tests and benches.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use core::convert::Infallible;

use super::{
    Account, EMPTY, Node, NodePath, NodeReader, RowError, RowKey, RowNodes, RowReader, StateChanges,
    StateReader, UpdateError, update_rows,
};

/// The account's code is not in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("code {code_hash} is not in the state")]
pub struct MissingCode {
    /// keccak256 of the code.
    pub code_hash: B256,
}

/// A state and its tree, both in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState {
    accounts: BTreeMap<Address, Account>,
    storage: BTreeMap<(Address, U256), U256>,
    /// By hash. Kept when the last account with it goes: the way back needs it.
    codes: BTreeMap<B256, Bytes>,
    rows: BTreeMap<RowKey, Vec<u8>>,
    root: B256,
}

impl MemoryState {
    /// Makes the empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> B256 {
        self.root
    }

    /// Lists the accounts by address.
    pub fn accounts(&self) -> impl Iterator<Item = (&Address, &Account)> {
        self.accounts.iter()
    }

    /// Lists the slots that are not zero.
    pub fn slots(&self) -> impl Iterator<Item = (Address, U256, U256)> {
        self.storage
            .iter()
            .map(|((address, slot), value)| (*address, *slot, *value))
    }

    /// Lists the rows of the tree by key.
    pub fn rows(&self) -> impl Iterator<Item = (&RowKey, &[u8])> {
        self.rows.iter().map(|(key, row)| (key, row.as_slice()))
    }

    /// Applies a block's net changes. Gives the new root.
    ///
    /// # Errors
    /// Those of [`super::update`]; the state is unchanged then.
    pub fn apply(&mut self, changes: &StateChanges) -> Result<B256, UpdateError<RowError<Infallible>>> {
        let update = update_rows(self.root, changes, self)?;
        for (key, row) in update.rows {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        for (address, change) in &changes.accounts {
            match change.after {
                Some(account) => self.accounts.insert(*address, account),
                None => self.accounts.remove(address),
            };
            if let (Some(code), Some(account)) = (&change.code, change.after) {
                self.codes.insert(account.code_hash, code.clone());
            }
            for (slot, (_, value)) in &change.storage {
                match *value == U256::ZERO {
                    true => self.storage.remove(&(*address, *slot)),
                    false => self.storage.insert((*address, *slot), *value),
                };
            }
        }
        self.root = update.root;
        Ok(self.root)
    }
}

impl StateReader for MemoryState {
    type Error = MissingCode;

    fn account(&self, address: Address) -> Result<Option<Account>, MissingCode> {
        Ok(self.accounts.get(&address).copied())
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, MissingCode> {
        Ok(self.storage.get(&(address, slot)).copied().unwrap_or_default())
    }

    fn code(&self, _address: Address, code_hash: B256) -> Result<Bytes, MissingCode> {
        match self.codes.get(&code_hash) {
            Some(code) => Ok(code.clone()),
            None if code_hash == KECCAK256_EMPTY || code_hash == EMPTY => Ok(Bytes::new()),
            None => Err(MissingCode { code_hash }),
        }
    }
}

impl RowReader for MemoryState {
    type Error = Infallible;

    fn row(&self, key: &RowKey) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.rows.get(key).cloned())
    }
}

impl NodeReader for MemoryState {
    type Error = RowError<Infallible>;

    fn node(&self, path: &NodePath, hash: &B256) -> Result<Node, Self::Error> {
        RowNodes::new(self).node(path, hash)
    }
}
