//! The store: one redb file with the derived chain, its state and tree, and the poster's jobs.
//!
//! The format is docs/store.md. Reads go through [`Snapshot`], one consistent view; writes go through
//! [`Store::write`], one durable transaction that happens whole or not at all.

pub mod admin;
mod code;
mod db;
mod error;
mod history;
mod logs;
mod prune;
mod query;
mod rollback;
mod rows;
mod snapshot;
mod tables;
#[cfg(test)]
mod tests;
mod tree;
mod types;
mod vault;
mod writer;

use code::CodeCache;
pub use db::{Store, StoreOptions};
pub use error::StoreError;
pub use history::{StateAt, TreeAt};
pub use snapshot::Snapshot;
pub use types::{
    BatchRecord, BlockRef, Genesis, Head, Identity, Job, JobPut, L1Block, L1Ref, L1Rollback, LeftOutput,
    LogLimits, LogQuery, NewBlock, Pruned, RemovedBlock, StoredHeader, StoredLog, StoredReceipt,
    StoredTransaction, UnitRecord,
};
pub use writer::Writer;
