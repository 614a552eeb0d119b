//! Bitcoin as the node, the challenger and the bridge need it.
//!
//! - [`rpc`]: the JSON-RPC client for Bitcoin Core.
//! - [`follower`]: the best chain as a stream of connected and disconnected blocks.
//! - [`store`]: raw blocks on disk.
//! - [`wallet`]: a taproot wallet on BDK.
//! - [`sender`]: sending until it is confirmed, with rising fees.
//! - [`carrier`]: sending what was signed long ago, with a child that pays.
//! - [`secret_file`]: files that only their owner may use.
//! - [`regtest`]: a real Bitcoin Core on regtest, for tests and the devnet.
//!
//! Nothing here knows what the blocks mean to Bitsect.

#![warn(missing_docs)]

mod broadcast;
pub mod carrier;
pub mod follower;
mod ledger;
pub mod regtest;
pub mod rpc;
pub mod secret_file;
pub mod sender;
pub mod store;
pub mod wallet;

use bitcoin::BlockHash;

/// Names a block of a Bitcoin chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct BlockRef {
    /// The height; the genesis block has 0.
    pub height: u32,
    /// The hash.
    pub hash: BlockHash,
}

impl BlockRef {
    /// Makes the reference.
    pub const fn new(height: u32, hash: BlockHash) -> Self {
        Self { height, hash }
    }
}

impl std::fmt::Display for BlockRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at height {}", self.hash, self.height)
    }
}

/// What a loop does about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// The same call may succeed later: report, wait, call again.
    Retry,
    /// The state in memory is in doubt: rebuild it from the store, then go on.
    Reset,
    /// A person has to act.
    Stop,
}
