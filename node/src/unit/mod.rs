//! Records of units for a dispute: everything that the machine reads to go from `S_k` to `S_{k+1}`.

pub mod export;

use alloy_primitives::B256;
use bitsect_vm::chain::bridge::OutputId;
use bitsect_vm::chain::{BlobRef, Blobs, BlockHash, ChainParams, ChainState};
use bitsect_vm::check::CheckError;
use bitsect_vm::derive::bitcoin::{DecodeError, L1Block};
use bitsect_vm::derive::{L1UnitError, PlanError, UnitKind, process_l1_block, read_batch};
use bitsect_vm::record::{UnitRecord, record_check, record_unit};
use bitsect_vm::step::{BlockSource, L2Work, plan_unit};

use crate::store::{Snapshot, StoreError};

/// Why a unit cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// The unit is not done yet.
    #[error("unit {unit} is not derived yet: there are {count}")]
    NotDerived {
        /// The unit that was asked for.
        unit: u64,
        /// Units that there are.
        count: u64,
    },
    /// The store failed, or does not hold what the unit read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Going through the units before, or the unit itself, failed or gave something else than the store has.
    #[error("unit {unit}: {reason}")]
    Replay {
        /// The unit.
        unit: u64,
        /// What went wrong.
        reason: String,
    },
}

/// Where a unit's replay begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The L1 block after which chain state is stored.
    height: u32,
    /// Units up to there.
    units: u64,
    /// The L1 block that the replay reads.
    pub next_l1: BlockHash,
}

/// Finds where the replay of a unit begins: all units of one L1 block follow its L1 unit.
///
/// # Errors
/// Where the unit is not derived.
pub fn start(snapshot: &Snapshot, unit: u64) -> Result<Start, UnitError> {
    let count = snapshot.unit_count()?;
    if unit >= count {
        return Err(UnitError::NotDerived { unit, count });
    }
    // The last L1 block with at most so many units up to it. Heights are dense, and units never fall.
    let [mut low, mut high] = snapshot.l1_range()?;
    while low.height + 1 < high.height {
        let middle = low.height + (high.height - low.height) / 2;
        let block = snapshot.l1_block(middle)?;
        let block = block.ok_or_else(|| missing(unit, middle))?;
        if block.units <= unit {
            low = block
        } else {
            high = block
        }
    }
    Ok(Start {
        height: low.height,
        units: low.units,
        next_l1: high.hash,
    })
}

fn missing(unit: u64, height: u32) -> UnitError {
    let reason = format!("the store has no l1 block {height}");
    UnitError::Replay { unit, reason }
}

/// The blobs of a chain that went further: what a unit puts there is held already.
struct StoredBlobs<'a>(&'a Snapshot);

impl Blobs for StoredBlobs<'_> {
    type Error = StoreError;

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, StoreError> {
        let bytes = self.0.blob(blob.root)?;
        bytes.ok_or(StoreError::NoBlob { root: blob.root })
    }

    fn put(&mut self, blob: BlobRef, _: Vec<u8>) -> Result<(), StoreError> {
        self.get(&blob).map(|_| ())
    }
}

/// Gives one block.
struct OneBlock(Vec<u8>);

impl BlockSource for OneBlock {
    type Error = core::convert::Infallible;

    fn block(&mut self, _: &BlockHash) -> Result<Vec<u8>, Self::Error> {
        Ok(self.0.clone())
    }
}

/// Records the unit from `S_k` to `S_{k+1}`. `block` is the L1 block that [`start`] names, in network format.
///
/// # Errors
/// Where the store no longer holds what the unit read, or something does not come out as it did.
pub fn record(
    params: &ChainParams,
    snapshot: &Snapshot,
    unit: u64,
    start: Start,
    block: Vec<u8>,
) -> Result<UnitRecord, UnitError> {
    let failed = |unit: u64, reason: String| UnitError::Replay { unit, reason };
    let mut chain = chain_at(params, snapshot, unit, start, &block)?;
    let tree = snapshot.tree_at(chain.tip.header.number)?;
    let mut source = OneBlock(block);
    let (_, record) = record_unit(
        params,
        &mut chain,
        Some(&start.next_l1),
        &mut source,
        &mut StoredBlobs(snapshot),
        &tree,
    )
    .map_err(|error| failed(unit, error.to_string()))?;
    same(snapshot, unit + 1, record.after)?;
    Ok(record)
}

/// Records the check that a claim of `unit` units ends with: whether `S_unit` has an assignment to a ticket; `None` where it
/// has none that is old enough. `block` is the L1 block that [`start`] names, in network format.
///
/// # Errors
/// As [`record`].
pub fn check(
    params: &ChainParams,
    snapshot: &Snapshot,
    unit: u64,
    start: Start,
    block: &[u8],
    ticket: &OutputId,
) -> Result<Option<UnitRecord>, UnitError> {
    let chain = chain_at(params, snapshot, unit, start, block)?;
    let tree = snapshot.tree_at(chain.tip.header.number)?;
    match record_check(params, &chain, ticket, &tree) {
        Ok(record) => Ok(Some(record)),
        Err(CheckError::Unassigned(_) | CheckError::Immature { .. }) => Ok(None),
        Err(error @ CheckError::State(_)) => Err(UnitError::Replay {
            unit,
            reason: error.to_string(),
        }),
    }
}

/// Gives the chain state after `unit` units.
fn chain_at(
    params: &ChainParams,
    snapshot: &Snapshot,
    unit: u64,
    start: Start,
    block: &[u8],
) -> Result<ChainState, UnitError> {
    let encoded = snapshot.encoded_chain_state_at(start.height)?;
    let mut chain = ChainState::decode(&encoded).map_err(|error| UnitError::Replay {
        unit: start.units,
        reason: error.to_string(),
    })?;
    for done in start.units..unit {
        replay(params, snapshot, &mut chain, done, block)?;
    }
    same(snapshot, unit, chain.commitment())?;
    Ok(chain)
}

/// Does a unit whose result is stored, without executing.
fn replay(
    params: &ChainParams,
    snapshot: &Snapshot,
    chain: &mut ChainState,
    unit: u64,
    block: &[u8],
) -> Result<(), UnitError> {
    let failed = |reason: String| UnitError::Replay { unit, reason };
    let mut blobs = StoredBlobs(snapshot);
    if chain.next_unit(params) == UnitKind::L1 {
        let block = L1Block::decode(block).map_err(|error: DecodeError| failed(error.to_string()))?;
        return process_l1_block(params, chain, &block, &mut blobs)
            .map_err(|error: L1UnitError<StoreError>| failed(error.to_string()));
    }
    let Some(number) = snapshot.unit(unit + 1)?.and_then(|record| record.block) else {
        chain.close_batch(params);
        return Ok(());
    };
    let batch = match &chain.open {
        None => None,
        Some(open) => {
            let batch = read_batch(params, open, &blobs)?;
            Some(batch.map_err(|error| failed(error.to_string()))?)
        }
    };
    let work = plan_unit(params, chain, batch.as_ref(), &blobs);
    let work = work.map_err(|error: PlanError<StoreError>| failed(error.to_string()))?;
    let L2Work::Block {
        planned, ends_batch, ..
    } = work
    else {
        return Err(failed(format!(
            "the store has block {number}, derivation gives none"
        )));
    };
    let header = snapshot.header(number)?;
    let header = header.ok_or_else(|| failed(format!("the store has no block {number}")))?;
    chain.finish_block(params, &planned, header.header, ends_batch);
    Ok(())
}

/// Checks a chain state against the store's.
fn same(snapshot: &Snapshot, unit: u64, got: B256) -> Result<(), UnitError> {
    let expected = snapshot.chain_state(unit)?.unwrap_or_default();
    if expected == got {
        return Ok(());
    }
    let reason = format!("the chain state is {got}, the store has {expected}");
    Err(UnitError::Replay { unit, reason })
}
