//! The wallet's file: BDK's change sets, one after the other, in redb.
//!
//! Table `changes`: number (u64) -> change set as JSON; their merge in order is the wallet. Table `meta`: `format` -> 1.
//! Each change is one durable transaction. At opening, many change sets are merged into one.

use std::path::Path;

use bdk_wallet::{ChangeSet, WalletPersister, chain::Merge};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use crate::store::StoreError;

const CHANGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes");
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
const FORMAT: &str = "1";
/// With more change sets than this, opening merges them: a merge rewrites the whole wallet.
const MERGE_ABOVE: u64 = 256;

/// Reading or writing the wallet's file failed.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A change set does not decode: the file is damaged or of a newer program.
    #[error("change set {number} of the wallet's file does not decode: {source}")]
    Decode {
        /// Its number.
        number: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// A change set does not encode.
    #[error("the wallet's change set does not encode: {0}")]
    Encode(serde_json::Error),
}

/// The wallet's file.
#[derive(Debug)]
pub(super) struct WalletFile {
    database: Database,
}

impl WalletFile {
    pub(super) fn open(path: &Path) -> Result<Self, PersistError> {
        let database = Database::create(path).map_err(StoreError::from)?;
        let file = Self { database };
        file.check_format()?;
        Ok(file)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        {
            write.open_table(CHANGES)?;
            let mut meta = write.open_table(META)?;
            let got = meta.get("format")?.map(|value| value.value().to_owned());
            match got {
                None => {
                    meta.insert("format", FORMAT)?;
                }
                Some(got) if got != FORMAT => {
                    return Err(StoreError::Mismatch {
                        what: "format",
                        expected: FORMAT.into(),
                        got,
                    });
                }
                Some(_) => {}
            }
        }
        write.commit()?;
        Ok(())
    }

    fn read(&self) -> Result<ChangeSet, PersistError> {
        let mut merged = ChangeSet::default();
        let read = || -> Result<_, StoreError> { Ok(self.database.begin_read()?.open_table(CHANGES)?) };
        let table = read()?;
        for entry in table.iter().map_err(StoreError::from)? {
            let (number, bytes) = entry.map_err(StoreError::from)?;
            let number = number.value();
            let change = serde_json::from_slice(bytes.value())
                .map_err(|source| PersistError::Decode { number, source })?;
            merged.merge(change);
        }
        Ok(merged)
    }

    fn append(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(CHANGES)?;
            let next = table.last()?.map_or(0, |(number, _)| number.value() + 1);
            table.insert(next, bytes)?;
        }
        write.commit()?;
        Ok(())
    }

    fn replace_all(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(CHANGES)?;
            table.retain(|_, _| false)?;
            table.insert(0, bytes)?;
        }
        write.commit()?;
        Ok(())
    }

    fn count(&self) -> Result<u64, StoreError> {
        Ok(self.database.begin_read()?.open_table(CHANGES)?.len()?)
    }
}

impl WalletPersister for WalletFile {
    type Error = PersistError;

    fn initialize(file: &mut Self) -> Result<ChangeSet, PersistError> {
        let merged = file.read()?;
        if file.count()? > MERGE_ABOVE {
            file.replace_all(&serde_json::to_vec(&merged).map_err(PersistError::Encode)?)?;
        }
        Ok(merged)
    }

    fn persist(file: &mut Self, change: &ChangeSet) -> Result<(), PersistError> {
        Ok(file.append(&serde_json::to_vec(change).map_err(PersistError::Encode)?)?)
    }
}
