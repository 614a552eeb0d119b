//! The state and the tree after older blocks, from the change sets.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{Address, B256, Bytes, U256};
use bitsect_vm::state::{
    Account, AccountChange, Node, NodePath, NodeReader, StateChanges, StateReader, update,
};

use super::tables::{View, must};
use super::tree::{PageReader, TableTree};
use super::types::Head;
use super::{Snapshot, StoreError, query, rows};

/// Changed keys that a historical tree may reverse in memory: some 100 MB and a few seconds.
const MAX_REVERSED_KEYS: usize = 500_000;

/// The state after one block.
#[derive(Clone)]
pub struct StateAt {
    snapshot: Snapshot,
    number: u64,
    latest: bool,
}

/// The state tree after one block.
pub struct TreeAt {
    snapshot: Snapshot,
    number: u64,
    root: B256,
    overlay: HashMap<NodePath, Option<Node>>,
    pages: PageReader,
}

/// Checks that a block's state is held; tells whether it is the latest one.
fn check_held(view: &impl View, number: u64) -> Result<bool, StoreError> {
    let last = query::head_number(view, Head::Latest)?;
    let first = query::meta_number(view, "history")?;
    if number < first || number > last {
        return Err(StoreError::StateNotHeld { number, first, last });
    }
    Ok(number == last)
}

pub(super) fn state_at(snapshot: &Snapshot, number: u64) -> Result<StateAt, StoreError> {
    let latest = check_held(snapshot.tables(), number)?;
    Ok(StateAt {
        snapshot: snapshot.clone(),
        number,
        latest,
    })
}

pub(super) fn tree_at(snapshot: &Snapshot, number: u64) -> Result<TreeAt, StoreError> {
    let tables = snapshot.tables();
    let root = query::must_header(tables, number)?.header.state_root;
    let mut overlay = HashMap::new();
    if !check_held(tables, number)? {
        let latest = query::latest(tables)?.number;
        let (changes, reached) = reversed(tables, latest, number, MAX_REVERSED_KEYS)?;
        if reached != number {
            return Err(StoreError::TooManyChanges {
                number,
                limit: MAX_REVERSED_KEYS,
            });
        }
        let newest_root = query::must_header(tables, latest)?.header.state_root;
        let tree = TableTree {
            table: &tables.tree,
            pages: PageReader::new(),
        };
        let older =
            update(newest_root, &changes, &tree).map_err(|error| StoreError::Tree(error.to_string()))?;
        check_root(number, root, older.root)?;
        overlay = older.nodes.into_iter().collect();
    }
    Ok(TreeAt {
        snapshot: snapshot.clone(),
        number,
        root,
        overlay,
        pages: PageReader::new(),
    })
}

/// Checks a root that was computed from change sets against its header.
pub(super) fn check_root(number: u64, expected: B256, got: B256) -> Result<(), StoreError> {
    if expected == got {
        return Ok(());
    }
    let reason = format!("reversing the changes above gives state root {got}, the header has {expected}");
    Err(StoreError::corrupt("changes", &number.to_be_bytes(), reason))
}

/// Reverses the changes of the blocks above `to`, newest first, while fewer than `limit` keys are collected.
/// Gives the changes that lead from the newest state to the state after the block that was reached.
pub(super) fn reversed(
    view: &impl View,
    latest: u64,
    to: u64,
    limit: usize,
) -> Result<(StateChanges, u64), StoreError> {
    let mut accounts: BTreeMap<Address, (Option<Option<Account>>, BTreeMap<U256, U256>)> = BTreeMap::new();
    let (mut keys, mut reached) = (0, latest);
    while reached > to && keys < limit {
        for change in must(view.changes(), "changes", &reached.to_be_bytes(), rows::changes)? {
            let (fields, storage) = accounts.entry(change.address).or_default();
            keys += 1 + change.storage.len();
            if change.account.is_some() {
                *fields = change.account;
            }
            storage.extend(change.storage);
        }
        reached -= 1;
    }
    let mut changes = StateChanges::default();
    for (address, (fields, storage)) in accounts {
        if let Some(change) = reversed_account(view, address, fields, storage)? {
            changes.accounts.insert(address, change);
        }
    }
    Ok((changes, reached))
}

/// Builds one account's way back; `None` when the blocks cancel out.
fn reversed_account(
    view: &impl View,
    address: Address,
    fields: Option<Option<Account>>,
    slots: BTreeMap<U256, U256>,
) -> Result<Option<AccountChange>, StoreError> {
    let before = query::account(view, address)?;
    let after = fields.unwrap_or(before);
    let mut storage = BTreeMap::new();
    for (slot, old) in slots {
        let new = query::storage(view, address, slot)?;
        if new != old {
            storage.insert(slot, (new, old));
        }
    }
    if before == after && storage.is_empty() {
        return Ok(None);
    }
    let code = match after {
        Some(account) if before.map(|before| before.code_hash) != Some(account.code_hash) => {
            Some(query::code(view, account.code_hash)?)
        }
        _ => None,
    };
    Ok(Some(AccountChange {
        before,
        after,
        code,
        storage,
    }))
}

impl StateAt {
    /// The block.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The first change of an account after the block: what the account was.
    fn account_before_change(&self, address: Address) -> Result<Option<Option<Account>>, StoreError> {
        let tables = self.snapshot.tables();
        let from = rows::address_block_key(address, self.number + 1);
        let to = rows::address_block_key(address, u64::MAX);
        let Some(row) = tables.account_history.range::<&[u8; 28]>(&from..=&to)?.next() else {
            return Ok(None);
        };
        let (key, offset) = row?;
        let (_, block) = rows::split_address_block(key.value());
        let decode = |row: &[u8]| rows::account_change_at(row, rows::short_number(offset.value())?, address);
        must(tables.changes(), "changes", &block.to_be_bytes(), decode).map(Some)
    }

    /// The first change of a slot after the block: what its value was.
    fn slot_before_change(&self, address: Address, slot: U256) -> Result<Option<U256>, StoreError> {
        let tables = self.snapshot.tables();
        let from = rows::slot_block_key(address, slot, self.number + 1);
        let to = rows::slot_block_key(address, slot, u64::MAX);
        let Some(row) = tables.storage_history.range::<&[u8; 60]>(&from..=&to)?.next() else {
            return Ok(None);
        };
        let (key, offset) = row?;
        let block = rows::block_of_slot_key(key.value());
        let decode = |row: &[u8]| rows::slot_change_at(row, rows::short_number(offset.value())?, slot);
        must(tables.changes(), "changes", &block.to_be_bytes(), decode).map(Some)
    }
}

impl StateReader for StateAt {
    type Error = StoreError;

    fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        if !self.latest
            && let Some(before) = self.account_before_change(address)?
        {
            return Ok(before);
        }
        query::account(self.snapshot.tables(), address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        if !self.latest
            && let Some(before) = self.slot_before_change(address, slot)?
        {
            return Ok(before);
        }
        query::storage(self.snapshot.tables(), address, slot)
    }

    fn code(&self, _address: Address, code_hash: B256) -> Result<Bytes, StoreError> {
        let inner = &self.snapshot.inner;
        inner
            .code
            .get(code_hash, || query::code(&inner.tables, code_hash))
    }
}

impl TreeAt {
    /// The block.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The tree's root: the block's state root.
    pub fn root(&self) -> B256 {
        self.root
    }
}

impl NodeReader for TreeAt {
    type Error = StoreError;

    fn node(&self, path: &NodePath, _hash: &B256) -> Result<Node, StoreError> {
        match self.overlay.get(path) {
            Some(Some(node)) => Ok(*node),
            Some(None) => Err(StoreError::corrupt(
                "tree",
                &path.to_bytes(),
                "the node is not in this version",
            )),
            None => self.pages.node(&self.snapshot.tables().tree, path),
        }
    }
}
