//! Taking back blocks and units.

use alloy_primitives::Address;
use bitsect_vm::chain::Transaction;
use bitsect_vm::state::update;

use super::tables::{View, last, must};
use super::tree::{PageReader, TableTree};
use super::types::{BlockRef, Head, L1Rollback, RemovedBlock};
use super::{StoreError, Writer, history, query, rows};

/// Changed keys after which a rollback applies what it has collected: it bounds memory, not the rollback.
const KEYS_PER_STEP: usize = 200_000;

impl Writer<'_> {
    /// Takes back all blocks above `number`: state, tree and indexes are then as they were after it. Gives the
    /// removed blocks with their transactions, lowest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::BelowHead`] when a block above `number` is safe or has a unit (take the units back first, by
    /// [`Self::rollback_l1_to`]), [`StoreError::StateNotHeld`] when the change sets are pruned.
    pub fn rollback_latest_to(&mut self, number: u64) -> Result<Vec<RemovedBlock>, StoreError> {
        let latest = query::latest(&self.tables)?.number;
        if number > latest {
            return Err(StoreError::NoBlock { number, latest });
        }
        let safe = query::head_number(&self.tables, Head::Safe)?.max(self.last_unit_block()?);
        if number < safe {
            return Err(StoreError::BelowHead {
                number,
                bound: safe,
                head: "safe",
            });
        }
        let first = query::meta_number(&self.tables, "history")?;
        if number < first {
            return Err(StoreError::StateNotHeld {
                number,
                first,
                last: latest,
            });
        }
        self.failed = true;
        let mut removed = Vec::new();
        let mut at = latest;
        while at > number {
            at = self.rollback_state(at, number)?;
            while removed.len() as u64 + at < latest {
                removed.push(self.remove_block(latest - removed.len() as u64)?);
            }
        }
        removed.reverse();
        self.failed = false;
        Ok(removed)
    }

    /// Takes state and tree back from block `latest` towards `to`; gives the block that was reached.
    fn rollback_state(&mut self, latest: u64, to: u64) -> Result<u64, StoreError> {
        let (changes, reached) = history::reversed(&self.tables, latest, to, KEYS_PER_STEP)?;
        let root = query::must_header(&self.tables, latest)?.header.state_root;
        let tree = TableTree {
            table: self.tables.tree(),
            pages: PageReader::new(),
        };
        let older = update(root, &changes, &tree).map_err(|error| StoreError::Tree(error.to_string()))?;
        drop(tree);
        let expected = query::must_header(&self.tables, reached)?.header.state_root;
        history::check_root(reached, expected, older.root)?;
        self.apply_state(reached, &changes)?;
        self.apply_tree(&older.nodes)?;
        Ok(reached)
    }

    /// Removes a block's rows, which must be the newest one's.
    fn remove_block(&mut self, number: u64) -> Result<RemovedBlock, StoreError> {
        let key = number.to_be_bytes();
        let header = query::must_header(&self.tables, number)?;
        let transactions: Vec<(Address, Transaction)> =
            must(&self.tables.bodies, "bodies", &key, rows::body)?;
        for (_, transaction) in &transactions {
            self.tables.transactions.remove(&transaction.tx_hash().0)?;
        }
        let receipts = query::receipts(&self.tables, number)?.unwrap_or_default();
        for log in receipts
            .iter()
            .flat_map(|stored| alloy_consensus::TxReceipt::logs(&stored.receipt))
        {
            self.tables
                .log_addresses
                .remove(&rows::address_block_key(log.address, number))?;
        }
        self.remove_changes(number)?;
        self.tables.supply.remove(&key)?;
        self.tables.receipts.remove(&key)?;
        self.tables.bodies.remove(&key)?;
        self.tables.numbers.remove(&header.hash.0)?;
        self.tables.headers.remove(&key)?;
        Ok(RemovedBlock { header, transactions })
    }

    /// Removes a block's change set with its rows in the history index; gives how many rows.
    pub(super) fn remove_changes(&mut self, number: u64) -> Result<u64, StoreError> {
        let key = number.to_be_bytes();
        let mut rows = 1;
        for change in must(&self.tables.changes, "changes", &key, rows::changes)? {
            if change.account.is_some() {
                self.tables
                    .account_history
                    .remove(&rows::address_block_key(change.address, number))?;
                rows += 1;
            }
            for (slot, _) in change.storage {
                self.tables
                    .storage_history
                    .remove(&rows::slot_block_key(change.address, slot, number))?;
                rows += 1;
            }
        }
        self.tables.changes.remove(&key)?;
        Ok(rows)
    }

    /// Takes the derived chain back to the state after L1 block `height`: units, L1 blocks and batches above it are
    /// removed, and the safe head falls to the last block that still has a unit. Blocks stay: they are
    /// sequenced only, now, and [`Self::rollback_latest_to`] takes back those that derive differently.
    ///
    /// # Errors
    ///
    /// [`StoreError::L1NotHeld`] when the chain state there is not held, [`StoreError::BelowHead`] when a finalized
    /// block would lose its unit.
    pub fn rollback_l1_to(&mut self, height: u32) -> Result<L1Rollback, StoreError> {
        let encoded_chain_state = query::l1_state(&self.tables, height)?;
        let l1 = must(
            &self.tables.l1_blocks,
            "l1_blocks",
            &height.to_be_bytes(),
            |row| rows::l1_block(height, row),
        )?;
        self.failed = true;
        self.remove_units_above(l1.units)?;
        let safe = self.last_unit_block()?;
        let finalized = query::meta_number(&self.tables, "finalized")?;
        if safe < finalized {
            return Err(StoreError::BelowHead {
                number: safe,
                bound: finalized,
                head: "finalized",
            });
        }
        while let Some((key, ())) = last(&self.tables.l1_blocks, "l1_blocks", |_| Ok(()))? {
            let last = u32::from_be_bytes(key);
            if last <= height {
                break;
            }
            self.undo_vault_moves(last)?;
            self.tables.l1_blocks.remove(&key)?;
            self.tables.l1_states.remove(&key)?;
        }
        while let Some(batch) = query::batches_down(&self.tables, u64::MAX, 1)?.pop() {
            if batch.l1_height <= height {
                break;
            }
            self.tables.batches.remove(&batch.first_block.to_be_bytes())?;
        }
        self.tables
            .meta
            .insert("chain_state", encoded_chain_state.as_slice())?;
        let safe = safe.min(query::meta_number(&self.tables, "safe")?);
        self.put_head("safe", safe)?;
        let hash = must(
            &self.tables.headers,
            "headers",
            &safe.to_be_bytes(),
            rows::header_hash,
        )?;
        self.failed = false;
        Ok(L1Rollback {
            l1,
            encoded_chain_state,
            safe: BlockRef { number: safe, hash },
        })
    }

    fn remove_units_above(&mut self, units: u64) -> Result<(), StoreError> {
        loop {
            let (last, unit) = query::last_unit(&self.tables)?;
            if last <= units {
                return Ok(());
            }
            if let Some(block) = unit.block {
                self.tables.block_units.remove(&block.to_be_bytes())?;
            }
            self.tables.units.remove(&last.to_be_bytes())?;
        }
    }
}
