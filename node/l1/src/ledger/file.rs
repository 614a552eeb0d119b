//! A file of jobs.
//!
//! redb. Table `jobs`: id (u64) -> job as JSON. Table `blocks`: height (u32) -> block hash (32 bytes, internal order): the
//! last blocks whose transactions were looked at. Table `meta`: `format` -> the kind of jobs, `next` -> the next job's id, and
//! other numbers of the owner. A block and what it changes in jobs is one transaction, and so is every step before a
//! broadcast.

use std::{marker::PhantomData, path::Path};

use bitcoin::{BlockHash, hashes::Hash};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use serde::{Serialize, de::DeserializeOwned};

use super::JobId;
use crate::{BlockRef, store::StoreError};

const JOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("jobs");
const BLOCKS: TableDefinition<'_, u32, &[u8; 32]> = TableDefinition::new("blocks");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Blocks kept: as deep as a reorg is followed.
const KEPT_BLOCKS: u32 = 2016;

/// A job that a file can hold.
pub(crate) trait Stored: Serialize + DeserializeOwned {
    /// Says which kind of jobs and which layout a file has.
    const FORMAT: u64;

    fn id(&self) -> JobId;
}

#[derive(Debug)]
pub(crate) struct JobFile<J> {
    database: Database,
    jobs: PhantomData<fn() -> J>,
}

/// What one transaction changes.
pub(crate) struct Change<'a, J> {
    /// Jobs to write.
    pub(crate) jobs: Vec<&'a J>,
    /// Jobs to remove.
    pub(crate) finished: Vec<JobId>,
    /// Blocks from this height on are gone.
    pub(crate) forget_from: Option<u32>,
    /// A block was looked at.
    pub(crate) block: Option<BlockRef>,
}

impl<J> Default for Change<'_, J> {
    fn default() -> Self {
        Self {
            jobs: Vec::new(),
            finished: Vec::new(),
            forget_from: None,
            block: None,
        }
    }
}

impl<J: Stored> JobFile<J> {
    pub(crate) fn open(path: &Path, start: BlockRef) -> Result<Self, StoreError> {
        let database = Database::create(path)?;
        let write = database.begin_write()?;
        {
            write.open_table(JOBS)?;
            let mut meta = write.open_table(META)?;
            let format = meta.get("format")?.map(|value| value.value());
            match format {
                None => {
                    meta.insert("format", J::FORMAT)?;
                }
                Some(got) if got != J::FORMAT => {
                    let (expected, got) = (J::FORMAT.to_string(), got.to_string());
                    return Err(StoreError::Mismatch {
                        what: "format",
                        expected,
                        got,
                    });
                }
                Some(_) => {}
            }
            let mut blocks = write.open_table(BLOCKS)?;
            if blocks.last()?.is_none() {
                blocks.insert(start.height, &start.hash.to_byte_array())?;
            }
        }
        write.commit()?;
        Ok(Self {
            database,
            jobs: PhantomData,
        })
    }

    pub(crate) fn jobs(&self) -> Result<Vec<J>, StoreError> {
        let table = self.database.begin_read()?.open_table(JOBS)?;
        let mut jobs = Vec::new();
        for entry in table.iter()? {
            let (id, bytes) = entry?;
            jobs.push(serde_json::from_slice(bytes.value()).map_err(|e| damaged(id.value(), &e))?);
        }
        Ok(jobs)
    }

    pub(crate) fn blocks(&self) -> Result<Vec<BlockRef>, StoreError> {
        let table = self.database.begin_read()?.open_table(BLOCKS)?;
        let mut blocks = Vec::new();
        for entry in table.iter()? {
            let (height, hash) = entry?;
            blocks.push(BlockRef::new(
                height.value(),
                BlockHash::from_byte_array(*hash.value()),
            ));
        }
        Ok(blocks)
    }

    /// Returns an id that was never returned before, also after a crash.
    pub(crate) fn next_id(&self) -> Result<JobId, StoreError> {
        let write = self.database.begin_write()?;
        let id = {
            let mut meta = write.open_table(META)?;
            let id = meta.get("next")?.map_or(1, |value| value.value());
            meta.insert("next", id + 1)?;
            id
        };
        write.commit()?;
        Ok(JobId(id))
    }

    /// Returns a number of the owner.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let table = self.database.begin_read()?.open_table(META)?;
        Ok(table.get(name)?.map(|value| value.value()))
    }

    /// Writes numbers of the owner. When it fails none is written.
    pub(crate) fn set_numbers(&self, numbers: &[(&str, u64)]) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            for (name, number) in numbers {
                meta.insert(*name, number)?;
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Writes a change. When it fails nothing is written.
    pub(crate) fn write(&self, change: &Change<'_, J>) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        {
            let mut jobs = write.open_table(JOBS)?;
            for job in &change.jobs {
                let bytes = serde_json::to_vec(job).map_err(|e| damaged(job.id().0, &e))?;
                jobs.insert(job.id().0, bytes.as_slice())?;
            }
            for id in &change.finished {
                jobs.remove(id.0)?;
            }
            let mut blocks = write.open_table(BLOCKS)?;
            if let Some(height) = change.forget_from {
                blocks.retain_in(height.., |_, _| false)?;
            }
            if let Some(block) = change.block {
                blocks.insert(block.height, &block.hash.to_byte_array())?;
                blocks.retain_in(..block.height.saturating_sub(KEPT_BLOCKS), |_, _| false)?;
            }
        }
        write.commit()?;
        Ok(())
    }
}

fn damaged(id: u64, error: &serde_json::Error) -> StoreError {
    StoreError::Damaged {
        what: format!("job {id}"),
        reason: error.to_string(),
    }
}
