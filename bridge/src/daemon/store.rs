//! What a daemon must not forget: what it has signed and opened, and what Bitcoin said of its slots.
//!
//! One redb file. `signed`: a key path (the deployment's 32 bytes, then slot, pair, step and value, 4 bytes each,
//! big-endian) -> the value; nothing is ever changed or removed. `seen`: slot, height and place in the block (4 bytes each,
//! big-endian) -> the transaction. `blocks`: height -> hash. `pledges`: an output (txid in internal byte order, then its number,
//! 4 bytes, little-endian) -> what we let it be spent for (1 byte), and Bitcoin's height then; never changed, and removed where
//! nothing came of it.
//! `redemptions`: an output that is pledged to a redemption -> the newest transaction that redeems with it. `meta`: `format` = 2,
//! `deployment`.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint, Transaction, consensus};
use bitsect_judge::winternitz::{KeyPath, SignatureStore};
use bitsect_l1::BlockRef;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::identity::{OtherFile, identify};

const SIGNED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("signed");
const SEEN: TableDefinition<'_, (u32, u32, u32), &[u8]> = TableDefinition::new("seen");
const BLOCKS: TableDefinition<'_, u32, &[u8; 32]> = TableDefinition::new("blocks");
const PLEDGES: TableDefinition<'_, &[u8], (u8, u32)> = TableDefinition::new("pledges");
const REDEMPTIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("redemptions");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

const FORMAT: u32 = 2;
/// Blocks that are remembered, and so how deep a reorg can be followed: two weeks.
const REMEMBERED: u32 = 2016;

/// The file.
#[derive(Clone, Debug)]
pub struct DaemonStore(Arc<Database>);

/// A transaction of a slot in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The slot.
    pub slot: u32,
    /// Its place in the block.
    pub index: u32,
    /// The transaction.
    pub transaction: Transaction,
}

/// What a member lets an output be spent for. Of a vault output it is one thing: one that is assigned and moved as well costs the
/// operator a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Pledge {
    /// A deposit: for its accept.
    Accept = 1,
    /// A vault output: to be moved within the vault.
    Move = 2,
    /// A vault output: to be assigned to a slot of ours.
    Assignment = 3,
    /// An output of ours: to redeem credit.
    Redemption = 4,
}

impl Pledge {
    const ALL: [Self; 4] = [Self::Accept, Self::Move, Self::Assignment, Self::Redemption];
}

/// The file failed: nothing is shown that it does not hold.
#[derive(Debug, thiserror::Error)]
pub enum DaemonStoreError {
    /// The database failed.
    #[error("daemon's file: {0}")]
    Database(#[from] Box<redb::Error>),
    /// It is of another deployment, or format.
    #[error("daemon's file: {0}")]
    Other(#[from] OtherFile),
    /// A transaction in it cannot be read.
    #[error("daemon's file: transaction of slot {slot} in block {height}: {error}")]
    Transaction {
        /// The slot.
        slot: u32,
        /// The block.
        height: u32,
        /// What is wrong.
        error: consensus::encode::Error,
    },
    /// An output that was pledged, or a redemption, cannot be read.
    #[error("daemon's file: pledged output, or redemption: {0}")]
    Outpoint(#[from] consensus::encode::Error),
    /// A pledge is none that there is.
    #[error("daemon's file: pledge of {outpoint}: expected 1 to 4, got {got}")]
    Pledge {
        /// Of what.
        outpoint: OutPoint,
        /// What stands there.
        got: u8,
    },
}

crate::from_redb!(DaemonStoreError);

fn key(path: &KeyPath) -> [u8; 48] {
    let mut key = [0; 48];
    let (deployment, rest) = key.split_at_mut(32);
    deployment.copy_from_slice(path.deployment.as_slice());
    let numbers = [path.slot, path.pair, path.step, path.value];
    for (to, number) in rest.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
        *to = number.to_be_bytes();
    }
    key
}

impl DaemonStore {
    /// Opens the file of a deployment, or makes it.
    ///
    /// # Errors
    /// Where it is of another deployment, or cannot be used.
    pub fn open(path: &Path, deployment: B256) -> Result<Self, DaemonStoreError> {
        let database = Database::create(path)?;
        let write = database.begin_write()?;
        {
            identify::<DaemonStoreError>(&mut write.open_table(META)?, FORMAT, &deployment)?;
            write.open_table(SIGNED)?;
            write.open_table(SEEN)?;
            write.open_table(BLOCKS)?;
            write.open_table(PLEDGES)?;
            write.open_table(REDEMPTIONS)?;
        }
        write.commit()?;
        Ok(Self(Arc::new(database)))
    }

    /// Pledges outputs, all or none, at a height of Bitcoin's. Durable when it returns. Gives the first that is pledged to something
    /// else: then nothing changes.
    ///
    /// # Errors
    /// Where the file fails; then nothing is pledged.
    pub fn pledge(
        &self,
        outpoints: &[OutPoint],
        to: Pledge,
        height: u32,
    ) -> Result<Option<(OutPoint, Pledge)>, DaemonStoreError> {
        let write = self.0.begin_write()?;
        // Where it is refused the transaction is dropped, and so undone.
        let refused = pledge_in(&write, outpoints, to, height)?;
        if refused.is_none() {
            write.commit()?;
        }
        Ok(refused)
    }

    /// Pledges an output to a redemption, at a height of Bitcoin's, and keeps the transaction that spends it instead of an earlier
    /// one. Durable when it returns. Gives what the output is pledged to otherwise: then nothing changes.
    ///
    /// # Errors
    /// Where the file fails; then nothing changes.
    pub fn keep_redemption(
        &self,
        outpoint: OutPoint,
        transaction: &Transaction,
        height: u32,
    ) -> Result<Option<Pledge>, DaemonStoreError> {
        let write = self.0.begin_write()?;
        if let Some((_, other)) = pledge_in(&write, &[outpoint], Pledge::Redemption, height)? {
            return Ok(Some(other));
        }
        let (key, bytes) = (consensus::serialize(&outpoint), consensus::serialize(transaction));
        write
            .open_table(REDEMPTIONS)?
            .insert(key.as_slice(), bytes.as_slice())?;
        write.commit()?;
        Ok(None)
    }

    /// Gives the transaction that redeems with an output, where one is kept.
    ///
    /// # Errors
    /// Where the file fails, or does not hold what was written.
    pub fn redemption(&self, outpoint: &OutPoint) -> Result<Option<Transaction>, DaemonStoreError> {
        let table = self.0.begin_read()?.open_table(REDEMPTIONS)?;
        let found = table.get(consensus::serialize(outpoint).as_slice())?;
        let transaction = found.map(|found| consensus::deserialize(found.value()));
        Ok(transaction.transpose()?)
    }

    /// Releases outputs that are pledged to something of which nothing came.
    ///
    /// # Errors
    /// Where the file fails; then nothing is released.
    pub fn release(&self, outpoints: &[OutPoint], from: Pledge) -> Result<(), DaemonStoreError> {
        let write = self.0.begin_write()?;
        {
            let mut table = write.open_table(PLEDGES)?;
            for outpoint in outpoints {
                let key = consensus::serialize(outpoint);
                let found = table.get(key.as_slice())?.map(|found| found.value().0);
                if found == Some(from as u8) {
                    table.remove(key.as_slice())?;
                }
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Gives what an output is pledged to.
    ///
    /// # Errors
    /// Where the file fails, or does not hold what was written.
    pub fn pledged(&self, outpoint: &OutPoint) -> Result<Option<Pledge>, DaemonStoreError> {
        Ok(self.pledged_at(outpoint)?.map(|(pledge, _)| pledge))
    }

    /// Gives what an output is pledged to, and Bitcoin's height when it was.
    ///
    /// # Errors
    /// Where the file fails, or does not hold what was written.
    pub fn pledged_at(&self, outpoint: &OutPoint) -> Result<Option<(Pledge, u32)>, DaemonStoreError> {
        let table = self.0.begin_read()?.open_table(PLEDGES)?;
        let Some(found) = table.get(consensus::serialize(outpoint).as_slice())? else {
            return Ok(None);
        };
        let (got, height) = found.value();
        Ok(Some((pledge(outpoint, got)?, height)))
    }

    /// Gives all outputs that are pledged to something.
    ///
    /// # Errors
    /// Where the file fails, or does not hold what was written.
    pub fn all_pledged(&self, to: Pledge) -> Result<Vec<OutPoint>, DaemonStoreError> {
        let table = self.0.begin_read()?.open_table(PLEDGES)?;
        let mut found = Vec::new();
        for row in table.iter()? {
            let (key, got) = row?;
            let outpoint: OutPoint = consensus::deserialize(key.value())?;
            if pledge(&outpoint, got.value().0)? == to {
                found.push(outpoint);
            }
        }
        Ok(found)
    }

    /// Gives the blocks that were looked at, lowest first.
    ///
    /// # Errors
    /// Where the file fails.
    pub fn blocks(&self) -> Result<Vec<BlockRef>, DaemonStoreError> {
        let read = self.0.begin_read()?;
        let table = read.open_table(BLOCKS)?;
        let mut blocks = Vec::new();
        for row in table.iter()? {
            let (height, hash) = row?;
            blocks.push(BlockRef::new(
                height.value(),
                BlockHash::from_byte_array(*hash.value()),
            ));
        }
        Ok(blocks)
    }

    /// Gives all transactions of slots, in the order of the chain, with their heights.
    ///
    /// # Errors
    /// Where the file fails, or does not hold what was written.
    pub fn seen(&self) -> Result<Vec<(u32, Seen)>, DaemonStoreError> {
        let read = self.0.begin_read()?;
        let table = read.open_table(SEEN)?;
        let mut seen = Vec::new();
        for row in table.iter()? {
            let (key, bytes) = row?;
            let (slot, height, index) = key.value();
            let transaction = consensus::deserialize(bytes.value());
            let transaction =
                transaction.map_err(|error| DaemonStoreError::Transaction { slot, height, error })?;
            seen.push((
                height,
                Seen {
                    slot,
                    index,
                    transaction,
                },
            ));
        }
        seen.sort_by_key(|(height, seen)| (*height, seen.index));
        Ok(seen)
    }

    /// Adds a block with the transactions of slots in it.
    ///
    /// # Errors
    /// Where the file fails; then nothing is added.
    pub fn connect(&self, at: BlockRef, seen: &[Seen]) -> Result<(), DaemonStoreError> {
        let write = self.0.begin_write()?;
        {
            let mut table = write.open_table(SEEN)?;
            for seen in seen {
                let bytes = consensus::serialize(&seen.transaction);
                table.insert((seen.slot, at.height, seen.index), bytes.as_slice())?;
            }
            let mut blocks = write.open_table(BLOCKS)?;
            blocks.insert(at.height, at.hash.as_byte_array())?;
            blocks.retain_in(..at.height.saturating_sub(REMEMBERED), |_, _| false)?;
        }
        write.commit()?;
        Ok(())
    }

    /// Forgets blocks from a height on, and the transactions in them.
    ///
    /// # Errors
    /// Where the file fails; then nothing is forgotten.
    pub fn disconnect(&self, height: u32) -> Result<(), DaemonStoreError> {
        let write = self.0.begin_write()?;
        {
            let mut seen = write.open_table(SEEN)?;
            seen.retain(|(_, at, _), _| at < height)?;
            let mut blocks = write.open_table(BLOCKS)?;
            blocks.retain_in(height.., |_, _| false)?;
        }
        write.commit()?;
        Ok(())
    }
}

/// Pledges outputs, not durably yet; gives the first that is pledged to something else.
fn pledge_in(
    write: &WriteTransaction,
    outpoints: &[OutPoint],
    to: Pledge,
    height: u32,
) -> Result<Option<(OutPoint, Pledge)>, DaemonStoreError> {
    let mut table = write.open_table(PLEDGES)?;
    for outpoint in outpoints {
        let key = consensus::serialize(outpoint);
        let found = table.get(key.as_slice())?.map(|found| found.value().0);
        match found.map(|found| pledge(outpoint, found)).transpose()? {
            Some(other) if other != to => return Ok(Some((*outpoint, other))),
            Some(_) => {}
            None => drop(table.insert(key.as_slice(), (to as u8, height))?),
        }
    }
    Ok(None)
}

fn pledge(outpoint: &OutPoint, got: u8) -> Result<Pledge, DaemonStoreError> {
    let found = Pledge::ALL.into_iter().find(|pledge| *pledge as u8 == got);
    let outpoint = *outpoint;
    found.ok_or(DaemonStoreError::Pledge { outpoint, got })
}

impl SignatureStore for DaemonStore {
    type Error = DaemonStoreError;

    fn first(&mut self, path: &KeyPath, value: &[u8]) -> Result<Vec<u8>, Self::Error> {
        let write = self.0.begin_write()?;
        let first = {
            let mut table = write.open_table(SIGNED)?;
            let found = table
                .get(key(path).as_slice())?
                .map(|found| found.value().to_vec());
            match found {
                Some(found) => found,
                None => {
                    table.insert(key(path).as_slice(), value)?;
                    value.to_vec()
                }
            }
        };
        write.commit()?;
        Ok(first)
    }
}

#[cfg(test)]
mod tests;
