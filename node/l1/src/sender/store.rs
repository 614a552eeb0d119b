//! The sender's file.
//!
//! redb. Table `jobs`: id (u64) -> job as JSON. Table `blocks`: height (u32) -> block hash (32 bytes, internal order): the
//! last blocks whose transactions were looked at. Table `meta`: `format` -> 1, `next` -> the next job's id. A block and what it
//! changes in jobs is one transaction, and so is every step before a broadcast.

use std::path::Path;

use bitcoin::{BlockHash, hashes::Hash};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::job::{Job, JobId};
use crate::{BlockRef, store::StoreError};

const JOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("jobs");
const BLOCKS: TableDefinition<'_, u32, &[u8; 32]> = TableDefinition::new("blocks");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT: u64 = 1;
/// Blocks kept: as deep as a reorg is followed.
const KEPT_BLOCKS: u32 = 2016;

#[derive(Debug)]
pub(super) struct JobFile {
    database: Database,
}

/// What one transaction changes.
#[derive(Default)]
pub(super) struct Change<'a> {
    /// Jobs to write.
    pub(super) jobs: Vec<&'a Job>,
    /// Jobs to remove.
    pub(super) finished: Vec<JobId>,
    /// Blocks from this height on are gone.
    pub(super) forget_from: Option<u32>,
    /// A block was looked at.
    pub(super) block: Option<BlockRef>,
}

impl JobFile {
    pub(super) fn open(path: &Path, start: BlockRef) -> Result<Self, StoreError> {
        let database = Database::create(path)?;
        let write = database.begin_write()?;
        {
            write.open_table(JOBS)?;
            let mut meta = write.open_table(META)?;
            let format = meta.get("format")?.map(|value| value.value());
            match format {
                None => {
                    meta.insert("format", FORMAT)?;
                }
                Some(got) if got != FORMAT => {
                    let (expected, got) = (FORMAT.to_string(), got.to_string());
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
        Ok(Self { database })
    }

    pub(super) fn jobs(&self) -> Result<Vec<Job>, StoreError> {
        let table = self.database.begin_read()?.open_table(JOBS)?;
        let mut jobs = Vec::new();
        for entry in table.iter()? {
            let (id, bytes) = entry?;
            jobs.push(serde_json::from_slice(bytes.value()).map_err(|e| damaged(id.value(), &e))?);
        }
        Ok(jobs)
    }

    pub(super) fn blocks(&self) -> Result<Vec<BlockRef>, StoreError> {
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
    pub(super) fn next_id(&self) -> Result<JobId, StoreError> {
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

    /// Writes a change. When it fails nothing is written.
    pub(super) fn write(&self, change: &Change<'_>) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        {
            let mut jobs = write.open_table(JOBS)?;
            for job in &change.jobs {
                let bytes = serde_json::to_vec(job).map_err(|e| damaged(job.id.0, &e))?;
                jobs.insert(job.id.0, bytes.as_slice())?;
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
