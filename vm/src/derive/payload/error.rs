//! Why a payload is refused.

use super::Column;

/// Why a batch cannot be encoded, or why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The payload is shorter than its header.
    #[error("payload of {got} bytes is shorter than its header of {expected} bytes")]
    ShortHeader {
        /// Bytes that a header has.
        expected: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// The first bytes are not those of a batch.
    #[error("payload starts with {got:02x?}, not with {expected:02x?}")]
    Magic {
        /// The bytes of a batch.
        expected: [u8; 4],
        /// The bytes found.
        got: [u8; 4],
    },
    /// A version that this code does not know.
    #[error("payload version is {got}, not {expected}")]
    Version {
        /// The version known here.
        expected: u8,
        /// The version found.
        got: u8,
    },
    /// A codec that this version does not have.
    #[error("codec {got} is not known")]
    Codec {
        /// The codec found.
        got: u8,
    },
    /// The body or the data in it is larger than allowed.
    #[error("body or its data takes {got} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Bytes allowed.
        limit: u64,
        /// Bytes stated or counted so far.
        got: u64,
    },
    /// The compressed part does not decompress to exactly the stated length.
    #[error("compressed body is damaged")]
    Compression,
    /// A part ends too early.
    #[error("column {column:?} ends too early")]
    Truncated {
        /// The part.
        column: Column,
    },
    /// A part has bytes that nothing refers to.
    #[error("column {column:?} has {bytes} bytes too many")]
    Trailing {
        /// The part.
        column: Column,
        /// Bytes left.
        bytes: usize,
    },
    /// A value that the part cannot have.
    #[error("column {column:?} holds an invalid value")]
    Invalid {
        /// The part.
        column: Column,
    },
    /// Block numbers do not fit, or transactions do not fill the blocks.
    #[error("batch states {expected} transactions, its blocks hold {got}")]
    TransactionCount {
        /// Transactions stated.
        expected: u64,
        /// Transactions counted.
        got: u64,
    },
    /// The batch has more blocks than numbers go around.
    #[error("blocks from {first_block} on overflow the block number")]
    BlockNumber {
        /// The first block.
        first_block: u64,
    },
    /// A block's timestamp is below its predecessor's.
    #[error("timestamp {got} is below the previous block's {previous}")]
    Timestamp {
        /// Seconds since 1970 of the block before.
        previous: u64,
        /// Seconds since 1970 of the block.
        got: u64,
    },
    /// A transaction that the sequencer cannot include: a deposit, or type 0x7D.
    #[error("transaction type {got:#04x} cannot be sequenced")]
    TransactionType {
        /// The EIP-2718 type.
        got: u8,
    },
    /// A transaction for another chain.
    #[error("transaction for chain {got} in a batch for chain {expected}")]
    ChainId {
        /// The batch's chain id.
        expected: u64,
        /// The transaction's.
        got: u64,
    },
    /// A signature whose `s` has the top bit set: invalid since EIP-2.
    #[error("signature has a high s")]
    HighS,
}
