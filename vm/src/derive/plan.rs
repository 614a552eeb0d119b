//! L2 blocks as Bitcoin owes them: from chain state to attributes and transactions.

use alloc::vec::Vec;
use alloy_primitives::{B256, Bytes};

use super::inbox::{InboxItem, decode_items};
use super::payload::{Batch, BatchBlock, PayloadError, decode};
use super::scan::settle;
use crate::chain::predeploys::FEE_VAULT;
use crate::chain::{
    BlobRef, Blobs, BlockAttributes, ChainParams, ChainState, Header, InboxCursor, L2Tip, OpenBatch, Origin,
    Transaction,
};

/// Which unit follows a chain state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// Read the next L1 block.
    L1,
    /// Execute the next block of the open batch.
    Batch,
    /// Make the block that the sequencer owes: its window has passed.
    Forced,
}

/// A block before it is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBlock {
    /// Everything that transactions do not decide.
    pub attributes: BlockAttributes,
    /// Deposits and forced transactions that it takes, in Bitcoin order. A forced one that is invalid where it
    /// stands is left out.
    pub inbox: Vec<Transaction>,
    /// What the inbox holds after it.
    pub inbox_after: Vec<InboxCursor>,
    /// Its origin's height.
    pub origin_height: u32,
    /// Its origin's median time past, seconds since 1970.
    pub origin_median_time: u32,
}

/// Why a batch, or the rest of it, derives to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// The payload is not well formed.
    #[error("payload: {0}")]
    Payload(#[from] PayloadError),
    /// The batch has no block.
    #[error("block count: expected at least 1, got 0")]
    Empty,
    /// It starts elsewhere than the chain ends.
    #[error("first block: expected {expected}, got {got}")]
    FirstBlock {
        /// The next block's number.
        expected: u64,
        /// The batch's.
        got: u64,
    },
    /// It builds on another block.
    #[error("parent hash: expected {expected}, got {got}")]
    ParentHash {
        /// The tip's hash.
        expected: B256,
        /// The batch's.
        got: B256,
    },
    /// It begins at another origin.
    #[error("first origin: expected height {expected}, got {got}")]
    FirstOrigin {
        /// What the tip and the first block's flag give.
        expected: u32,
        /// The batch's.
        got: u32,
    },
    /// Its last origin is not the L1 block of that height.
    #[error("last origin hash: expected {expected}, got {got}")]
    LastOrigin {
        /// The hash of the L1 block that the batch's flags lead to.
        expected: B256,
        /// The batch's.
        got: B256,
    },
    /// It advances past the L1 blocks that were read.
    #[error("origin: block {block} needs an L1 block above {height}, which is not read yet")]
    NoOrigin {
        /// The block's number.
        block: u64,
        /// The last origin's height.
        height: u32,
    },
    /// A timestamp breaks a bound.
    #[error("timestamp of block {block}: expected {least} to {most}, got {got}")]
    Timestamp {
        /// The block's number.
        block: u64,
        /// The earliest allowed.
        least: u64,
        /// The latest allowed.
        most: u64,
        /// The batch's.
        got: u64,
    },
    /// Sequenced transactions stand in a block that is too far ahead of its origin.
    #[error("block {block} is past its origin's drift and must be empty, got {count} transactions")]
    DriftExceeded {
        /// The block's number.
        block: u64,
        /// Its sequenced transactions.
        count: usize,
    },
    /// The block's transactions are not valid where they stand.
    #[error("block {block}: {reason}")]
    Block {
        /// The block's number.
        block: u64,
        /// What execution said.
        reason: alloc::string::String,
    },
}

/// Why a unit could not be planned: the medium's fault.
#[derive(Debug, thiserror::Error)]
pub enum PlanError<E: core::error::Error> {
    /// The medium that keeps blobs failed.
    #[error("blob store: {0}")]
    Blobs(E),
    /// A blob is not what derivation wrote.
    #[error("inbox items {root}: {error}")]
    Items {
        /// The blob's root.
        root: B256,
        /// What is wrong with it.
        error: alloy_rlp::Error,
    },
}

impl ChainState {
    /// Gives the state at the start of a chain: the genesis block, its origin, and the first baton.
    pub fn genesis(params: &ChainParams, header: Header) -> Self {
        let l1 = params.derive.genesis_l1.clone();
        let tip = L2Tip {
            header,
            origin_height: l1.height,
            origin_median_time: l1.median_time_past(),
            inbox: Vec::new(),
        };
        Self {
            l1,
            baton: params.derive.baton,
            batches: Vec::new(),
            origins: Vec::new(),
            deposits: Vec::new(),
            tip,
            open: None,
        }
    }

    /// Tells which unit follows.
    pub fn next_unit(&self, params: &ChainParams) -> UnitKind {
        let window = params.derive.sequencing_window;
        let owed = |origin: &Origin| self.l1.height >= origin.info.height.saturating_add(window);
        match (&self.open, self.origins.first()) {
            (Some(_), _) => UnitKind::Batch,
            (None, Some(origin)) if owed(origin) => UnitKind::Forced,
            _ => UnitKind::L1,
        }
    }

    /// Takes a block into the state: the tip moves to it, and its origin leaves the queue.
    pub(crate) fn apply_block(&mut self, planned: &PlannedBlock, header: Header) {
        if planned.attributes.new_origin.is_some() && !self.origins.is_empty() {
            self.origins.remove(0);
        }
        self.tip = self.tip.after(planned, header);
        if let Some(open) = &mut self.open {
            open.next = open.next.saturating_add(1);
        }
    }

    /// Gives up the open batch: it has no further block, or an invalid one.
    pub fn close_batch(&mut self, params: &ChainParams) {
        self.open = None;
        settle(params, self);
    }
}

impl L2Tip {
    /// Gives the tip after a block.
    pub fn after(&self, planned: &PlannedBlock, header: Header) -> Self {
        Self {
            header,
            origin_height: planned.origin_height,
            origin_median_time: planned.origin_median_time,
            inbox: planned.inbox_after.clone(),
        }
    }

    /// Gives the latest timestamp that a block with sequenced transactions may have on this origin.
    pub fn drift_limit(params: &ChainParams, origin_median_time: u32) -> u64 {
        u64::from(origin_median_time).saturating_add(params.derive.max_drift)
    }

    /// Gives the earliest timestamp of the next block, when its origin has this median time past.
    pub fn least_timestamp(&self, params: &ChainParams, origin_median_time: u32) -> u64 {
        let step = params.execution.min_timestamp_step;
        self.header
            .timestamp
            .saturating_add(step)
            .max(origin_median_time.into())
    }

    /// Plans the next block: on `next_origin` when it advances, else on the tip's own origin.
    ///
    /// # Errors
    /// When blobs cannot be read.
    pub fn plan<B: Blobs>(
        &self,
        params: &ChainParams,
        next_origin: Option<&Origin>,
        timestamp: u64,
        blobs: &B,
    ) -> Result<PlannedBlock, PlanError<B::Error>> {
        let number = self.header.number.saturating_add(1);
        let tip_origin = self.header.parent_beacon_block_root.unwrap_or_default();
        let (hash, origin_height, origin_median_time) = match next_origin {
            Some(origin) => (origin.info.hash, origin.info.height, origin.info.median_time_past),
            None => (tip_origin, self.origin_height, self.origin_median_time),
        };
        let mut cursors = self.inbox.clone();
        if let Some(origin) = next_origin.filter(|origin| origin.item_count > 0) {
            cursors.push(InboxCursor {
                items: origin.items,
                next: 0,
            });
        }
        let (inbox, inbox_after) = take_inbox(params, &hash, cursors, blobs)?;
        let attributes = BlockAttributes {
            number,
            timestamp,
            beneficiary: FEE_VAULT,
            gas_limit: params.execution.gas_limit.unwrap_or(self.header.gas_limit),
            prev_randao: prev_randao(&hash, number),
            parent_beacon_block_root: hash,
            extra_data: Bytes::new(),
            new_origin: next_origin.map(|origin| origin.info),
        };
        Ok(PlannedBlock {
            attributes,
            inbox,
            inbox_after,
            origin_height,
            origin_median_time,
        })
    }

    /// Checks a timestamp that a sequencer chose for the next block on an origin.
    ///
    /// # Errors
    /// With the bound that it breaks.
    pub fn verify_timestamp(
        &self,
        params: &ChainParams,
        origin_median_time: u32,
        timestamp: u64,
        sequenced: usize,
    ) -> Result<(), BatchFault> {
        let block = self.header.number.saturating_add(1);
        let limit = Self::drift_limit(params, origin_median_time);
        let least = self.least_timestamp(params, origin_median_time);
        let most = limit.max(least);
        if !(least..=most).contains(&timestamp) {
            return Err(BatchFault::Timestamp {
                block,
                least,
                most,
                got: timestamp,
            });
        }
        if timestamp > limit && sequenced > 0 {
            return Err(BatchFault::DriftExceeded {
                block,
                count: sequenced,
            });
        }
        Ok(())
    }
}

/// Gives PREVRANDAO: BLAKE3 of origin hash and block number in one 64-byte node. It is known ahead, like the origin.
fn prev_randao(origin: &B256, number: u64) -> B256 {
    let node: Vec<u8> = origin
        .0
        .into_iter()
        .chain([0; 24])
        .chain(number.to_be_bytes())
        .collect();
    B256::new(*blake3::hash(&node).as_bytes())
}

/// Takes items from the inbox's front while their gas limits fit the block's share for them. What is taken does
/// not depend on execution, so that a sequencer's blocks and derivation agree on it beforehand.
fn take_inbox<B: Blobs>(
    params: &ChainParams,
    origin: &B256,
    mut cursors: Vec<InboxCursor>,
    blobs: &B,
) -> Result<(Vec<Transaction>, Vec<InboxCursor>), PlanError<B::Error>> {
    let mut gas_left = params.derive.forced_gas_limit;
    let mut taken = Vec::new();
    while let Some(cursor) = cursors.first_mut() {
        let items = read_items(&cursor.items, blobs)?;
        for item in items
            .iter()
            .skip(usize::try_from(cursor.next).unwrap_or(usize::MAX))
        {
            match gas_left.checked_sub(item.gas_limit()) {
                Some(left) => gas_left = left,
                None => return Ok((taken, cursors)),
            }
            let blob = match item.blob() {
                Some(blob) => blobs.get(&blob).map_err(PlanError::Blobs)?,
                None => Vec::new(),
            };
            taken.extend(item.transaction(origin, &blob));
            cursor.next = cursor.next.saturating_add(1);
        }
        cursors.remove(0);
    }
    Ok((taken, cursors))
}

fn read_items<B: Blobs>(blob: &BlobRef, blobs: &B) -> Result<Vec<InboxItem>, PlanError<B::Error>> {
    let bytes = blobs.get(blob).map_err(PlanError::Blobs)?;
    decode_items(&bytes).map_err(|error| PlanError::Items {
        root: blob.root,
        error,
    })
}

/// Reads the open batch's payload.
///
/// # Errors
/// The outer error when blobs cannot be read, the inner one when the payload is malformed.
pub fn read_batch<B: Blobs>(
    params: &ChainParams,
    open: &OpenBatch,
    blobs: &B,
) -> Result<Result<Batch, PayloadError>, B::Error> {
    let mut payload = Vec::new();
    for frame in &open.frames {
        payload.extend(blobs.get(frame)?);
    }
    Ok(decode(&payload, params.derive.max_batch_body))
}

/// Checks that a batch builds on the chain as derived, before its first block.
///
/// # Errors
/// With the rule that it breaks.
pub fn verify_batch(state: &ChainState, batch: &Batch) -> Result<(), BatchFault> {
    let first = batch.blocks.first().ok_or(BatchFault::Empty)?;
    let expected = state.tip.header.number.saturating_add(1);
    if batch.first_block != expected {
        return Err(BatchFault::FirstBlock {
            expected,
            got: batch.first_block,
        });
    }
    let expected = state.tip.header.hash_slow();
    if batch.parent_hash != expected {
        return Err(BatchFault::ParentHash {
            expected,
            got: batch.parent_hash,
        });
    }
    let expected = state
        .tip
        .origin_height
        .saturating_add(first.advances_origin.into());
    if batch.first_origin != expected {
        return Err(BatchFault::FirstOrigin {
            expected,
            got: batch.first_origin,
        });
    }
    let advances = batch.blocks.iter().filter(|block| block.advances_origin).count();
    let last = match advances.checked_sub(1) {
        None => state.tip.header.parent_beacon_block_root.unwrap_or_default(),
        Some(index) => {
            let no_origin = BatchFault::NoOrigin {
                block: batch.first_block,
                height: state.l1.height,
            };
            state.origins.get(index).ok_or(no_origin)?.info.hash
        }
    };
    if batch.last_origin_hash != last {
        return Err(BatchFault::LastOrigin {
            expected: last,
            got: batch.last_origin_hash,
        });
    }
    Ok(())
}

/// Plans the next block of the open batch. The batch is the one that [`read_batch`] gave.
///
/// # Errors
/// The outer error when blobs cannot be read, the inner one when the batch, or this block, breaks a rule.
pub fn plan_batch_block<B: Blobs>(
    params: &ChainParams,
    state: &ChainState,
    batch: &Batch,
    block: &BatchBlock,
    blobs: &B,
) -> Result<Result<PlannedBlock, BatchFault>, PlanError<B::Error>> {
    if state.open.as_ref().is_some_and(|open| open.next == 0)
        && let Err(fault) = verify_batch(state, batch)
    {
        return Ok(Err(fault));
    }
    let number = state.tip.header.number.saturating_add(1);
    let next_origin = match (block.advances_origin, state.origins.first()) {
        (false, _) => None,
        (true, Some(origin)) => Some(origin),
        (true, None) => {
            return Ok(Err(BatchFault::NoOrigin {
                block: number,
                height: state.tip.origin_height,
            }));
        }
    };
    let median = next_origin.map_or(state.tip.origin_median_time, |origin| {
        origin.info.median_time_past
    });
    let verified = state
        .tip
        .verify_timestamp(params, median, block.timestamp, block.transactions.len());
    if let Err(fault) = verified {
        return Ok(Err(fault));
    }
    state
        .tip
        .plan(params, next_origin, block.timestamp, blobs)
        .map(Ok)
}

/// Plans the block that derivation owes: the oldest unused origin, inbox only, the earliest timestamp.
///
/// # Errors
/// When blobs cannot be read.
pub fn plan_forced_block<B: Blobs>(
    params: &ChainParams,
    state: &ChainState,
    blobs: &B,
) -> Result<PlannedBlock, PlanError<B::Error>> {
    let origin = state.origins.first();
    let median = origin.map_or(state.tip.origin_median_time, |origin| {
        origin.info.median_time_past
    });
    let timestamp = state.tip.least_timestamp(params, median);
    state.tip.plan(params, origin, timestamp, blobs)
}
