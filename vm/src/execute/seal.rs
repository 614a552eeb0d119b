//! Headers: made from an outcome, and checked against their parent.

use alloc::vec::Vec;

use alloy_consensus::constants::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH};
use alloy_consensus::proofs::{calculate_transaction_root, ordered_trie_root_with_encoder};
use alloy_consensus::{Eip2718EncodableReceipt, TxReceipt};
use alloy_eips::eip1559::GAS_LIMIT_BOUND_DIVISOR;
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{B64, B256, Bloom, U256};

use crate::chain::{BlockAttributes, ExecutionParams, Header, Receipt, Transaction};

use super::block::BlockOutcome;
use super::fee::next_base_fee;

/// Longest extra data of a header in bytes (yellow paper).
pub const MAX_EXTRA_DATA: usize = 32;

/// Smallest voted gas limit (yellow paper).
const MIN_GAS_LIMIT: u64 = 5_000;

/// Largest RLP encoding of a block in bytes (EIP-7934): 10 MiB less 2 MiB for the consensus layer's part.
pub const MAX_BLOCK_RLP: usize = 8 * 1024 * 1024;

/// The rule that a header, or a block's attributes, break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not the parent's number plus one.
    #[error("block number: expected {expected}, got {got}")]
    Number {
        /// The parent's number plus one.
        expected: u64,
        /// The header's.
        got: u64,
    },
    /// Not the parent's hash.
    #[error("parent hash: expected {expected}, got {got}")]
    ParentHash {
        /// The parent's hash.
        expected: B256,
        /// The header's.
        got: B256,
    },
    /// Too early after the parent.
    #[error("timestamp: expected at least {min}, got {got}")]
    Timestamp {
        /// The smallest that may be, in seconds.
        min: u64,
        /// The header's.
        got: u64,
    },
    /// Not the limit that the parameters or the parent allow.
    #[error("gas limit: expected {min} to {max}, got {got}")]
    GasLimit {
        /// The smallest that may be.
        min: u64,
        /// The largest that may be.
        max: u64,
        /// The header's.
        got: u64,
    },
    /// More gas used than the limit.
    #[error("gas used {used} is above the limit {limit}")]
    GasUsed {
        /// The header's gas used.
        used: u64,
        /// The header's gas limit.
        limit: u64,
    },
    /// Not what EIP-1559 gives.
    #[error("base fee: expected {expected}, got {got:?}")]
    BaseFee {
        /// What follows from the parent.
        expected: u64,
        /// The header's.
        got: Option<u64>,
    },
    /// Too much extra data.
    #[error("extra data of {got} bytes, at most {MAX_EXTRA_DATA} are allowed")]
    ExtraData {
        /// The header's, in bytes.
        got: usize,
    },
    /// A field that has one value only has another.
    #[error("header field {field} does not have its constant value")]
    Constant {
        /// The field's name in JSON-RPC.
        field: &'static str,
    },
    /// A field that every block has is missing.
    #[error("header field {field} is missing")]
    Missing {
        /// The field's name in JSON-RPC.
        field: &'static str,
    },
    /// The block is too large (EIP-7934).
    #[error("block of {got} bytes, at most {MAX_BLOCK_RLP} are allowed")]
    BlockSize {
        /// The length of its RLP in bytes.
        got: usize,
    },
}

/// Makes the header of a block that was executed.
pub fn seal(
    parent: &Header,
    attributes: &BlockAttributes,
    transactions: &[Transaction],
    outcome: &BlockOutcome,
    state_root: B256,
) -> Header {
    let (receipts_root, logs_bloom) = receipts_root(&outcome.receipts);
    Header {
        parent_hash: parent.hash_slow(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: attributes.beneficiary,
        state_root,
        transactions_root: calculate_transaction_root(transactions),
        receipts_root,
        logs_bloom,
        difficulty: U256::ZERO,
        number: attributes.number,
        gas_limit: attributes.gas_limit,
        gas_used: outcome.gas_used,
        timestamp: attributes.timestamp,
        extra_data: attributes.extra_data.clone(),
        mix_hash: attributes.prev_randao,
        nonce: B64::ZERO,
        base_fee_per_gas: Some(outcome.base_fee),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(attributes.parent_beacon_block_root),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// The root of the receipts' trie, and the bloom of all of their logs.
pub fn receipts_root(receipts: &[Receipt]) -> (B256, Bloom) {
    let items: Vec<(&Receipt, Bloom)> = blooms(receipts);
    let mut all = Bloom::ZERO;
    for (_, bloom) in &items {
        all.accrue_bloom(bloom);
    }
    let root = ordered_trie_root_with_encoder(&items, |(receipt, bloom), out| {
        receipt.eip2718_encode_with_bloom(bloom, out);
    });
    (root, all)
}

/// A bloom takes three hashes a topic: the slowest part of sealing, so native builds spread it over the cores.
#[cfg(feature = "std")]
fn blooms(receipts: &[Receipt]) -> Vec<(&Receipt, Bloom)> {
    use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
    receipts
        .par_iter()
        .map(|receipt| (receipt, receipt.bloom()))
        .collect()
}

#[cfg(not(feature = "std"))]
fn blooms(receipts: &[Receipt]) -> Vec<(&Receipt, Bloom)> {
    receipts
        .iter()
        .map(|receipt| (receipt, receipt.bloom()))
        .collect()
}

/// The attributes that a header was made from; `new_origin` is not in a header.
pub fn attributes_of(header: &Header) -> BlockAttributes {
    BlockAttributes {
        number: header.number,
        timestamp: header.timestamp,
        beneficiary: header.beneficiary,
        gas_limit: header.gas_limit,
        prev_randao: header.mix_hash,
        parent_beacon_block_root: header.parent_beacon_block_root.unwrap_or_default(),
        extra_data: header.extra_data.clone(),
        new_origin: None,
    }
}

/// Checks attributes against the parent.
///
/// # Errors
///
/// The first rule that they break.
pub fn verify_attributes(
    params: &ExecutionParams,
    parent: &Header,
    attributes: &BlockAttributes,
) -> Result<(), HeaderError> {
    let expected = parent.number.saturating_add(1);
    if attributes.number != expected {
        return Err(HeaderError::Number {
            expected,
            got: attributes.number,
        });
    }
    let min = parent.timestamp.saturating_add(params.min_timestamp_step);
    if attributes.timestamp < min {
        return Err(HeaderError::Timestamp {
            min,
            got: attributes.timestamp,
        });
    }
    let (min, max) = gas_limit_range(params, parent.gas_limit);
    if !(min..=max).contains(&attributes.gas_limit) {
        return Err(HeaderError::GasLimit {
            min,
            max,
            got: attributes.gas_limit,
        });
    }
    let got = attributes.extra_data.len();
    if got > MAX_EXTRA_DATA {
        Err(HeaderError::ExtraData { got })
    } else {
        Ok(())
    }
}

/// The gas limits that a block may have: the chain's, or less than 1/1024 away from its parent's.
fn gas_limit_range(params: &ExecutionParams, parent: u64) -> (u64, u64) {
    match params.gas_limit {
        Some(limit) => (limit, limit),
        None => {
            let step = parent
                .checked_div(GAS_LIMIT_BOUND_DIVISOR)
                .unwrap_or(0)
                .saturating_sub(1);
            (
                parent.saturating_sub(step).max(MIN_GAS_LIMIT),
                parent.saturating_add(step),
            )
        }
    }
}

/// Checks everything about a header that follows from its parent alone; what follows from execution is compared
/// with a header that [`seal`] makes.
///
/// # Errors
///
/// The first rule that it breaks.
pub fn verify_header(params: &ExecutionParams, parent: &Header, header: &Header) -> Result<(), HeaderError> {
    let expected = parent.hash_slow();
    if header.parent_hash != expected {
        return Err(HeaderError::ParentHash {
            expected,
            got: header.parent_hash,
        });
    }
    verify_attributes(params, parent, &attributes_of(header))?;
    if header.gas_used > header.gas_limit {
        return Err(HeaderError::GasUsed {
            used: header.gas_used,
            limit: header.gas_limit,
        });
    }
    let expected = next_base_fee(params, parent);
    if header.base_fee_per_gas != Some(expected) {
        return Err(HeaderError::BaseFee {
            expected,
            got: header.base_fee_per_gas,
        });
    }
    verify_constants(header)
}

fn verify_constants(header: &Header) -> Result<(), HeaderError> {
    let constant = |ok: bool, field: &'static str| {
        if ok {
            Ok(())
        } else {
            Err(HeaderError::Constant { field })
        }
    };
    let optional = |ok: Option<bool>, field: &'static str| match ok {
        Some(ok) => constant(ok, field),
        None => Err(HeaderError::Missing { field }),
    };
    constant(header.ommers_hash == EMPTY_OMMER_ROOT_HASH, "sha3Uncles")?;
    constant(header.difficulty.is_zero(), "difficulty")?;
    constant(header.nonce == B64::ZERO, "nonce")?;
    optional(
        header.withdrawals_root.map(|root| root == EMPTY_ROOT_HASH),
        "withdrawalsRoot",
    )?;
    optional(header.blob_gas_used.map(|gas| gas == 0), "blobGasUsed")?;
    optional(header.excess_blob_gas.map(|gas| gas == 0), "excessBlobGas")?;
    optional(
        header.parent_beacon_block_root.map(|_| true),
        "parentBeaconBlockRoot",
    )?;
    optional(
        header.requests_hash.map(|hash| hash == EMPTY_REQUESTS_HASH),
        "requestsHash",
    )
}

/// Checks the length of a block's RLP (EIP-7934).
///
/// # Errors
///
/// It is above [`MAX_BLOCK_RLP`].
pub const fn verify_block_size(rlp_bytes: usize) -> Result<(), HeaderError> {
    if rlp_bytes > MAX_BLOCK_RLP {
        Err(HeaderError::BlockSize { got: rlp_bytes })
    } else {
        Ok(())
    }
}
