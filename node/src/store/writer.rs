//! One write: what may be changed, and the checks that keep docs/store.md's invariants.

use alloy_consensus::TxReceipt;
use alloy_consensus::constants::KECCAK_EMPTY;
use alloy_primitives::{Address, B256, Bytes, U256};
use bitsect_vm::chain::{OutPoint, Transaction};
use bitsect_vm::state::{Account, AccountChange, Node, NodePath, NodeReader, StateChanges, StateReader};
use redb::{ReadableTable, WriteTransaction};
use std::collections::BTreeSet;

use super::db::FORMAT_VERSION;
use super::tables::{View, WriteTables};
use super::tree::PageReader;
use super::types::{
    BatchRecord, BlockRef, Genesis, Head, Identity, Job, JobPut, L1Block, NewBlock, StoredHeader, UnitRecord,
};
use super::{StoreError, query, rows, tree};
use crate::invariant::{Flow, Supply};

/// The inside of one write transaction. It reads its own writes: as [`StateReader`] the newest state, as
/// [`NodeReader`] the newest tree, so that several blocks can be executed and appended in one write.
pub struct Writer<'t> {
    pub(super) tables: WriteTables<'t>,
    pub(super) pages: PageReader,
    /// Set when a step failed half-way: nothing of this write may be committed.
    pub(super) failed: bool,
}

impl<'t> Writer<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            tables: WriteTables::open(txn)?,
            pages: PageReader::new(),
            failed: false,
        })
    }

    pub(super) fn put_genesis(&mut self, identity: &Identity, genesis: &Genesis) -> Result<(), StoreError> {
        let block = &genesis.block;
        expect(0, "number", 0, block.header.number)?;
        self.tables
            .meta
            .insert("format", FORMAT_VERSION.to_be_bytes().as_slice())?;
        self.tables
            .meta
            .insert("chain_id", identity.chain_id.to_be_bytes().as_slice())?;
        self.tables
            .meta
            .insert("genesis", identity.genesis_hash.as_slice())?;
        self.tables
            .meta
            .insert("params", identity.params_hash.as_slice())?;
        for name in ["safe", "finalized", "history"] {
            self.tables.meta.insert(name, 0u64.to_be_bytes().as_slice())?;
        }
        let supply = Supply {
            total: Flow::of(&block.changes, &[]).gained,
            burnt: U256::ZERO,
        };
        let amount = supply.total.to_be_bytes::<32>();
        self.tables.meta.insert("genesis_supply", amount.as_slice())?;
        self.put_supply(0, &supply)?;
        self.put_block(block)?;
        self.put_unit(0, genesis.chain_state, &genesis.encoded_chain_state, Some(0))?;
        let l1 = L1Block {
            height: block.l1_origin.height,
            hash: block.l1_origin.hash,
            units: 0,
        };
        self.put_l1_block(&l1, &genesis.encoded_chain_state)
    }

    /// Appends a block to the chain, its changes to the flat state, and its nodes to the tree.
    ///
    /// # Errors
    ///
    /// [`StoreError::Block`] when the block is not the latest one's child or does not fit itself,
    /// [`StoreError::StateMismatch`] when it was not executed on the stored state.
    pub fn append_block(&mut self, block: &NewBlock) -> Result<(), StoreError> {
        let parent = query::latest(&self.tables)?;
        let number = block.header.number;
        expect(number, "number", parent.number + 1, number)?;
        expect(number, "parent hash", parent.hash, block.header.parent_hash)?;
        self.failed = true;
        self.put_block(block)?;
        self.put_changes(number, &block.changes)?;
        let flow = Flow::of(&block.changes, block.inbox());
        let supply = query::must_supply(&self.tables, parent.number)?.after(&flow);
        self.put_supply(number, &supply)?;
        self.failed = false;
        Ok(())
    }

    /// Writes a block's rows and the newest state.
    fn put_block(&mut self, block: &NewBlock) -> Result<(), StoreError> {
        verify_block(block)?;
        let number = block.header.number;
        let key = number.to_be_bytes();
        let header = rows::put_header(
            block.hash,
            block.l1_origin.height,
            block.inbox_count,
            &block.header,
        );
        self.tables.headers.insert(&key, header.as_slice())?;
        self.tables.numbers.insert(&block.hash.0, key.as_slice())?;
        let body = rows::put_body(&block.transactions, &block.senders);
        self.tables.bodies.insert(&key, body.as_slice())?;
        let receipts = rows::put_receipts(&block.receipts, &block.l1_fees);
        self.tables.receipts.insert(&key, receipts.as_slice())?;
        let hashes = block.transactions.iter().map(|transaction| transaction.tx_hash());
        let mut hashes: Vec<(B256, u32)> = hashes.zip(0..).collect();
        // In key order, neighbours in the file are changed together.
        hashes.sort_unstable();
        for (hash, index) in hashes {
            let place = rows::put_place(number, index);
            self.tables.transactions.insert(&hash.0, place.as_slice())?;
        }
        let logs = block.receipts.iter().flat_map(TxReceipt::logs);
        for address in logs.map(|log| log.address).collect::<BTreeSet<_>>() {
            let key = rows::address_block_key(address, number);
            self.tables.log_addresses.insert(&key, [].as_slice())?;
        }
        self.apply_state(number, &block.changes)?;
        self.apply_tree(&block.tree.nodes)
    }

    /// Writes all balances after a block.
    fn put_supply(&mut self, number: u64, supply: &Supply) -> Result<(), StoreError> {
        let row = rows::put_supply(supply);
        self.tables.supply.insert(&number.to_be_bytes(), row.as_slice())?;
        Ok(())
    }

    /// Writes a block's change set and the history index.
    fn put_changes(&mut self, number: u64, changes: &StateChanges) -> Result<(), StoreError> {
        let (row, places) = rows::put_changes(changes.accounts.iter())
            .map_err(|(address, balance)| StoreError::Balance { address, balance })?;
        self.tables
            .changes
            .insert(&number.to_be_bytes(), row.as_slice())?;
        for (address, offset) in places.accounts {
            let key = rows::address_block_key(address, number);
            self.tables
                .account_history
                .insert(&key, offset.to_be_bytes().as_slice())?;
        }
        for (address, slot, offset) in places.slots {
            let key = rows::slot_block_key(address, slot, number);
            self.tables
                .storage_history
                .insert(&key, offset.to_be_bytes().as_slice())?;
        }
        Ok(())
    }

    /// Moves the flat state from every `before` to its `after`, and checks the `before`.
    pub(super) fn apply_state(&mut self, number: u64, changes: &StateChanges) -> Result<(), StoreError> {
        let mut row = Vec::new();
        for (&address, change) in &changes.accounts {
            if change.before != change.after {
                self.apply_account(number, address, change, &mut row)?;
            }
            for (&slot, &(before, after)) in &change.storage {
                let key = rows::slot_key(address, slot);
                let old = if after.is_zero() {
                    self.tables.storage.remove(&key)?
                } else {
                    self.tables
                        .storage
                        .insert(&key, after.to_be_bytes::<32>().as_slice())?
                };
                let old = old.map_or(Ok(U256::ZERO), |row| rows::value(row.value()));
                if old.as_ref() != Ok(&before) {
                    let field =
                        format!("slot {slot:#x}: the change says {before:#x}, the store has {old:x?}");
                    return Err(StoreError::StateMismatch {
                        number,
                        address,
                        field,
                    });
                }
            }
        }
        Ok(())
    }

    fn apply_account(
        &mut self,
        number: u64,
        address: Address,
        change: &AccountChange,
        row: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let old = match &change.after {
            None => self.tables.accounts.remove(&address.0.0)?,
            Some(account) => {
                row.clear();
                rows::put_account(account, row).ok_or(StoreError::Balance {
                    address,
                    balance: account.balance,
                })?;
                self.tables.accounts.insert(&address.0.0, row.as_slice())?
            }
        };
        let old = old.map(|row| rows::account(row.value())).transpose();
        if old.as_ref() != Ok(&change.before) {
            let field = format!(
                "fields: the change says {:?}, the store has {old:?}",
                change.before
            );
            return Err(StoreError::StateMismatch {
                number,
                address,
                field,
            });
        }
        drop(old);
        self.put_code(number, address, change)
    }

    fn put_code(&mut self, number: u64, address: Address, change: &AccountChange) -> Result<(), StoreError> {
        let Some(after) = change.after.filter(|after| after.code_hash != KECCAK_EMPTY) else {
            return Ok(());
        };
        if change.before.map(|before| before.code_hash) == Some(after.code_hash) {
            return Ok(());
        }
        match &change.code {
            Some(code) => {
                self.tables.code.insert(&after.code_hash.0, code.as_ref())?;
            }
            None if self.tables.code.get(&after.code_hash.0)?.is_some() => {}
            None => {
                let field = format!("the change does not bring code {}", after.code_hash);
                return Err(StoreError::StateMismatch {
                    number,
                    address,
                    field,
                });
            }
        }
        Ok(())
    }

    pub(super) fn apply_tree(&mut self, nodes: &[(NodePath, Option<Node>)]) -> Result<(), StoreError> {
        self.pages = PageReader::new();
        tree::apply(&mut self.tables.tree, nodes)
    }

    /// Sets the safe head.
    ///
    /// # Errors
    ///
    /// [`StoreError::Heads`] when `finalized <= safe <= latest` would not hold.
    pub fn set_safe(&mut self, number: u64) -> Result<(), StoreError> {
        let finalized = query::meta_number(&self.tables, "finalized")?;
        let latest = query::latest(&self.tables)?.number;
        if number < finalized || number > latest {
            return Err(StoreError::Heads {
                head: "safe",
                number,
                finalized,
                safe: number,
                latest,
            });
        }
        self.put_head("safe", number)
    }

    /// Sets the finalized head.
    ///
    /// # Errors
    ///
    /// [`StoreError::Heads`] when it would fall, or `finalized <= safe` would not hold.
    pub fn set_finalized(&mut self, number: u64) -> Result<(), StoreError> {
        let finalized = query::meta_number(&self.tables, "finalized")?;
        let safe = query::meta_number(&self.tables, "safe")?;
        if number < finalized || number > safe {
            let latest = query::latest(&self.tables)?.number;
            return Err(StoreError::Heads {
                head: "finalized",
                number,
                finalized,
                safe,
                latest,
            });
        }
        self.put_head("finalized", number)
    }

    pub(super) fn put_head(&mut self, name: &'static str, number: u64) -> Result<(), StoreError> {
        self.tables.meta.insert(name, number.to_be_bytes().as_slice())?;
        Ok(())
    }

    /// Records a unit: its number, the chain state after it, and the L2 block that it executed (`None` for a unit
    /// that consumed an L1 block).
    ///
    /// # Errors
    ///
    /// [`StoreError::Sequence`] when the unit or its block does not follow the last one,
    /// [`StoreError::NoBlock`] when the block is not appended yet.
    pub fn push_unit(
        &mut self,
        unit: u64,
        chain_state: B256,
        encoded_chain_state: &[u8],
        block: Option<u64>,
    ) -> Result<(), StoreError> {
        let (last, _) = query::last_unit(&self.tables)?;
        follows("unit", last + 1, unit)?;
        if let Some(number) = block {
            let latest = query::latest(&self.tables)?.number;
            if number > latest {
                return Err(StoreError::NoBlock { number, latest });
            }
            follows("block of a unit", self.last_unit_block()? + 1, number)?;
        }
        self.put_unit(unit, chain_state, encoded_chain_state, block)
    }

    fn put_unit(
        &mut self,
        unit: u64,
        chain_state: B256,
        encoded_chain_state: &[u8],
        block: Option<u64>,
    ) -> Result<(), StoreError> {
        let row = rows::put_unit(&UnitRecord { chain_state, block });
        self.tables.units.insert(&unit.to_be_bytes(), row.as_slice())?;
        if let Some(number) = block {
            self.tables
                .block_units
                .insert(&number.to_be_bytes(), unit.to_be_bytes().as_slice())?;
        }
        self.tables.meta.insert("chain_state", encoded_chain_state)?;
        Ok(())
    }

    /// The last block that has a unit.
    pub(super) fn last_unit_block(&self) -> Result<u64, StoreError> {
        let row = self.tables.block_units.last()?.ok_or(StoreError::Empty)?;
        Ok(u64::from_be_bytes(*row.0.value()))
    }

    /// Records that an L1 block is processed: everything that derivation makes of it is in the store.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sequence`] when the height does not follow the last one, or `units` is not the last unit.
    pub fn push_l1_block(&mut self, block: &L1Block, encoded_chain_state: &[u8]) -> Result<(), StoreError> {
        let last = query::last_l1_block(&self.tables)?;
        follows("L1 height", u64::from(last.height) + 1, u64::from(block.height))?;
        follows(
            "units after an L1 block",
            query::last_unit(&self.tables)?.0,
            block.units,
        )?;
        self.put_l1_block(block, encoded_chain_state)
    }

    fn put_l1_block(&mut self, block: &L1Block, encoded_chain_state: &[u8]) -> Result<(), StoreError> {
        let key = block.height.to_be_bytes();
        self.tables
            .l1_blocks
            .insert(&key, rows::put_l1_block(block).as_slice())?;
        self.tables.l1_states.insert(&key, encoded_chain_state)?;
        Ok(())
    }

    /// Records a batch that took effect.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sequence`] when it overlaps an earlier batch or its L1 height is lower.
    pub fn put_batch(&mut self, batch: &BatchRecord) -> Result<(), StoreError> {
        if batch.last_block < batch.first_block {
            follows("last block of a batch", batch.first_block, batch.last_block)?;
        }
        if let Some(last) = query::batches_down(&self.tables, u64::MAX, 1)?.pop() {
            if batch.first_block <= last.last_block {
                follows("first block of a batch", last.last_block + 1, batch.first_block)?;
            }
            if batch.l1_height < last.l1_height {
                follows(
                    "L1 height of a batch",
                    u64::from(last.l1_height),
                    u64::from(batch.l1_height),
                )?;
            }
        }
        let row = rows::put_batch(batch);
        self.tables
            .batches
            .insert(&batch.first_block.to_be_bytes(), row.as_slice())?;
        Ok(())
    }

    /// Stores a blob; the same key again replaces it.
    pub fn put_blob(&mut self, key: B256, bytes: &[u8]) -> Result<(), StoreError> {
        self.tables.blobs.insert(&key.0, bytes)?;
        Ok(())
    }

    /// Deletes a blob; tells whether it was there.
    pub fn delete_blob(&mut self, key: B256) -> Result<bool, StoreError> {
        Ok(self.tables.blobs.remove(&key.0)?.is_some())
    }

    /// Stores the poster's job for a baton, before anything of it is broadcast.
    ///
    /// # Errors
    ///
    /// [`StoreError::JobConflict`] when another job is stored: one baton has one batch, ever.
    pub fn put_job(&mut self, baton: &OutPoint, payload: &[u8]) -> Result<JobPut, StoreError> {
        let key = rows::outpoint_key(baton);
        if let Some(old) = self.tables.jobs.get(&key)? {
            let same = old.value() == payload;
            return if same {
                Ok(JobPut::Same)
            } else {
                Err(StoreError::JobConflict { baton: *baton })
            };
        }
        self.tables.jobs.insert(&key, payload)?;
        Ok(JobPut::New)
    }

    /// Replaces how far a job is; tells whether there is such a job.
    pub fn set_job_state(&mut self, baton: &OutPoint, state: &[u8]) -> Result<bool, StoreError> {
        let key = rows::outpoint_key(baton);
        if self.tables.jobs.get(&key)?.is_none() {
            return Ok(false);
        }
        self.tables.job_states.insert(&key, state)?;
        Ok(true)
    }

    /// Deletes a job; tells whether it was there. Only for a baton whose spend is final on Bitcoin: nothing else keeps
    /// the poster from making a second batch for it.
    pub fn delete_job(&mut self, baton: &OutPoint) -> Result<bool, StoreError> {
        let key = rows::outpoint_key(baton);
        self.tables.job_states.remove(&key)?;
        Ok(self.tables.jobs.remove(&key)?.is_some())
    }

    /// Stores what the node keeps beside the chain under a name.
    pub fn put_extra(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.tables.extra.insert(name, bytes)?;
        Ok(())
    }

    /// Deletes what is kept under a name; tells whether it was there.
    pub fn delete_extra(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(self.tables.extra.remove(name)?.is_some())
    }

    /// Gives one of the chain's heads.
    pub fn head(&self, head: Head) -> Result<BlockRef, StoreError> {
        query::head(&self.tables, head)
    }

    /// Gives a block's header; `None` above the latest.
    pub fn header(&self, number: u64) -> Result<Option<StoredHeader>, StoreError> {
        query::header(&self.tables, number)
    }

    /// Gives a block's transactions with their senders; `None` above the latest.
    pub fn body(&self, number: u64) -> Result<Option<Vec<(Address, Transaction)>>, StoreError> {
        query::body(&self.tables, number)
    }

    /// Gives all balances after a block; `None` where its state is not held.
    pub fn supply(&self, number: u64) -> Result<Option<Supply>, StoreError> {
        query::supply(&self.tables, number)
    }

    /// Gives all balances at genesis, in wei.
    pub fn genesis_supply(&self) -> Result<U256, StoreError> {
        query::genesis_supply(&self.tables)
    }

    /// Gives a unit; `None` above the last one.
    pub fn unit(&self, unit: u64) -> Result<Option<UnitRecord>, StoreError> {
        query::unit(&self.tables, unit)
    }

    /// Gives the last unit: number and record.
    pub fn last_unit(&self) -> Result<(u64, UnitRecord), StoreError> {
        query::last_unit(&self.tables)
    }

    /// Gives the encoded chain state after the last unit.
    pub fn encoded_chain_state(&self) -> Result<Vec<u8>, StoreError> {
        query::encoded_chain_state(&self.tables)
    }

    /// Gives a processed L1 block.
    pub fn l1_block(&self, height: u32) -> Result<Option<L1Block>, StoreError> {
        query::l1_block(&self.tables, height)
    }

    /// Gives the last processed L1 block.
    pub fn last_l1_block(&self) -> Result<L1Block, StoreError> {
        query::last_l1_block(&self.tables)
    }

    /// Gives a blob.
    pub fn blob(&self, key: B256) -> Result<Option<Vec<u8>>, StoreError> {
        query::blob(&self.tables, key)
    }

    /// Gives the poster's job for a baton.
    pub fn job(&self, baton: &OutPoint) -> Result<Option<Job>, StoreError> {
        query::job(&self.tables, baton)
    }

    /// Gives what the node keeps beside the chain under a name.
    pub fn extra(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        query::extra(&self.tables, name)
    }
}

impl StateReader for Writer<'_> {
    type Error = StoreError;

    fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        query::account(&self.tables, address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        query::storage(&self.tables, address, slot)
    }

    fn code(&self, _address: Address, code_hash: B256) -> Result<Bytes, StoreError> {
        query::code(&self.tables, code_hash)
    }
}

impl NodeReader for Writer<'_> {
    type Error = StoreError;

    fn node(&self, path: &NodePath, _hash: &B256) -> Result<Node, StoreError> {
        self.pages.node(self.tables.tree(), path)
    }
}

/// Checks what can be checked of a block without its parent.
fn verify_block(block: &NewBlock) -> Result<(), StoreError> {
    let number = block.header.number;
    expect(number, "hash", block.header.hash_slow(), block.hash)?;
    let count = block.transactions.len();
    expect(number, "senders", count, block.senders.len())?;
    expect(number, "receipts", count, block.receipts.len())?;
    expect(number, "L1 fees", count, block.l1_fees.len())?;
    expect(number, "state root", block.header.state_root, block.tree.root)?;
    let origin = block.header.parent_beacon_block_root.unwrap_or_default();
    expect(number, "parent_beacon_block_root", block.l1_origin.hash, origin)
}

fn expect<T: PartialEq + std::fmt::Display>(
    number: u64,
    field: &'static str,
    expected: T,
    got: T,
) -> Result<(), StoreError> {
    if expected == got {
        return Ok(());
    }
    Err(StoreError::Block {
        number,
        field,
        expected: expected.to_string(),
        got: got.to_string(),
    })
}

fn follows(what: &'static str, expected: u64, got: u64) -> Result<(), StoreError> {
    if expected == got {
        return Ok(());
    }
    Err(StoreError::Sequence {
        what,
        expected: expected.to_string(),
        got: got.to_string(),
    })
}
