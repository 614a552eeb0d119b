//! Blocks as Ethereum tools know them: RLP header, keccak hash, EIP-2718 transactions and receipts.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes};
use alloy_rlp::{RlpDecodable, RlpEncodable};

use super::BlockHash;

/// The Ethereum block header. `state_root` is the binary tree's root (see [`crate::state`]), and
/// `parent_beacon_block_root` is the hash of the L1 origin.
pub type Header = alloy_consensus::Header;

/// An EIP-2718 transaction: legacy, 2930, 1559, 7702, or deposit (type 0x7E).
pub type Transaction = op_alloy_consensus::OpTxEnvelope;

/// An EIP-2718 receipt without its bloom.
pub type Receipt = op_alloy_consensus::OpReceipt;

/// A sealed block: header and transactions in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The transactions: deposits, then forced, then sequenced.
    pub transactions: Vec<Transaction>,
}

/// Everything about a block that is not computed from its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockAttributes {
    /// The block's number: the parent's plus one.
    pub number: u64,
    /// Seconds since 1970, never below the parent's.
    pub timestamp: u64,
    /// Who receives fees: the `FeeVault` on Bitsect.
    pub beneficiary: Address,
    /// Gas that the block's transactions may use together.
    pub gas_limit: u64,
    /// What the PREVRANDAO opcode returns.
    pub prev_randao: B256,
    /// The hash of the L1 origin, in internal byte order.
    pub parent_beacon_block_root: B256,
    /// At most 32 bytes; empty on Bitsect.
    pub extra_data: Bytes,
    /// The L1 origin, in the first L2 block that has it: written to `BitcoinBlocks` before anything else.
    pub new_origin: Option<L1Info>,
}

/// What `BitcoinBlocks` records of an L1 origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct L1Info {
    /// The Bitcoin block's height.
    pub height: u32,
    /// The Bitcoin block's hash, in internal byte order.
    pub hash: BlockHash,
    /// The root of its transaction ids.
    pub merkle_root: B256,
    /// The header's time, seconds since 1970.
    pub time: u32,
    /// The median of the last eleven header times (BIP-0113), seconds since 1970.
    pub median_time_past: u32,
    /// The median of the last eleven blocks' average fee rates, sat per 1,000 vB. A block alone does not tell
    /// single transactions' fees (their inputs' amounts are elsewhere), so it is an average, from the coinbase.
    pub fee_rate: u64,
}
