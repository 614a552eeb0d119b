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
mod tests {
    use super::*;

    fn path(value: u32) -> KeyPath {
        KeyPath {
            deployment: B256::repeat_byte(1),
            slot: 2,
            pair: 3,
            step: 4,
            value,
        }
    }

    #[test]
    fn the_first_value_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("daemon.redb");
        let deployment = B256::repeat_byte(1);
        let mut store = DaemonStore::open(&file, deployment).unwrap();
        assert_eq!(store.first(&path(1), b"one").unwrap(), b"one");
        assert_eq!(store.first(&path(1), b"two").unwrap(), b"one");
        drop(store);
        let mut store = DaemonStore::open(&file, deployment).unwrap();
        assert_eq!(store.first(&path(1), b"two").unwrap(), b"one");
        assert_eq!(store.first(&path(2), b"two").unwrap(), b"two");
        drop(store);
        let other = DaemonStore::open(&file, B256::repeat_byte(2)).unwrap_err();
        assert!(matches!(
            other,
            DaemonStoreError::Other(OtherFile {
                field: "deployment",
                ..
            })
        ));
    }

    #[test]
    fn a_pledge_stays_and_is_for_all_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("daemon.redb");
        let [one, two] = [1, 2].map(|vout| OutPoint::new(bitcoin::Txid::from_byte_array([7; 32]), vout));
        let store = DaemonStore::open(&file, B256::ZERO).unwrap();
        assert_eq!(store.pledge(&[two], Pledge::Assignment, 7).unwrap(), None);
        let refused = store.pledge(&[one, two], Pledge::Move, 7).unwrap();
        assert_eq!(refused, Some((two, Pledge::Assignment)));
        assert_eq!(store.pledged(&one).unwrap(), None);
        assert_eq!(store.pledge(&[one], Pledge::Move, 7).unwrap(), None);
        // The first time counts.
        assert_eq!(store.pledge(&[one], Pledge::Move, 9).unwrap(), None);
        assert_eq!(store.pledged_at(&one).unwrap(), Some((Pledge::Move, 7)));
        drop(store);
        let store = DaemonStore::open(&file, B256::ZERO).unwrap();
        let refused = store.pledge(&[one], Pledge::Assignment, 7).unwrap();
        assert_eq!(refused, Some((one, Pledge::Move)));
        assert_eq!(store.pledged(&two).unwrap(), Some(Pledge::Assignment));
        assert_eq!(store.all_pledged(Pledge::Move).unwrap(), [one]);
        assert_eq!(store.all_pledged(Pledge::Redemption).unwrap(), []);
    }

    fn transaction(outputs: usize) -> Transaction {
        Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: vec![bitcoin::TxIn::default()],
            output: vec![bitcoin::TxOut::NULL; outputs],
        }
    }

    #[test]
    fn a_pledge_is_released_where_it_is_that() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = [1, 2].map(|vout| OutPoint::new(bitcoin::Txid::from_byte_array([7; 32]), vout));
        let store = DaemonStore::open(&dir.path().join("daemon.redb"), B256::ZERO).unwrap();
        store.pledge(&[one], Pledge::Assignment, 7).unwrap();
        store.pledge(&[two], Pledge::Move, 7).unwrap();
        store.release(&[one, two], Pledge::Assignment).unwrap();
        assert_eq!(store.pledged(&one).unwrap(), None);
        assert_eq!(store.pledged(&two).unwrap(), Some(Pledge::Move));
    }

    #[test]
    fn the_newest_redemption_is_kept_with_its_pledge() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("daemon.redb");
        let [one, two] = [1, 2].map(|vout| OutPoint::new(bitcoin::Txid::from_byte_array([7; 32]), vout));
        let store = DaemonStore::open(&file, B256::ZERO).unwrap();
        store.pledge(&[two], Pledge::Move, 7).unwrap();
        assert_eq!(
            store.keep_redemption(two, &transaction(1), 7).unwrap(),
            Some(Pledge::Move)
        );
        assert_eq!(store.redemption(&two).unwrap(), None);
        for outputs in [1, 2] {
            assert_eq!(
                store.keep_redemption(one, &transaction(outputs), 7).unwrap(),
                None
            );
        }
        drop(store);
        let store = DaemonStore::open(&file, B256::ZERO).unwrap();
        assert_eq!(store.redemption(&one).unwrap(), Some(transaction(2)));
        assert_eq!(store.all_pledged(Pledge::Redemption).unwrap(), [one]);
    }

    #[test]
    fn blocks_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = DaemonStore::open(&dir.path().join("daemon.redb"), B256::ZERO).unwrap();
        let transaction = transaction(1);
        let at = |height: u32| BlockRef::new(height, BlockHash::from_byte_array([height as u8; 32]));
        let seen = |slot, index| Seen {
            slot,
            index,
            transaction: transaction.clone(),
        };
        store.connect(at(5), &[seen(1, 3), seen(0, 7)]).unwrap();
        store.connect(at(6), &[seen(0, 1)]).unwrap();
        let order = |store: &DaemonStore| -> Vec<(u32, u32)> {
            let seen = store.seen().unwrap().into_iter();
            seen.map(|(height, seen)| (height, seen.slot)).collect()
        };
        assert_eq!(order(&store), [(5, 1), (5, 0), (6, 0)]);
        store.disconnect(6).unwrap();
        assert_eq!(order(&store), [(5, 1), (5, 0)]);
        assert_eq!(store.blocks().unwrap(), [at(5)]);
    }
}
