//! What the carrier tells, and what can go wrong.

use bitcoin::{Amount, FeeRate, OutPoint, Txid};

use super::{Job, JobId, ParcelError, Ready};
use crate::{
    BlockRef, FaultClass,
    ledger::{Conflict, Gap},
    rpc::RpcError,
    sender::{self, SenderError},
    store::StoreError,
    wallet::{FundError, WalletError},
};

/// Why a job is not on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// An input is not confirmed: it is not there, or only in the mempool, or was spent before the job was submitted.
    InputMissing {
        /// The input.
        input: OutPoint,
    },
    /// A time lock is not over.
    Premature {
        /// Core's words.
        reason: String,
    },
    /// Another job's transaction, which spends the same, is in the mempool.
    OtherJob {
        /// The other job.
        job: JobId,
    },
    /// The wallet has too few confirmed outputs that no other job uses.
    TooFewCoins {
        /// The least that would do.
        needed: Amount,
        /// What it has for this.
        available: Amount,
    },
    /// The least that would do is above the highest rate.
    TooDear {
        /// The rate that would do.
        needed: FeeRate,
        /// The highest rate.
        highest: FeeRate,
    },
    /// The mempool takes it at a higher fee only.
    TooCheap {
        /// Core's words.
        reason: String,
    },
    /// Core does not take it. This is a fault: of the transaction, or of a rule that is not known here.
    Refused {
        /// Core's words.
        reason: String,
    },
}

/// What [`Carrier::advance`](super::Carrier::advance) and [`Carrier::apply`](super::Carrier::apply) have to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A transaction is in the mempool, where it was not.
    Sent {
        /// The job.
        job: JobId,
        /// The transaction.
        txid: Txid,
    },
    /// A child was signed that pays more than what there was, and the mempool holds it.
    Bumped {
        /// The job.
        job: JobId,
        /// The child.
        child: Txid,
        /// Its fee.
        fee: Amount,
        /// The rate of both together.
        rate: FeeRate,
    },
    /// A transaction waits. Said once for each reason; it is tried again at each call.
    Waiting {
        /// The job.
        job: JobId,
        /// Why.
        why: Why,
    },
    /// A transaction is not confirmed after its deadline. It is sent on at the highest rate.
    Overdue {
        /// The job.
        job: JobId,
    },
    /// A transaction is in a block.
    Confirmed {
        /// The job.
        job: JobId,
        /// The block.
        at: BlockRef,
        /// What spends its anchor in that block: a child of ours or of a stranger.
        child: Option<Txid>,
    },
    /// Another transaction that spends the same is in a block. The job is lost when that is `depth` deep.
    Conflicted {
        /// The job.
        job: JobId,
        /// The other transaction.
        by: Conflict,
    },
    /// A reorg took the confirmation, or the conflict, back. The job goes on.
    Unconfirmed {
        /// The job.
        job: JobId,
    },
    /// It is confirmed deep enough; the job is removed.
    Done {
        /// The job.
        job: Box<Job>,
    },
    /// Another transaction took its place, deep enough; the job is removed.
    Lost {
        /// The job.
        job: Box<Job>,
        /// What took its place.
        to: Conflict,
        /// How many confirmations that has.
        depth: u32,
    },
    /// It was cancelled and is in no mempool that is known; the job is removed.
    Cancelled {
        /// The job.
        job: Box<Job>,
    },
    /// There are fewer fee outputs than [`Carrier::prepare`](super::Carrier::prepare) was asked for: call it again.
    TooFewReady {
        /// What there is.
        ready: Ready,
    },
    /// What became of a transaction that makes fee outputs.
    Split(sender::Report),
}

/// Carrying failed. What was submitted stays submitted.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// The file failed: nothing was sent that is not in it.
    #[error("carrier's file: {0}")]
    Store(#[from] StoreError),
    /// A call to Core failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The wallet failed.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The wallet cannot pay or sign.
    #[error(transparent)]
    Fund(#[from] FundError),
    /// The transaction cannot be carried.
    #[error(transparent)]
    Parcel(#[from] ParcelError),
    /// Sending what makes fee outputs failed.
    #[error("fee outputs: {0}")]
    Split(#[from] SenderError),
    /// Fee outputs cannot be made as asked for.
    #[error("{count} fee outputs of {value}: {rule}")]
    Target {
        /// How many.
        count: u32,
        /// The value of each.
        value: Amount,
        /// What is allowed.
        rule: &'static str,
    },
    /// A block does not continue what the carrier knows.
    #[error("block {block} does not connect to {tip}, the carrier's last one")]
    Gap {
        /// The block.
        block: BlockRef,
        /// The carrier's tip.
        tip: BlockRef,
    },
}

impl From<Gap> for CarrierError {
    fn from(Gap { block, tip }: Gap) -> Self {
        Self::Gap { block, tip }
    }
}

impl CarrierError {
    /// Returns what a loop does about the error.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Rpc(error) => error.class(),
            Self::Split(error) => error.class(),
            Self::Fund(FundError::Insufficient { .. }) => FaultClass::Retry,
            Self::Gap { .. } | Self::Wallet(WalletError::Connect { .. }) => FaultClass::Reset,
            _ => FaultClass::Stop,
        }
    }
}
