//! Bitcoin identifiers and amounts as the chain's pure code sees them.

use alloy_primitives::{B256, U256};
use alloy_rlp::{RlpDecodable, RlpEncodable};

/// The hash of a Bitcoin block, in internal byte order (as hashed, not as displayed).
pub type BlockHash = B256;

/// The id of a Bitcoin transaction, in internal byte order (as hashed, not as displayed).
pub type Txid = B256;

/// Wei per satoshi: BTC has 18 decimals on L2, so 1 sat = 10^10 wei.
pub const SATS_TO_WEI: u64 = 10_000_000_000;

/// Names an output of a Bitcoin transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, RlpEncodable, RlpDecodable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OutPoint {
    /// The transaction, in internal byte order.
    pub txid: Txid,
    /// The output's index.
    pub vout: u32,
}

/// Converts sats to wei. A `u64` of sats always fits.
pub fn sats_to_wei(sats: u64) -> U256 {
    U256::from(sats).saturating_mul(U256::from(SATS_TO_WEI))
}
