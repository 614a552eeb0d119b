//! Raw blocks on disk, so that a derivation can be repeated without Core.
//!
//! A redb file. Table `blocks`: block hash (32 bytes, internal order) -> height (u32, big-endian) and the
//! block's bytes. Table `heights`: height (u32, big-endian) and hash -> nothing; it gives pruning its order, and
//! holds every block seen at a height. Table `meta`: `format` -> 1, `network` -> Core's name of it. Both
//! tables change in one transaction. A block's bytes are not trusted when read; see
//! [`fetch_block`](crate::follower::fetch_block).

use std::path::Path;

use bitcoin::{BlockHash, Network, hashes::Hash};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use crate::BlockRef;

const BLOCKS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("blocks");
const HEIGHTS: TableDefinition<'_, &[u8; 36], ()> = TableDefinition::new("heights");
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
const FORMAT: &str = "1";
/// Blocks removed in one transaction at most.
const PRUNE_CHUNK: usize = 1000;

/// The block store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] redb::Error),
    /// The file was made by another program version or for another network.
    #[error("{what} of the file is {got}, expected {expected}")]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// What this program expects.
        expected: String,
        /// What the file says.
        got: String,
    },
    /// An entry does not decode.
    #[error("{what} in the file is damaged: {reason}")]
    Damaged {
        /// Which entry.
        what: String,
        /// Why.
        reason: String,
    },
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}
from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

/// Blocks by hash.
#[derive(Debug)]
pub struct BlockStore {
    database: Database,
}

impl BlockStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] when it is another network's or format's.
    pub fn open(path: impl AsRef<Path>, network: Network) -> Result<Self, StoreError> {
        let database = Database::create(path)?;
        let write = database.begin_write()?;
        {
            write.open_table(BLOCKS)?;
            write.open_table(HEIGHTS)?;
            let mut meta = write.open_table(META)?;
            for (what, expected) in [("format", FORMAT), ("network", network.to_core_arg())] {
                let got = meta.get(what)?.map(|value| value.value().to_owned());
                match got {
                    None => {
                        meta.insert(what, expected)?;
                    }
                    Some(got) if got != expected => {
                        return Err(StoreError::Mismatch {
                            what,
                            expected: expected.into(),
                            got,
                        });
                    }
                    Some(_) => {}
                }
            }
        }
        write.commit()?;
        Ok(Self { database })
    }

    /// Stores a block. Durable when it returns; an old entry of the same hash is replaced.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing is stored then.
    pub fn put(&self, at: BlockRef, bytes: &[u8]) -> Result<(), StoreError> {
        let mut value = Vec::with_capacity(4 + bytes.len());
        value.extend_from_slice(&at.height.to_be_bytes());
        value.extend_from_slice(bytes);
        let write = self.database.begin_write()?;
        write
            .open_table(BLOCKS)?
            .insert(&at.hash.to_byte_array(), value.as_slice())?;
        write.open_table(HEIGHTS)?.insert(&height_key(at), ())?;
        write.commit()?;
        Ok(())
    }

    /// Returns a block's bytes.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn get(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.database.begin_read()?.open_table(BLOCKS)?;
        let value = table.get(&hash.to_byte_array())?;
        Ok(value.and_then(|value| value.value().get(4..).map(<[u8]>::to_vec)))
    }

    /// Returns the number of blocks.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn len(&self) -> Result<u64, StoreError> {
        Ok(self.database.begin_read()?.open_table(BLOCKS)?.len()?)
    }

    /// Returns whether there is no block.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }

    /// Removes all blocks below a height and returns how many.
    ///
    /// # Errors
    /// [`StoreError::Database`]; some may be removed then.
    pub fn prune_below(&self, height: u32) -> Result<u64, StoreError> {
        let end = height_key(BlockRef::new(height, BlockHash::all_zeros()));
        let mut removed = 0;
        loop {
            let write = self.database.begin_write()?;
            let mut keys = Vec::new();
            {
                let mut heights = write.open_table(HEIGHTS)?;
                let mut blocks = write.open_table(BLOCKS)?;
                for entry in heights
                    .extract_from_if::<&[u8; 36], _>(..&end, |_, ()| true)?
                    .take(PRUNE_CHUNK)
                {
                    keys.push(*entry?.0.value());
                }
                for key in &keys {
                    let hash = key.last_chunk::<32>().expect("a key is 4 bytes and a hash");
                    blocks.remove(hash)?;
                }
            }
            write.commit()?;
            removed += keys.len() as u64;
            if keys.len() < PRUNE_CHUNK {
                return Ok(removed);
            }
        }
    }
}

fn height_key(at: BlockRef) -> [u8; 36] {
    let mut key = [0; 36];
    key[..4].copy_from_slice(&at.height.to_be_bytes());
    key[4..].copy_from_slice(&at.hash.to_byte_array());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(height: u32, tag: u8) -> BlockRef {
        BlockRef::new(height, BlockHash::from_byte_array([tag; 32]))
    }

    #[test]
    fn blocks_come_back_and_are_pruned_by_height() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blocks.redb");
        let store = BlockStore::open(&path, Network::Regtest).unwrap();
        for (height, tag) in [(1, 1), (2, 2), (2, 3), (256, 4)] {
            store.put(at(height, tag), &[tag; 90]).unwrap();
        }
        drop(store);
        let store = BlockStore::open(&path, Network::Regtest).unwrap();
        assert_eq!(store.get(&at(2, 3).hash).unwrap(), Some(vec![3; 90]));
        assert_eq!(store.get(&at(2, 9).hash).unwrap(), None);
        assert_eq!(store.prune_below(2).unwrap(), 1);
        assert_eq!(store.prune_below(3).unwrap(), 2);
        assert_eq!(store.prune_below(3).unwrap(), 0);
        assert_eq!((store.len().unwrap(), store.is_empty().unwrap()), (1, false));
        assert_eq!(store.get(&at(256, 4).hash).unwrap(), Some(vec![4; 90]));
    }

    #[test]
    fn pruning_goes_on_past_one_chunk() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlockStore::open(dir.path().join("b"), Network::Regtest).unwrap();
        let write = store.database.begin_write().unwrap();
        for height in 0..PRUNE_CHUNK as u32 + 5 {
            let hash = BlockHash::hash(&height.to_be_bytes());
            let block = BlockRef::new(height, hash);
            write
                .open_table(BLOCKS)
                .unwrap()
                .insert(&hash.to_byte_array(), &[0u8; 5][..])
                .unwrap();
            write
                .open_table(HEIGHTS)
                .unwrap()
                .insert(&height_key(block), ())
                .unwrap();
        }
        write.commit().unwrap();
        assert_eq!(store.prune_below(u32::MAX).unwrap(), PRUNE_CHUNK as u64 + 5);
        assert!(store.is_empty().unwrap());
    }

    #[test]
    fn another_network_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blocks.redb");
        drop(BlockStore::open(&path, Network::Regtest).unwrap());
        let error = BlockStore::open(&path, Network::Signet).unwrap_err();
        assert_eq!(
            error.to_string(),
            "network of the file is regtest, expected signet"
        );
    }
}
