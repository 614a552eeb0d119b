//! The batch payload: L2 blocks as the bytes that go to Bitcoin, and back.
//!
//! A payload is a header, a compressed body in columns, then addresses and signatures as they are. Every
//! byte is specified in `docs/payload.md`. Encoding needs `std`; decoding does not, and any bytes are safe to
//! decode: they give a batch or an error, in memory bounded by the caller's limit.

mod address;
mod charge;
mod codec;
mod columns;
mod decode;
#[cfg(feature = "std")]
mod encode;
mod error;
mod fields;
mod header;
mod kind;
mod lane;
mod members;
mod recency;
#[cfg(test)]
mod tests;
mod wire;
mod word;

use alloc::vec::Vec;

use alloy_primitives::B256;

use crate::chain::Transaction;

pub use charge::{BASE_CHARGE, BLOCK_CHARGE, transaction_charge};
pub use columns::Column;
pub use decode::decode;
#[cfg(feature = "std")]
pub use encode::encode;
pub use error::PayloadError;
pub use header::{Codec, HEADER_BYTES, MAGIC, PayloadHeader, VERSION};

/// Consecutive L2 blocks as the sequencer ordered them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The number of the first block.
    pub first_block: u64,
    /// The hash of the block before the first one.
    pub parent_hash: B256,
    /// The height of the first block's L1 origin.
    pub first_origin: u32,
    /// The hash of the last block's L1 origin, in internal byte order.
    pub last_origin_hash: B256,
    /// The blocks.
    pub blocks: Vec<BatchBlock>,
}

/// One block of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchBlock {
    /// Seconds since 1970, never below the block before.
    pub timestamp: u64,
    /// Whether its L1 origin is the one after its parent's.
    pub advances_origin: bool,
    /// The sequenced transactions: no deposits, no forced ones, because those come from Bitcoin.
    pub transactions: Vec<Transaction>,
}
