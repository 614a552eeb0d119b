//! What a user's folder remembers of deposits and withdrawals.
//!
//! One redb file, `user.redb`. Table `meta`: `format` = 1 (4 bytes, big-endian) and `deployment`, here the chain's hash (32);
//! `scanned`: the last L2 block whose withdrawals are known (8, big-endian). Table `blocks`: height (u32) -> hash (32), the
//! last 2,016 blocks taken in. Table `deposits`: txid (internal byte order) and index (4, little-endian) -> [`Deposit`] as JSON.
//! Table `requests`: hash of an L2 transaction (32) -> [`Request`] as JSON. Table `withdrawals`: id (u64) -> hash of the
//! L2 transaction that asked for it (32).
//!
//! All of it but transactions that were never broadcast can be had again from the key file, Bitcoin and the node.

use std::collections::BTreeMap;
use std::path::Path;

use alloy_primitives::B256;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint, Txid};
use bitsect_l1::BlockRef;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};
use serde::Serialize;

use super::record::{Deposit, Request};
use crate::committee::Digest;
use crate::identity::{OtherFile, identify};

const FILE: &str = "user.redb";
const FORMAT: u32 = 1;
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<'_, u32, [u8; 32]> = TableDefinition::new("blocks");
const DEPOSITS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("deposits");
const REQUESTS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("requests");
const WITHDRAWALS: TableDefinition<'_, u64, [u8; 32]> = TableDefinition::new("withdrawals");
const SCANNED: &str = "scanned";
/// Blocks kept: as deep as a reorg is followed.
const KEPT_BLOCKS: u32 = 2_016;

/// The user's file failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed. What was written last is not durable.
    #[error("user's file: {0}")]
    Database(#[from] Box<redb::Error>),
    /// It is of another chain, or format.
    #[error("user's file: {0}")]
    Other(#[from] OtherFile),
    /// A row cannot be read.
    #[error("user's file: {table}: {reason}")]
    Row {
        /// The table.
        table: &'static str,
        /// Why.
        reason: String,
    },
    /// A block does not continue what the file knows.
    #[error("user's file: block {block} does not continue the blocks that are known")]
    Gap {
        /// The block.
        block: BlockRef,
    },
}

crate::from_redb!(StoreError);

/// The file. Each call that writes is durable when it returns, or has changed nothing.
#[derive(Debug)]
pub struct UserStore(Database);

/// The deposits table, within a transaction.
pub(super) struct Deposits<'a>(Table<'a, &'static [u8], &'static [u8]>);

fn key(outpoint: &OutPoint) -> [u8; 36] {
    let mut key = [0; 36];
    key[..32].copy_from_slice(outpoint.txid.as_byte_array());
    key[32..].copy_from_slice(&outpoint.vout.to_le_bytes());
    key
}

fn outpoint(key: &[u8]) -> Result<OutPoint, StoreError> {
    bitcoin::consensus::deserialize(key).map_err(|error| row("deposits", &error))
}

fn row(table: &'static str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Row {
        table,
        reason: error.to_string(),
    }
}

fn encode(table: &'static str, value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| row(table, &error))
}

fn decode<T: serde::de::DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| row(table, &error))
}

impl Deposits<'_> {
    pub(super) fn get(&self, outpoint: &OutPoint) -> Result<Option<Deposit>, StoreError> {
        let value = self.0.get(key(outpoint).as_slice())?;
        value.map(|value| decode("deposits", value.value())).transpose()
    }

    pub(super) fn put(&mut self, outpoint: &OutPoint, deposit: &Deposit) -> Result<(), StoreError> {
        let value = encode("deposits", deposit)?;
        self.0.insert(key(outpoint).as_slice(), value.as_slice())?;
        Ok(())
    }

    fn all(&self) -> Result<BTreeMap<OutPoint, Deposit>, StoreError> {
        let mut all = BTreeMap::new();
        for entry in self.0.iter()? {
            let (place, value) = entry?;
            all.insert(outpoint(place.value())?, decode("deposits", value.value())?);
        }
        Ok(all)
    }

    /// Forgets the deposits of a transaction.
    pub(super) fn forget(&mut self, txid: &Txid) -> Result<(), StoreError> {
        let txid = txid.as_byte_array();
        Ok(self.0.retain(|place, _| !place.starts_with(txid))?)
    }

    /// Forgets what was in blocks from a height on.
    fn drop_from(&mut self, height: u32) -> Result<(), StoreError> {
        for (outpoint, mut deposit) in self.all()? {
            let before = deposit.clone();
            deposit.height = deposit.height.filter(|at| *at < height);
            deposit.spend = deposit.spend.filter(|spend| spend.height < height);
            if deposit != before {
                self.put(&outpoint, &deposit)?;
            }
        }
        Ok(())
    }
}

impl UserStore {
    /// Opens the file of a chain in a folder, or makes it. A new one knows no block but `birthday`.
    ///
    /// # Errors
    /// Where it is of another chain, or cannot be used, also because another process has it open.
    pub fn open(folder: &Path, chain: &Digest, birthday: BlockRef) -> Result<Self, StoreError> {
        let database = Database::create(folder.join(FILE))?;
        let write = database.begin_write()?;
        {
            identify::<StoreError>(&mut write.open_table(META)?, FORMAT, chain.as_bytes())?;
            let mut blocks = write.open_table(BLOCKS)?;
            if blocks.last()?.is_none() {
                blocks.insert(birthday.height, birthday.hash.to_byte_array())?;
            }
            write.open_table(DEPOSITS)?;
            write.open_table(REQUESTS)?;
            write.open_table(WITHDRAWALS)?;
        }
        write.commit()?;
        Ok(Self(database))
    }

    /// Gives the blocks taken in, lowest first.
    ///
    /// # Errors
    /// Where the file fails.
    pub fn known(&self) -> Result<Vec<BlockRef>, StoreError> {
        let table = self.0.begin_read()?.open_table(BLOCKS)?;
        let mut known = Vec::new();
        for entry in table.iter()? {
            let (height, hash) = entry?;
            known.push(BlockRef::new(
                height.value(),
                BlockHash::from_byte_array(hash.value()),
            ));
        }
        Ok(known)
    }

    /// Takes in a block, unless it is known. `look` notes what it has of deposits.
    ///
    /// # Errors
    /// [`StoreError::Gap`] when blocks are missing in between; where the file fails.
    pub(super) fn connect(
        &self,
        block: BlockRef,
        previous: BlockHash,
        look: impl FnOnce(&mut Deposits<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let write = self.0.begin_write()?;
        {
            let mut blocks = write.open_table(BLOCKS)?;
            let hash = |blocks: &Table<'_, u32, [u8; 32]>, height: u32| -> Result<_, StoreError> {
                Ok(blocks
                    .get(height)?
                    .map(|hash| BlockHash::from_byte_array(hash.value())))
            };
            if hash(&blocks, block.height)? == Some(block.hash) {
                return Ok(());
            }
            let below = block
                .height
                .checked_sub(1)
                .map(|below| hash(&blocks, below))
                .transpose()?;
            if below.flatten() != Some(previous) {
                return Err(StoreError::Gap { block });
            }
            let mut deposits = Deposits(write.open_table(DEPOSITS)?);
            deposits.drop_from(block.height)?;
            blocks.retain(|height, _| height < block.height)?;
            look(&mut deposits)?;
            blocks.insert(block.height, block.hash.to_byte_array())?;
            blocks.retain(|height, _| height.saturating_add(KEPT_BLOCKS) > block.height)?;
        }
        write.commit()?;
        Ok(())
    }

    /// Takes back the blocks from a height on.
    ///
    /// # Errors
    /// Where the file fails.
    pub(super) fn disconnect(&self, height: u32) -> Result<(), StoreError> {
        let write = self.0.begin_write()?;
        {
            Deposits(write.open_table(DEPOSITS)?).drop_from(height)?;
            write.open_table(BLOCKS)?.retain(|at, _| at < height)?;
        }
        write.commit()?;
        Ok(())
    }

    /// Changes deposits outside of blocks.
    ///
    /// # Errors
    /// Where the file fails.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Deposits<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let write = self.0.begin_write()?;
        let changed = change(&mut Deposits(write.open_table(DEPOSITS)?))?;
        write.commit()?;
        Ok(changed)
    }

    /// Gives all deposits.
    ///
    /// # Errors
    /// Where the file fails.
    pub fn deposits(&self) -> Result<BTreeMap<OutPoint, Deposit>, StoreError> {
        let table = self.0.begin_read()?.open_table(DEPOSITS)?;
        let mut all = BTreeMap::new();
        for entry in table.iter()? {
            let (place, value) = entry?;
            all.insert(outpoint(place.value())?, decode("deposits", value.value())?);
        }
        Ok(all)
    }

    /// Keeps a request before it is sent.
    ///
    /// # Errors
    /// Where the file fails.
    pub fn keep_request(&self, hash: B256, request: &Request) -> Result<(), StoreError> {
        let write = self.0.begin_write()?;
        let value = encode("requests", request)?;
        write.open_table(REQUESTS)?.insert(hash.0, value.as_slice())?;
        write.commit()?;
        Ok(())
    }

    /// Forgets a request that is in a block, or never will be.
    ///
    /// # Errors
    /// Where the file fails.
    pub fn drop_request(&self, hash: B256) -> Result<(), StoreError> {
        let write = self.0.begin_write()?;
        write.open_table(REQUESTS)?.remove(hash.0)?;
        write.commit()?;
        Ok(())
    }

    /// Gives the requests that are kept.
    ///
    /// # Errors
    /// Where the file fails.
    pub fn requests(&self) -> Result<Vec<(B256, Request)>, StoreError> {
        let table = self.0.begin_read()?.open_table(REQUESTS)?;
        let mut all = Vec::new();
        for entry in table.iter()? {
            let (hash, value) = entry?;
            all.push((B256::new(hash.value()), decode("requests", value.value())?));
        }
        Ok(all)
    }

    /// Notes withdrawals that final L2 blocks up to `scanned` have.
    ///
    /// # Errors
    /// Where the file fails.
    pub fn note_withdrawals(&self, found: &[(u64, B256)], scanned: u64) -> Result<(), StoreError> {
        let write = self.0.begin_write()?;
        {
            let mut table = write.open_table(WITHDRAWALS)?;
            for (id, hash) in found {
                table.insert(*id, hash.0)?;
            }
            write
                .open_table(META)?
                .insert(SCANNED, scanned.to_be_bytes().as_slice())?;
        }
        write.commit()?;
        Ok(())
    }

    /// Gives the last L2 block whose withdrawals are known, and these.
    ///
    /// # Errors
    /// Where the file fails.
    pub fn withdrawals(&self) -> Result<(u64, Vec<(u64, B256)>), StoreError> {
        let read = self.0.begin_read()?;
        let scanned = read.open_table(META)?.get(SCANNED)?;
        let scanned = match scanned {
            None => 0,
            Some(bytes) => u64::from_be_bytes(
                bytes
                    .value()
                    .try_into()
                    .map_err(|_| row("meta", &"`scanned` is not 8 bytes"))?,
            ),
        };
        let mut all = Vec::new();
        for entry in read.open_table(WITHDRAWALS)?.iter()? {
            let (id, hash) = entry?;
            all.push((id.value(), B256::new(hash.value())));
        }
        Ok((scanned, all))
    }
}

#[cfg(test)]
mod tests;
