//! Which blocks go into the next batch, and the payload they make.

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Bytes};
use bitsect_vm::chain::{ChainParams, ChainState};
use bitsect_vm::derive::payload::{
    BASE_CHARGE, BLOCK_CHARGE, Batch, BatchBlock, PayloadError, decode, encode, transaction_charge,
};
use bitsect_vm::derive::{BatchFault, verify_batch};

use crate::store::{Head, Snapshot, StoreError, StoredHeader};

/// Encoded bytes of transactions in one batch at most: it stays well below what 64 frames hold, whatever they
/// compress to, and a batch that fails costs no more than this.
const MAX_BATCH_BYTES: u64 = 8_000_000;
/// Blocks in one batch at most: an hour of blocks every 100 ms.
const MAX_BATCH_BLOCKS: u64 = 36_000;

/// Why the waiting blocks make no batch. None of it is the chain's fault.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block that must be there is not.
    #[error("block {number} is not in the store")]
    NoBlock {
        /// The block.
        number: u64,
    },
    /// The blocks cannot be encoded.
    #[error("batch of blocks {first} to {last}: {error}")]
    Payload {
        /// The first block.
        first: u64,
        /// The last one.
        last: u64,
        /// Why.
        error: PayloadError,
    },
    /// The payload decodes to another batch: a fault in the codec, found before it costs anything.
    #[error("batch of blocks {first} to {last} does not decode to itself")]
    NotSame {
        /// The first block.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// The batch would derive to nothing.
    #[error("batch of blocks {first} to {last} would be dropped: {fault}")]
    Dropped {
        /// The first block.
        first: u64,
        /// The last one.
        last: u64,
        /// The rule that it breaks.
        fault: BatchFault,
    },
}

/// Blocks that wait for a batch, counted once each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The block before the first one: where the derived chain stands.
    base: u64,
    base_hash: B256,
    /// The last block counted.
    last: u64,
    last_hash: B256,
    /// The timestamp of the first one, seconds since 1970.
    pub since: u64,
    /// Encoded bytes of their transactions.
    pub bytes: u64,
    charge: u64,
    /// Whether no further block fits.
    pub full: bool,
}

impl Waiting {
    /// Counts the blocks above the chain state's tip, going on from an earlier count where that still holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn count(
        self,
        snapshot: &Snapshot,
        params: &ChainParams,
        chain: &ChainState,
    ) -> Result<Self, BatchError> {
        let (base, base_hash) = (chain.tip.header.number, chain.tip.header.hash_slow());
        let goes_on = (self.base, self.base_hash) == (base, base_hash)
            && snapshot.block_hash(self.last)? == Some(self.last_hash);
        let fresh = Self {
            base,
            base_hash,
            last: base,
            last_hash: base_hash,
            ..Self::default()
        };
        let mut waiting = if goes_on { self } else { fresh };
        let latest = snapshot.head(Head::Latest)?.number;
        while !waiting.full && waiting.last < latest {
            waiting.add(snapshot, params)?;
        }
        Ok(waiting)
    }

    /// Whether there is no block.
    pub const fn is_empty(&self) -> bool {
        self.last == self.base
    }

    /// Gives the number of blocks.
    pub const fn blocks(&self) -> u64 {
        self.last.saturating_sub(self.base)
    }

    fn add(&mut self, snapshot: &Snapshot, params: &ChainParams) -> Result<(), BatchError> {
        let number = self.last + 1;
        let (header, block) = read_block(snapshot, number)?;
        let bytes: usize = block
            .transactions
            .iter()
            .map(Encodable2718::encode_2718_len)
            .sum();
        let bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let charges = block
            .transactions
            .iter()
            .map(transaction_charge)
            .fold(BLOCK_CHARGE, u64::saturating_add);
        let charge = self.charge.saturating_add(charges);
        let most = u64::from(params.derive.max_batch_body).saturating_sub(BASE_CHARGE);
        // A first block always goes: a block cannot be split, and the sequencer keeps it below the limit.
        if !self.is_empty() && (charge > most || bytes > MAX_BATCH_BYTES || self.blocks() >= MAX_BATCH_BLOCKS)
        {
            self.full = true;
            return Ok(());
        }
        if self.is_empty() {
            self.since = header.header.timestamp;
        }
        (self.last, self.last_hash) = (number, header.hash);
        (self.bytes, self.charge) = (bytes, charge);
        Ok(())
    }

    /// Makes the batch of these blocks, its payload, and checks that it comes back and would be taken.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn payload(
        &self,
        snapshot: &Snapshot,
        params: &ChainParams,
        chain: &ChainState,
    ) -> Result<Bytes, BatchError> {
        let (first, last) = (self.base + 1, self.last);
        let batch = read_batch(snapshot, chain, first, last)?;
        verify_batch(chain, &batch).map_err(|fault| BatchError::Dropped { first, last, fault })?;
        let failed = |error| BatchError::Payload { first, last, error };
        let payload = encode(&batch).map_err(failed)?;
        let again = decode(&payload, params.derive.max_batch_body).map_err(failed)?;
        if again != batch {
            return Err(BatchError::NotSame { first, last });
        }
        Ok(payload.into())
    }
}

fn read_batch(snapshot: &Snapshot, chain: &ChainState, first: u64, last: u64) -> Result<Batch, BatchError> {
    let mut origin = chain.tip.origin_height;
    let mut blocks = Vec::new();
    let mut first_origin = origin;
    let mut last_origin_hash = chain.tip.header.parent_beacon_block_root.unwrap_or_default();
    for number in first..=last {
        let (header, mut block) = read_block(snapshot, number)?;
        let own = header.l1_origin();
        block.advances_origin = own.height > origin;
        if number == first {
            first_origin = own.height;
        }
        (origin, last_origin_hash) = (own.height, own.hash);
        blocks.push(block);
    }
    let parent_hash = chain.tip.header.hash_slow();
    Ok(Batch {
        first_block: first,
        parent_hash,
        first_origin,
        last_origin_hash,
        blocks,
    })
}

/// Reads a block as a batch carries it, without what derivation adds by itself.
fn read_block(snapshot: &Snapshot, number: u64) -> Result<(StoredHeader, BatchBlock), BatchError> {
    let missing = || BatchError::NoBlock { number };
    let header = snapshot.header(number)?.ok_or_else(missing)?;
    let body = snapshot.body(number)?.ok_or_else(missing)?;
    let inbox = usize::try_from(header.inbox_count).unwrap_or(usize::MAX);
    let transactions = body
        .into_iter()
        .skip(inbox)
        .map(|(_, transaction)| transaction)
        .collect();
    let block = BatchBlock {
        timestamp: header.header.timestamp,
        advances_origin: false,
        transactions,
    };
    Ok((header, block))
}
