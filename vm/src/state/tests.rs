//! The tree against a reference that follows the description the slow way, and every way to the same state.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use proptest::prelude::*;

use super::*;

/// The nodes of the tree over these values, built recursively as docs/state-tree.md has it.
fn reference(values: &BTreeMap<TreeKey, B256>) -> (B256, BTreeMap<NodePath, Node>) {
    let mut nodes = BTreeMap::new();
    let entries: Vec<_> = values.iter().map(|(key, value)| (*key, *value)).collect();
    let root = reference_trunk(&entries, 0, &mut nodes);
    (root, nodes)
}

fn add(nodes: &mut BTreeMap<NodePath, Node>, path: NodePath, left: B256, right: B256) -> B256 {
    let node: Node = [left.0, right.0].concat().try_into().unwrap();
    assert_eq!(nodes.insert(path, node), None);
    B256::new(*blake3::hash(&node).as_bytes())
}

fn reference_trunk(entries: &[(TreeKey, B256)], depth: u8, nodes: &mut BTreeMap<NodePath, Node>) -> B256 {
    let Some((first, _)) = entries.first() else {
        return B256::ZERO;
    };
    let stem = Stem::from_slice(&first[..31]);
    let position = Position::of(&stem, depth);
    if entries.iter().all(|(key, _)| key[..31] == first[..31]) {
        let mut stem_word = *first;
        stem_word.0[31] = 0;
        let subtree = reference_subtree(entries, stem, 0, 0, nodes);
        let inner = add(nodes, NodePath::Stem(position), stem_word, subtree);
        return add(nodes, NodePath::Trunk(position), inner, STEM_TAG);
    }
    let (left, right): (Vec<_>, Vec<_>) = entries
        .iter()
        .partition(|(key, _)| key[usize::from(depth / 8)] >> (7 - depth % 8) & 1 == 0);
    let left = reference_trunk(&left, depth + 1, nodes);
    let right = reference_trunk(&right, depth + 1, nodes);
    add(nodes, NodePath::Trunk(position), left, right)
}

fn reference_subtree(
    entries: &[(TreeKey, B256)],
    stem: Stem,
    level: u8,
    index: u8,
    nodes: &mut BTreeMap<NodePath, Node>,
) -> B256 {
    let below = |index: u16| -> Vec<_> {
        entries
            .iter()
            .filter(|(key, _)| u16::from(key[31]) >> (7 - level) == index)
            .copied()
            .collect()
    };
    let (left, right) = (below(u16::from(index) * 2), below(u16::from(index) * 2 + 1));
    if left.is_empty() && right.is_empty() {
        return B256::ZERO;
    }
    let (left, right) = if level == 7 {
        (
            left.first().map_or(B256::ZERO, |e| e.1),
            right.first().map_or(B256::ZERO, |e| e.1),
        )
    } else {
        let left = reference_subtree(&left, stem, level + 1, index * 2, nodes);
        (
            left,
            reference_subtree(&right, stem, level + 1, index * 2 + 1, nodes),
        )
    };
    add(nodes, NodePath::Subtree { stem, level, index }, left, right)
}

/// A state as plain maps, and the values it has in the tree by definition.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    accounts: BTreeMap<Address, (u64, u128, Vec<u8>)>,
    storage: BTreeMap<(Address, U256), U256>,
}

impl Model {
    fn account(&self, address: &Address) -> Option<Account> {
        self.accounts.get(address).map(|(nonce, balance, code)| Account {
            nonce: *nonce,
            balance: U256::from(*balance),
            code_hash: keccak256(code),
            code_size: code.len() as u32,
        })
    }

    fn values(&self) -> BTreeMap<TreeKey, B256> {
        let mut values = BTreeMap::new();
        for (address, (_, _, code)) in &self.accounts {
            let account = self.account(address).unwrap();
            values.insert(header_key(*address, 0), pack_basic_data(&account).unwrap());
            values.insert(header_key(*address, 1), account.code_hash);
            for (number, chunk) in chunks(code).into_iter().enumerate() {
                values.insert(chunk_key(*address, number as u32), chunk);
            }
        }
        for ((address, slot), value) in &self.storage {
            values.insert(slot_key(*address, *slot), B256::from(*value));
        }
        values.retain(|_, value| *value != B256::ZERO);
        values
    }

    fn changes_to(&self, other: &Self) -> StateChanges {
        let mut changes = StateChanges::default();
        let addresses: BTreeSet<_> = self.accounts.keys().chain(other.accounts.keys()).collect();
        let slots: BTreeSet<_> = self.storage.keys().chain(other.storage.keys()).collect();
        for address in addresses {
            let (before, after) = (self.account(address), other.account(address));
            if before != after {
                let code = after
                    .filter(|after| Some(after.code_hash) != before.map(|before| before.code_hash))
                    .map(|_| Bytes::from(other.accounts[address].2.clone()));
                let change = AccountChange {
                    before,
                    after,
                    code,
                    ..AccountChange::default()
                };
                changes.accounts.insert(*address, change);
            }
        }
        for (address, slot) in slots {
            let value = |model: &Self| model.storage.get(&(*address, *slot)).copied().unwrap_or_default();
            if value(self) != value(other) {
                let unchanged = self.account(address);
                let change = changes.accounts.entry(*address).or_insert_with(|| AccountChange {
                    before: unchanged,
                    after: unchanged,
                    ..AccountChange::default()
                });
                change.storage.insert(*slot, (value(self), value(other)));
            }
        }
        changes
    }
}

/// Few addresses and slots, so that steps meet; code sizes on both sides of a header's 128 chunks.
fn any_model() -> impl Strategy<Value = Model> {
    let address = || (0u8..24).prop_map(Address::with_last_byte);
    let code = prop_oneof![
        4 => Just(vec![]),
        1 => Just([&[0xef, 1, 0][..], &[7; 20]].concat()),
        2 => (1usize..200, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        1 => (3900usize..4100, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        1 => Just((0..13_000u32).map(|i| ((i * i) >> 3) as u8).collect()),
    ];
    let slot = prop_oneof![
        (0u64..300).prop_map(U256::from),
        (0u64..40).prop_map(|n| U256::from_be_bytes(keccak256(n.to_be_bytes()).0)),
    ];
    let value = prop_oneof![
        (1u64..300).prop_map(U256::from),
        Just(U256::MAX),
        any::<u64>().prop_map(|n| U256::from(n) << 190)
    ];
    let accounts = prop::collection::btree_map(address(), (0u64..3, 0u128..3, code), 0..16);
    let storage = prop::collection::btree_map((address(), slot), value, 0..40);
    (accounts, storage).prop_map(|(accounts, storage)| {
        let storage = storage
            .into_iter()
            .filter(|(_, value)| *value != U256::ZERO)
            .collect();
        Model { accounts, storage }
    })
}

/// All nodes of a tree by path, as the updates left them.
#[derive(Clone, Default, PartialEq, Debug)]
struct NodeMap {
    nodes: BTreeMap<NodePath, Node>,
    root: B256,
}

#[derive(Debug, thiserror::Error)]
#[error("no node {hash} at {path:?}")]
struct NoNode {
    path: NodePath,
    hash: B256,
}

impl NodeReader for NodeMap {
    type Error = NoNode;

    fn node(&self, path: &NodePath, hash: &B256) -> Result<Node, NoNode> {
        let node = self.nodes.get(path).filter(|node| hash_node(node) == *hash);
        node.copied().ok_or(NoNode {
            path: *path,
            hash: *hash,
        })
    }
}

impl NodeMap {
    fn apply(&mut self, changes: &StateChanges) {
        let update = update(self.root, changes, self).unwrap();
        let paths: BTreeSet<_> = update.nodes.iter().map(|(path, _)| *path).collect();
        assert_eq!(paths.len(), update.nodes.len(), "a path is listed once");
        for (path, node) in update.nodes {
            match node {
                Some(node) => self.nodes.insert(path, node),
                None => Some(
                    self.nodes
                        .remove(&path)
                        .expect("only nodes that exist are removed"),
                ),
            };
        }
        self.root = update.root;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tree_is_a_function_of_the_state(steps in prop::collection::vec(any_model(), 1..5)) {
        let (mut map, mut memory, mut before) = (NodeMap::default(), MemoryState::new(), Model::default());
        for step in &steps {
            let changes = before.changes_to(step);
            map.apply(&changes);
            let (root, nodes) = reference(&step.values());
            prop_assert_eq!(map.root, root);
            prop_assert!(map.nodes == nodes);
            let update = update(memory.root(), &changes, &memory).unwrap();
            let rows = row_changes(&update.nodes, &memory).unwrap();
            prop_assert_eq!(rows, update_rows(memory.root(), &changes, &memory).unwrap().rows);
            prop_assert_eq!(memory.apply(&changes).unwrap(), root);
            let mut direct = MemoryState::new();
            direct.apply(&Model::default().changes_to(step)).unwrap();
            prop_assert!(memory.rows().eq(direct.rows()));
            before = step.clone();
        }
        memory.apply(&before.changes_to(&Model::default())).unwrap();
        prop_assert_eq!(memory.root(), B256::ZERO);
        prop_assert_eq!(memory.rows().count(), 0);
    }

    #[test]
    fn reversed_changes_lead_back(before in any_model(), after in any_model()) {
        let mut map = NodeMap::default();
        map.apply(&Model::default().changes_to(&before));
        let start = map.clone();
        let changes = before.changes_to(&after);
        map.apply(&changes);
        let reversed = changes.reversed(|address, code_hash| {
            let code = Bytes::from(before.accounts[&address].2.clone());
            assert_eq!(keccak256(&code), code_hash);
            Ok::<_, core::convert::Infallible>(code)
        });
        map.apply(&reversed.unwrap());
        prop_assert!(map == start);
    }
}

#[test]
fn the_empty_tree_has_root_zero() {
    let mut map = NodeMap::default();
    map.apply(&StateChanges::default());
    assert_eq!((map.root, map.nodes.len()), (B256::ZERO, 0));
}

fn account(balance: U256) -> Account {
    Account {
        nonce: 0,
        balance,
        code_hash: KECCAK256_EMPTY,
        code_size: 0,
    }
}

fn created(after: Account, code: Option<Bytes>) -> StateChanges {
    let change = AccountChange {
        after: Some(after),
        code,
        ..AccountChange::default()
    };
    StateChanges {
        accounts: [(Address::ZERO, change)].into(),
    }
}

#[test]
fn a_balance_above_16_bytes_is_refused() {
    let largest = (U256::from(1) << 128) - U256::from(1);
    let mut state = MemoryState::new();
    state.apply(&created(account(largest), None)).unwrap();
    let balance = largest + U256::from(1);
    let error = MemoryState::new()
        .apply(&created(account(balance), None))
        .unwrap_err();
    assert_eq!(
        error,
        UpdateError::BalanceTooLarge {
            address: Address::ZERO,
            balance
        }
    );
}

#[test]
fn changed_code_must_be_there_and_have_its_size() {
    let code = Bytes::from_static(&[1, 2, 3]);
    let account = Account {
        code_hash: keccak256(&code),
        code_size: 3,
        ..account(U256::ZERO)
    };
    let apply = |account, code| MemoryState::new().apply(&created(account, code));
    let (address, code_hash) = (Address::ZERO, account.code_hash);
    assert_eq!(
        apply(account, None),
        Err(UpdateError::CodeMissing { address, code_hash })
    );
    let short = Account {
        code_size: 2,
        ..account
    };
    assert_eq!(
        apply(short, Some(code.clone())),
        Err(UpdateError::CodeSize {
            address,
            expected: 2,
            got: 3
        })
    );
    apply(account, Some(code)).unwrap();
}

#[test]
fn a_missing_or_damaged_row_is_an_error() {
    let mut model = Model::default();
    for n in 0..200u8 {
        model.accounts.insert(Address::with_last_byte(n), (1, 1, vec![]));
    }
    let mut state = MemoryState::new();
    state.apply(&Model::default().changes_to(&model)).unwrap();
    let mut after = model.clone();
    for account in after.accounts.values_mut() {
        account.0 = 2;
    }
    let changes = model.changes_to(&after);
    assert!(update_rows(state.root(), &changes, &state).is_ok());
    for key in state.rows().map(|(key, _)| *key).collect::<Vec<_>>() {
        let missing = Damaged {
            state: &state,
            key,
            change: |_| None,
        };
        let error = update_rows(state.root(), &changes, &missing).unwrap_err();
        assert_eq!(error, UpdateError::Read(RowError::Missing { key }));
        let flipped = Damaged {
            state: &state,
            key,
            change: |row| {
                let mut row = row.to_vec();
                *row.last_mut().unwrap() ^= 1;
                Some(row)
            },
        };
        let error = update_rows(state.root(), &changes, &flipped).unwrap_err();
        assert!(matches!(
            error,
            UpdateError::Read(RowError::Mismatch { key: at, .. } | RowError::Malformed { key: at }) if at == key
        ));
        let cut = Damaged {
            state: &state,
            key,
            change: |row| row.split_last().map(|(_, row)| row.to_vec()),
        };
        let error = update_rows(state.root(), &changes, &cut).unwrap_err();
        assert_eq!(error, UpdateError::Read(RowError::Malformed { key }));
    }
}

struct Damaged<'a> {
    state: &'a MemoryState,
    key: RowKey,
    change: fn(&[u8]) -> Option<Vec<u8>>,
}

impl RowReader for Damaged<'_> {
    type Error = core::convert::Infallible;

    fn row(&self, key: &RowKey) -> Result<Option<Vec<u8>>, Self::Error> {
        let row = self.state.row(key)?;
        Ok(if *key == self.key {
            row.and_then(|row| (self.change)(&row))
        } else {
            row
        })
    }
}
