//! What can go wrong while following.

use bitcoin::BlockHash;

use crate::{BlockRef, FaultClass, rpc::RpcError};

/// Following the chain failed. [`FollowError::class`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// A call to Core failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// Core knows the block, but does not have its bytes yet.
    #[error("Bitcoin Core does not have block {block} yet: {message}")]
    NotDownloaded {
        /// The block.
        block: BlockRef,
        /// Core's message.
        message: String,
    },
    /// Core has deleted the block.
    #[error("Bitcoin Core has pruned block {block}; use a Core that keeps it")]
    Pruned {
        /// The block.
        block: BlockRef,
    },
    /// Core's bytes are not the block that was asked for.
    #[error("Bitcoin Core sent bytes that are not block {hash}: {reason}")]
    BadBlock {
        /// The block asked for.
        hash: BlockHash,
        /// What is wrong.
        reason: &'static str,
    },
    /// The chain split off below everything that the follower knows.
    #[error(
        "the chain was reorganised deeper than what is known: at height {} Bitcoin Core has {got}, known is {}",
        lowest.height, lowest.hash
    )]
    TooDeep {
        /// The lowest block known.
        lowest: BlockRef,
        /// What Core has there.
        got: BlockHash,
    },
    /// The list of known blocks cannot be followed from.
    #[error("bad list of known blocks: {reason}")]
    BadStart {
        /// What is wrong.
        reason: String,
    },
    /// The block store failed.
    #[error("block store: {reason}")]
    Store {
        /// Why.
        reason: String,
    },
}

impl FollowError {
    /// Returns what a loop does about the error.
    ///
    /// After *retry* the next call of `next` continues, after a pause that it makes by itself. After *reset*
    /// make a new follower from what is stored. *Stop* needs a person: nothing on the chain leads there,
    /// except a reorg deeper than what the caller keeps.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Rpc(error) => error.class(),
            Self::NotDownloaded { .. } => FaultClass::Retry,
            Self::BadBlock { .. } => FaultClass::Reset,
            Self::Pruned { .. } | Self::TooDeep { .. } | Self::BadStart { .. } | Self::Store { .. } => {
                FaultClass::Stop
            }
        }
    }
}
