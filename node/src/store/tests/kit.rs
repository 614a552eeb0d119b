//! Blocks for tests: consistent in themselves, with state changes that the test chooses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use alloy_consensus::constants::KECCAK_EMPTY;
use alloy_consensus::proofs::calculate_transaction_root;
use alloy_consensus::{SignableTransaction, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, Log, Signature, TxKind, U256, keccak256};
use bitsect_vm::chain::{Header, Receipt, Transaction};
use bitsect_vm::execute::receipts_root;
use bitsect_vm::state::{
    Account, AccountChange, Node, NodePath, NodeReader, StateChanges, StateReader, update,
};
use indicatif::ProgressBar;
use redb::Database;
use redb::backends::InMemoryBackend;

use crate::store::admin::check;
use crate::store::{
    Genesis, Head, Identity, L1Ref, LogLimits, NewBlock, Snapshot, Store, StoreError, StoredHeader,
};

/// What a block does to one account.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Sets nonce and balance.
    Pay(u8, u64, u64),
    /// Sets a slot, on an account that then exists.
    Slot(u8, u8, u64),
    /// Sets code of this length, filled with this byte.
    Code(u8, u8, u16),
    /// Removes the account with the slots of the test's universe.
    Delete(u8),
    /// Emits a log with this topic.
    Log(u8, u8),
}

/// Slots that tests use.
pub(super) const SLOTS: u8 = 4;
/// Accounts that tests use.
pub(super) const ACCOUNTS: u8 = 12;

pub(super) fn address(id: u8) -> Address {
    // Spread over the tree, some sharing a prefix.
    Address::from_word(keccak256([id % ACCOUNTS]))
}

pub(super) fn slot(id: u8) -> U256 {
    // Two in the account's header stem, two beyond.
    let id = u64::from(id % SLOTS);
    if id < 2 {
        U256::from(id)
    } else {
        U256::MAX - U256::from(id)
    }
}

pub(super) fn topic(id: u8) -> B256 {
    B256::repeat_byte(id)
}

/// The empty tree.
pub(super) struct NoNodes;

impl NodeReader for NoNodes {
    type Error = StoreError;
    fn node(&self, path: &NodePath, _hash: &B256) -> Result<Node, StoreError> {
        Err(StoreError::corrupt("tree", &path.to_bytes(), "the tree is empty"))
    }
}

/// The empty state.
pub(super) struct NoState;

impl StateReader for NoState {
    type Error = StoreError;
    fn account(&self, _: Address) -> Result<Option<Account>, StoreError> {
        Ok(None)
    }
    fn storage(&self, _: Address, _: U256) -> Result<U256, StoreError> {
        Ok(U256::ZERO)
    }
    fn code(&self, _: Address, _: B256) -> Result<Bytes, StoreError> {
        Ok(Bytes::new())
    }
}

/// The net changes that ops make of a state.
fn changes_of(ops: &[Op], state: &impl StateReader<Error = StoreError>) -> StateChanges {
    let mut changes: BTreeMap<Address, AccountChange> = BTreeMap::new();
    for op in ops {
        let (Op::Pay(id, ..) | Op::Slot(id, ..) | Op::Code(id, ..) | Op::Delete(id) | Op::Log(id, _)) = *op;
        let address = address(id);
        let change = changes.entry(address).or_insert_with(|| {
            let before = state.account(address).unwrap();
            AccountChange {
                before,
                after: before,
                ..AccountChange::default()
            }
        });
        let empty = Account {
            nonce: 1,
            balance: U256::ZERO,
            code_hash: KECCAK_EMPTY,
            code_size: 0,
        };
        let now = change.after.unwrap_or(empty);
        let read = |id: u8| state.storage(address, slot(id)).unwrap();
        match *op {
            Op::Pay(_, nonce, balance) => {
                change.after = Some(Account {
                    nonce: nonce | 1,
                    balance: U256::from(balance),
                    ..now
                });
            }
            Op::Slot(_, id, value) => {
                change.after = Some(now);
                change.storage.insert(slot(id), (read(id), U256::from(value)));
            }
            Op::Code(_, fill, length) => {
                let code = Bytes::from(vec![fill; usize::from(length) + 1]);
                let (code_hash, code_size) = (keccak256(&code), u32::from(length) + 1);
                change.after = Some(Account {
                    code_hash,
                    code_size,
                    ..now
                });
                change.code = Some(code);
            }
            Op::Delete(_) => {
                change.after = None;
                change.code = None;
                for id in 0..SLOTS {
                    change.storage.insert(slot(id), (read(id), U256::ZERO));
                }
            }
            Op::Log(..) => {}
        }
    }
    for change in changes.values_mut() {
        change.storage.retain(|_, (before, after)| before != after);
        let code_hash = |account: Option<Account>| account.map(|account| account.code_hash);
        if code_hash(change.before) == code_hash(change.after) {
            change.code = None;
        }
    }
    changes.retain(|_, change| change.before != change.after || !change.storage.is_empty());
    StateChanges { accounts: changes }
}

fn transaction(number: u64, index: u64) -> Transaction {
    let tx = TxLegacy {
        chain_id: Some(7),
        nonce: index,
        gas_price: u128::from(number),
        gas_limit: 21_000,
        to: TxKind::Call(address(1)),
        value: U256::from(number),
        input: Bytes::new(),
    };
    tx.into_signed(Signature::test_signature()).into()
}

/// Makes the child of `parent`. Each log op is one transaction; `fork` tells siblings apart.
pub(super) fn block(
    parent: Option<&StoredHeader>,
    state: &impl StateReader<Error = StoreError>,
    tree: &impl NodeReader<Error = StoreError>,
    ops: &[Op],
    fork: u64,
) -> NewBlock {
    let changes = changes_of(ops, state);
    let parent_root = parent.map_or(B256::ZERO, |parent| parent.header.state_root);
    let tree = update(parent_root, &changes, tree).unwrap();
    let number = parent.map_or(0, |parent| parent.header.number + 1);
    let logs: Vec<Log> = ops
        .iter()
        .filter_map(|op| match op {
            Op::Log(id, id_topic) => Some(Log::new_unchecked(
                address(*id),
                vec![topic(*id_topic)],
                Bytes::from(vec![7]),
            )),
            _ => None,
        })
        .collect();
    let transactions: Vec<Transaction> = (0..logs.len() as u64)
        .map(|index| transaction(number, index | fork << 32))
        .collect();
    let mut gas = 0;
    let receipts: Vec<Receipt> = logs
        .into_iter()
        .map(|log| {
            gas += 21_000 + log.data.data.len() as u64;
            let receipt = alloy_consensus::Receipt {
                status: true.into(),
                cumulative_gas_used: gas,
                logs: vec![log.clone(), log],
            };
            Receipt::Legacy(receipt)
        })
        .collect();
    let l1_origin = L1Ref {
        height: 100,
        hash: B256::repeat_byte(0x11),
    };
    let (root, bloom) = receipts_root(&receipts);
    let header = Header {
        number,
        parent_hash: parent.map_or(B256::ZERO, |parent| parent.hash),
        timestamp: 1_000 + number,
        gas_used: gas,
        extra_data: Bytes::copy_from_slice(&fork.to_be_bytes()),
        state_root: tree.root,
        transactions_root: calculate_transaction_root(&transactions),
        receipts_root: root,
        logs_bloom: bloom,
        withdrawals_root: Some(B256::repeat_byte(3)),
        base_fee_per_gas: Some(7),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(l1_origin.hash),
        requests_hash: Some(B256::repeat_byte(4)),
        ..Header::default()
    };
    NewBlock {
        hash: header.hash_slow(),
        header,
        senders: vec![address(2); transactions.len()],
        l1_fees: (0..transactions.len()).map(U256::from).collect(),
        transactions,
        receipts,
        changes,
        tree,
        l1_origin,
        inbox_count: 0,
    }
}

/// Makes a child of the snapshot's latest block.
pub(super) fn next_block(snapshot: &Snapshot, ops: &[Op], fork: u64) -> NewBlock {
    let parent = snapshot.head(Head::Latest).unwrap().number;
    let (state, tree) = (
        snapshot.state_at(parent).unwrap(),
        snapshot.tree_at(parent).unwrap(),
    );
    let parent = snapshot.header(parent).unwrap().unwrap();
    block(Some(&parent), &state, &tree, ops, fork)
}

pub(super) fn genesis(ops: &[Op]) -> (Identity, Genesis) {
    let block = block(None, &NoState, &NoNodes, ops, 0);
    let identity = Identity {
        chain_id: 7,
        genesis_hash: block.hash,
        params_hash: B256::repeat_byte(0x22),
    };
    let genesis = Genesis {
        block,
        chain_state: state_hash(0),
        encoded_chain_state: b"unit 0".to_vec(),
    };
    (identity, genesis)
}

pub(super) fn state_hash(unit: u64) -> B256 {
    keccak256(unit.to_be_bytes())
}

pub(super) const GENESIS_OPS: [Op; 3] = [Op::Pay(0, 1, 1_000), Op::Code(1, 0x5b, 300), Op::Slot(1, 2, 9)];

/// A store in memory with a small genesis.
pub(super) fn memory_store() -> Store {
    let (identity, genesis) = genesis(&GENESIS_OPS);
    let db = Database::builder()
        .create_with_backend(InMemoryBackend::new())
        .unwrap();
    Store::create_in(db, &identity, &genesis).unwrap()
}

/// Appends a block to the latest one.
pub(super) fn append(store: &Store, ops: &[Op], fork: u64) -> NewBlock {
    let block = next_block(&store.read().unwrap(), ops, fork);
    store.write(|writer| writer.append_block(&block)).unwrap();
    block
}

/// Fails the test when `db check` finds anything.
pub(super) fn assert_sound(store: &Store) {
    let report = check(&store.read().unwrap(), &|_, _| ProgressBar::hidden()).unwrap();
    assert!(report.faults.is_empty(), "{report}");
}

pub(super) fn log_limits() -> LogLimits {
    LogLimits {
        blocks: 1_000,
        results: 1_000,
        deadline: Instant::now() + Duration::from_secs(60),
    }
}
