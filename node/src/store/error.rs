//! What can go wrong in the store.

use alloy_primitives::{Address, B256};
use bitsect_vm::chain::OutPoint;
use thiserror::Error;

/// Why the store refused or failed. After any of them from a write, nothing has changed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The medium or redb failed.
    #[error("the database failed: {0}")]
    Database(Box<redb::Error>),
    /// The file cannot be created or moved.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file has no identity: it was never created by [`super::Store::create`].
    #[error("the store is empty: it has no genesis")]
    Empty,
    /// The file has a genesis already.
    #[error("the store already has a genesis: {genesis}")]
    NotEmpty {
        /// The hash of its block 0.
        genesis: B256,
    },
    /// The file belongs to another format version.
    #[error("store format version: expected {expected}, got {got}")]
    FormatVersion {
        /// What this program reads.
        expected: u32,
        /// What the file says.
        got: u32,
    },
    /// The file belongs to another chain.
    #[error("chain id: expected {expected}, the store has {got}")]
    ChainId {
        /// The configured one.
        expected: u64,
        /// The file's.
        got: u64,
    },
    /// The file belongs to another genesis.
    #[error("genesis hash: expected {expected}, the store has {got}")]
    Genesis {
        /// The configured one.
        expected: B256,
        /// The file's.
        got: B256,
    },
    /// The file belongs to other chain parameters.
    #[error("chain parameters hash: expected {expected}, the store has {got}")]
    Params {
        /// The configured one.
        expected: B256,
        /// The file's.
        got: B256,
    },
    /// A row cannot be what the store wrote, or one that must be there is missing.
    #[error("table {table}, key {key}: {reason}")]
    Corrupt {
        /// The table's name.
        table: &'static str,
        /// The key, in hexadecimal.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The state of this block is not held.
    #[error("the state of block {number} is not held: blocks {first} to {last} are")]
    StateNotHeld {
        /// The block asked for.
        number: u64,
        /// The oldest one held.
        first: u64,
        /// The newest one held.
        last: u64,
    },
    /// A historical tree or a rollback would need more changes than one operation may hold in memory.
    #[error("block {number} is too far back: more than {limit} changed keys since")]
    TooManyChanges {
        /// The block asked for.
        number: u64,
        /// Changed keys allowed.
        limit: usize,
    },
    /// The block is not the child of the newest one, or is not consistent in itself.
    #[error("block {number} does not fit: {field}: expected {expected}, got {got}")]
    Block {
        /// The block.
        number: u64,
        /// What does not fit.
        field: &'static str,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// A change's `before` is not what the flat state holds.
    #[error("block {number} was not executed on the stored state: account {address}, {field}")]
    StateMismatch {
        /// The block.
        number: u64,
        /// The account.
        address: Address,
        /// Which of its values.
        field: String,
    },
    /// A balance above 16 bytes.
    #[error("account {address}: balance {balance} does not fit into 16 bytes")]
    Balance {
        /// The account.
        address: Address,
        /// The balance, wei.
        balance: alloy_primitives::U256,
    },
    /// A blob that chain state names is missing.
    #[error("blob {root} is not in the store")]
    NoBlob {
        /// The blob's root.
        root: alloy_primitives::B256,
    },
    /// There is no such block.
    #[error("block {number} is not in the store: the latest is {latest}")]
    NoBlock {
        /// The block asked for.
        number: u64,
        /// The newest one.
        latest: u64,
    },
    /// A rollback would remove blocks that Bitcoin has fixed.
    #[error("rollback to block {number} refused: block {bound} is {head}")]
    BelowHead {
        /// The block asked for.
        number: u64,
        /// The block that stays.
        bound: u64,
        /// Why it stays: `safe` or `finalized`.
        head: &'static str,
    },
    /// A head must keep `finalized <= safe <= latest`.
    #[error("{head} cannot be {number}: finalized {finalized}, safe {safe}, latest {latest}")]
    Heads {
        /// The head to be set.
        head: &'static str,
        /// Its new value.
        number: u64,
        /// The finalized block.
        finalized: u64,
        /// The safe block.
        safe: u64,
        /// The newest block.
        latest: u64,
    },
    /// A unit, L1 block or batch does not follow the last one.
    #[error("{what} does not follow: expected {expected}, got {got}")]
    Sequence {
        /// Which sequence.
        what: &'static str,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// A vault output that goes is not there.
    #[error("vault output {:x}:{} of {sats} sats is not in the store", .outpoint.txid, .outpoint.vout)]
    VaultOutput {
        /// The output (transaction id in internal byte order).
        outpoint: OutPoint,
        /// Its amount, in sats.
        sats: u64,
    },
    /// A step of a write failed and its error was dropped by the caller: nothing was committed.
    #[error("a step of this write failed, so nothing of it was stored")]
    Failed,
    /// An operation needs the store for itself.
    #[error("the store is in use elsewhere in this process")]
    InUse,
    /// No encoded chain state is held for this L1 block.
    #[error("L1 height {height} cannot be rolled back to: heights {first} to {last} are held")]
    L1NotHeld {
        /// The height asked for.
        height: u32,
        /// The lowest one held.
        first: u32,
        /// The highest one held.
        last: u32,
    },
    /// The poster has another job for this baton.
    #[error("a different job is stored for baton {:x}:{}", .baton.txid, .baton.vout)]
    JobConflict {
        /// The baton (transaction id in internal byte order).
        baton: OutPoint,
    },
    /// The state tree could not be updated.
    #[error("state tree: {0}")]
    Tree(String),
    /// A log query asked for too many blocks.
    #[error("log query over {got} blocks: at most {limit} are allowed")]
    LogBlocks {
        /// Blocks in the query.
        got: u64,
        /// Blocks allowed.
        limit: u64,
    },
    /// A log query found too many logs.
    #[error("log query exceeds {limit} results: narrow it to blocks {from} to {fits}")]
    LogResults {
        /// Logs allowed.
        limit: usize,
        /// The first block of the query.
        from: u64,
        /// The last block up to which the results fit.
        fits: u64,
    },
    /// A log query took too long.
    #[error("log query timed out at block {at}")]
    LogTimeout {
        /// The block it had reached.
        at: u64,
    },
}

impl StoreError {
    /// Makes the error for a row that is missing or does not decode.
    pub(super) fn corrupt(table: &'static str, key: &[u8], reason: impl Into<String>) -> Self {
        Self::Corrupt {
            table,
            key: hex::encode(key),
            reason: reason.into(),
        }
    }
}

macro_rules! from_redb {
    ($($kind:ty),*) => {$(
        impl From<$kind> for StoreError {
            fn from(error: $kind) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError,
    redb::CompactionError,
    redb::SetDurabilityError
);
