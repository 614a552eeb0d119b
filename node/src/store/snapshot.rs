//! A consistent view for readers.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use bitsect_vm::chain::{OutPoint, Transaction};

use super::history::{StateAt, TreeAt};
use super::tables::ReadTables;
use super::types::{
    BatchRecord, BlockRef, Head, Job, L1Block, L1Ref, LeftOutput, LogLimits, LogQuery, StoredHeader,
    StoredLog, StoredReceipt, StoredTransaction, UnitRecord,
};
use super::{CodeCache, StoreError, history, logs, query};
use crate::invariant::Supply;

/// One MVCC view of the store: all its answers belong to the same committed write. Cheap to clone; it holds
/// old pages of the file while it lives, so it is not kept for longer than a request.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) inner: Arc<SnapshotInner>,
}

pub(super) struct SnapshotInner {
    pub(super) tables: ReadTables,
    pub(super) code: Arc<CodeCache>,
}

impl Snapshot {
    pub(super) fn tables(&self) -> &ReadTables {
        &self.inner.tables
    }

    /// Gives one of the chain's heads.
    pub fn head(&self, head: Head) -> Result<BlockRef, StoreError> {
        query::head(self.tables(), head)
    }

    /// Gives the oldest block whose state can be read.
    pub fn history_start(&self) -> Result<u64, StoreError> {
        query::meta_number(self.tables(), "history")
    }

    /// Gives the hash of a block; `None` above the latest.
    pub fn block_hash(&self, number: u64) -> Result<Option<B256>, StoreError> {
        query::block_hash(self.tables(), number)
    }

    /// Gives the number of the block with this hash.
    pub fn block_number(&self, hash: B256) -> Result<Option<u64>, StoreError> {
        query::block_number(self.tables(), hash)
    }

    /// Gives a block's header; `None` above the latest.
    pub fn header(&self, number: u64) -> Result<Option<StoredHeader>, StoreError> {
        query::header(self.tables(), number)
    }

    /// Gives the header of the block with this hash.
    pub fn header_by_hash(&self, hash: B256) -> Result<Option<StoredHeader>, StoreError> {
        match self.block_number(hash)? {
            Some(number) => self.header(number),
            None => Ok(None),
        }
    }

    /// Gives a block's transactions with their senders; `None` above the latest.
    pub fn body(&self, number: u64) -> Result<Option<Vec<(Address, Transaction)>>, StoreError> {
        query::body(self.tables(), number)
    }

    /// Gives how many transactions a block has; `None` above the latest.
    pub fn transaction_count(&self, number: u64) -> Result<Option<u32>, StoreError> {
        query::transaction_count(self.tables(), number)
    }

    /// Gives a block's receipts; `None` above the latest.
    pub fn receipts(&self, number: u64) -> Result<Option<Vec<StoredReceipt>>, StoreError> {
        query::receipts(self.tables(), number)
    }

    /// Gives one receipt; `None` above the latest block and beyond the block's end.
    pub fn receipt_at(&self, block: u64, index: u32) -> Result<Option<StoredReceipt>, StoreError> {
        query::receipt_at(self.tables(), block, index)
    }

    /// Gives where a transaction is: block number and index.
    pub fn transaction_place(&self, hash: B256) -> Result<Option<(u64, u32)>, StoreError> {
        query::transaction_place(self.tables(), hash)
    }

    /// Gives a transaction by its hash.
    pub fn transaction(&self, hash: B256) -> Result<Option<StoredTransaction>, StoreError> {
        match self.transaction_place(hash)? {
            Some((block, index)) => self.transaction_at(block, index),
            None => Ok(None),
        }
    }

    /// Gives a transaction by its place; `None` beyond the block's end.
    pub fn transaction_at(&self, block: u64, index: u32) -> Result<Option<StoredTransaction>, StoreError> {
        query::transaction_at(self.tables(), block, index)
    }

    /// Gives a block's L1 origin; `None` above the latest.
    pub fn block_l1_origin(&self, number: u64) -> Result<Option<L1Ref>, StoreError> {
        Ok(self.header(number)?.map(|header| header.l1_origin()))
    }

    /// Reads the state after a block.
    ///
    /// # Errors
    ///
    /// [`StoreError::StateNotHeld`] names the blocks whose state is held.
    pub fn state_at(&self, number: u64) -> Result<StateAt, StoreError> {
        history::state_at(self, number)
    }

    /// Reads the state tree after a block, for proofs. The latest block's tree is read directly; for an older
    /// one the changes since are reversed in memory.
    ///
    /// # Errors
    ///
    /// [`StoreError::StateNotHeld`], and [`StoreError::TooManyChanges`] when the block is too far back.
    pub fn tree_at(&self, number: u64) -> Result<TreeAt, StoreError> {
        history::tree_at(self, number)
    }

    /// Gives all balances after a block; `None` where its state is not held.
    pub fn supply(&self, number: u64) -> Result<Option<Supply>, StoreError> {
        query::supply(self.tables(), number)
    }

    /// Gives all balances at genesis, in wei.
    pub fn genesis_supply(&self) -> Result<U256, StoreError> {
        query::genesis_supply(self.tables())
    }

    /// Gives the amount of a vault output, in sats, as of the last L1 block; `None` where it is none.
    pub fn vault_output(&self, outpoint: &OutPoint) -> Result<Option<u64>, StoreError> {
        query::vault_output(self.tables(), outpoint)
    }

    /// Gives the vault outputs that were spent by what the chain does not record, as of the last L1 block.
    pub fn vault_left(&self) -> Result<Vec<LeftOutput>, StoreError> {
        query::vault_left(self.tables())
    }

    /// Gives `S_k` after `unit` units; `None` above the last unit.
    pub fn chain_state(&self, unit: u64) -> Result<Option<B256>, StoreError> {
        Ok(self.unit(unit)?.map(|unit| unit.chain_state))
    }

    /// Gives a unit's record; `None` above the last unit.
    pub fn unit(&self, unit: u64) -> Result<Option<UnitRecord>, StoreError> {
        query::unit(self.tables(), unit)
    }

    /// Gives the number of the last unit: how many units there were.
    pub fn unit_count(&self) -> Result<u64, StoreError> {
        Ok(query::last_unit(self.tables())?.0)
    }

    /// Gives the unit that executed a block; `None` when it is not derived yet.
    pub fn unit_of_block(&self, number: u64) -> Result<Option<u64>, StoreError> {
        query::unit_of_block(self.tables(), number)
    }

    /// Gives the encoded chain state after the last unit.
    pub fn encoded_chain_state(&self) -> Result<Vec<u8>, StoreError> {
        query::encoded_chain_state(self.tables())
    }

    /// Gives a processed L1 block.
    pub fn l1_block(&self, height: u32) -> Result<Option<L1Block>, StoreError> {
        query::l1_block(self.tables(), height)
    }

    /// Gives the last processed L1 block.
    pub fn last_l1_block(&self) -> Result<L1Block, StoreError> {
        query::last_l1_block(self.tables())
    }

    /// Gives the first and the last processed L1 block.
    pub fn l1_range(&self) -> Result<[L1Block; 2], StoreError> {
        query::l1_range(self.tables())
    }

    /// Gives the encoded chain state after an L1 block.
    ///
    /// # Errors
    ///
    /// [`StoreError::L1NotHeld`] names the heights that are held.
    pub fn encoded_chain_state_at(&self, height: u32) -> Result<Vec<u8>, StoreError> {
        query::l1_state(self.tables(), height)
    }

    /// Gives the batch that holds a block; `None` when no batch does.
    pub fn batch_of(&self, number: u64) -> Result<Option<BatchRecord>, StoreError> {
        query::batch_of(self.tables(), number)
    }

    /// Gives up to `limit` batches that start at or before `number`, newest first.
    pub fn batches_down(&self, number: u64, limit: usize) -> Result<Vec<BatchRecord>, StoreError> {
        query::batches_down(self.tables(), number, limit)
    }

    /// Finds logs.
    ///
    /// # Errors
    ///
    /// [`StoreError::LogBlocks`], [`StoreError::LogResults`], [`StoreError::LogTimeout`] when a limit is hit.
    pub fn logs(&self, wanted: &LogQuery, limits: &LogLimits) -> Result<Vec<StoredLog>, StoreError> {
        logs::find(self.tables(), wanted, limits)
    }

    /// Gives a blob.
    pub fn blob(&self, key: B256) -> Result<Option<Vec<u8>>, StoreError> {
        query::blob(self.tables(), key)
    }

    /// Gives the poster's job for a baton.
    pub fn job(&self, baton: &OutPoint) -> Result<Option<Job>, StoreError> {
        query::job(self.tables(), baton)
    }

    /// Gives all of the poster's jobs.
    pub fn jobs(&self) -> Result<Vec<(OutPoint, Job)>, StoreError> {
        query::jobs(self.tables())
    }

    /// Gives what the node keeps beside the chain under a name.
    pub fn extra(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        query::extra(self.tables(), name)
    }
}
