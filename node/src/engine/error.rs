//! What can go wrong in the engine, by what is to be done about it.

use bitsect_vm::chain::BlockHash;
use bitsect_vm::derive::bitcoin::DecodeError;
use bitsect_vm::derive::{HeaderError, L1UnitError, PlanError};
use bitsect_vm::execute::{ExecuteError, Fault};
use bitsect_vm::state::UpdateError;
use bitsect_vm::step::BuildError;

use crate::pool::PoolError;
use crate::store::StoreError;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store failed: stop, open it anew.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The mempool could not keep what a rollback would take out: stop.
    #[error("mempool: {0}")]
    Pool(#[from] PoolError),
    /// A block could not be executed on the stored state: stop.
    #[error("execution: {0}")]
    Execution(String),
    /// The stored chain contradicts itself: stop.
    #[error("stored chain: {0}")]
    Corrupt(String),
    /// The L1 block is malformed: the follower gave wrong bytes, ask again.
    #[error("l1 block {hash}: {error}")]
    L1Block {
        /// The block's hash, in internal byte order.
        hash: BlockHash,
        /// What is wrong.
        error: DecodeError,
    },
    /// The L1 block is not the next one: the follower has to start from what the store holds.
    #[error("l1 block is not the next one: {0}")]
    L1Order(#[from] HeaderError),
    /// An L1 event names another block than the one that is there.
    #[error(
        "l1 block to disconnect: expected height {expected_height} ({expected}), got {got_height} ({got})"
    )]
    L1Disconnect {
        /// The last block's height.
        expected_height: u32,
        /// The last block's hash.
        expected: BlockHash,
        /// The event's height.
        got_height: u32,
        /// The event's hash.
        got: BlockHash,
    },
    /// A fresh block does not fit: drop it.
    #[error("block {number} from the feed: {fault}")]
    Feed {
        /// The block's number.
        number: u64,
        /// What is wrong with it.
        fault: FeedFault,
    },
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

/// Why a fresh block does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedFault {
    /// It stands on a block that is not known or that Bitcoin has decided against: one of both sides is behind.
    #[error("its parent {parent} is none that it could follow here: latest is {latest}, safe is {safe}")]
    Parent {
        /// The block that it stands on.
        parent: BlockHash,
        /// The latest block's number.
        latest: u64,
        /// The safe block's number.
        safe: u64,
    },
    /// Its L1 origin is not known yet, or is on another branch of Bitcoin.
    #[error("its origin {origin} is not known yet")]
    Origin {
        /// The L1 block's hash, in internal byte order.
        origin: BlockHash,
    },
    /// It breaks a rule, or is not what its header says.
    #[error("{0}")]
    Invalid(String),
}

/// What the caller of the engine does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Give the event again.
    Retry,
    /// Start from what the store holds.
    Reset,
    /// End the process: going on could damage what is stored.
    Stop,
}

impl EngineError {
    /// Tells what is to be done.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::L1Block { .. } | Self::Feed { .. } => ErrorClass::Retry,
            Self::L1Order(_) | Self::L1Disconnect { .. } => ErrorClass::Reset,
            Self::Store(_) | Self::Pool(_) | Self::Execution(_) | Self::Corrupt(_) | Self::Stopped => {
                ErrorClass::Stop
            }
        }
    }
}

impl From<L1UnitError<StoreError>> for EngineError {
    fn from(error: L1UnitError<StoreError>) -> Self {
        match error {
            L1UnitError::Header(error) => Self::L1Order(error),
            L1UnitError::Blobs(error) => Self::Store(error),
        }
    }
}

impl From<PlanError<StoreError>> for EngineError {
    fn from(error: PlanError<StoreError>) -> Self {
        match error {
            PlanError::Blobs(error) => Self::Store(error),
            PlanError::Items { .. } => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<BuildError<StoreError, StoreError>> for EngineError {
    fn from(error: BuildError<StoreError, StoreError>) -> Self {
        match error {
            BuildError::Tree(UpdateError::Read(error)) => Self::Store(error),
            other => Self::Execution(other.to_string()),
        }
    }
}

impl From<ExecuteError<StoreError>> for EngineError {
    fn from(error: ExecuteError<StoreError>) -> Self {
        Self::Execution(error.to_string())
    }
}

impl From<Fault<StoreError>> for EngineError {
    fn from(error: Fault<StoreError>) -> Self {
        Self::Execution(error.to_string())
    }
}
