//! A state and its tree in memory: for the genesis block, tests and benches.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes, U256};
use core::convert::Infallible;

use super::{
    Account, FlatState, MissingCode, Node, NodePath, NodeReader, RowError, RowKey, RowNodes, RowReader,
    StateChanges, StateReader, UpdateError, update_rows,
};

/// A state and its tree, both in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState {
    flat: FlatState,
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

    /// Returns the state without its tree.
    pub fn flat(&self) -> &FlatState {
        &self.flat
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
        self.flat.apply(changes);
        self.root = update.root;
        Ok(self.root)
    }
}

impl StateReader for MemoryState {
    type Error = MissingCode;

    fn account(&self, address: Address) -> Result<Option<Account>, MissingCode> {
        self.flat.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, MissingCode> {
        self.flat.storage(address, slot)
    }

    fn code(&self, address: Address, code_hash: B256) -> Result<Bytes, MissingCode> {
        self.flat.code(address, code_hash)
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
