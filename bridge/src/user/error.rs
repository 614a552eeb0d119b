//! Why a user's command ends without having done what it was told.

use std::path::PathBuf;

use bitcoin::{Address, Amount, OutPoint};
use bitsect_l1::FaultClass;
use bitsect_l1::follower::FollowError;
use bitsect_l1::rpc::RpcError;
use bitsect_l1::wallet::{FundError, KeyError, WalletError};

use super::store::StoreError;
use crate::chain::ChainError;

/// What a shell script can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// A file of ours failed, or something else that nobody expects.
    Fault = 1,
    /// The command line, an option or a file of the user's cannot be used.
    Usage = 2,
    /// A rule forbids it.
    Refused = 3,
    /// There is too little money.
    Funds = 4,
    /// Bitcoin Core or the node cannot be asked, or does not take what it was given.
    Network = 5,
}

impl ExitKind {
    /// Gives the name that JSON has.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::Funds => "insufficientFunds",
            Self::Network => "network",
        }
    }
}

/// A user's command failed. Where the text does not say otherwise, nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// A rule forbids it.
    #[error("{field}: expected {rule}, got {got}")]
    Refused {
        /// What the rule is about.
        field: &'static str,
        /// What it asks for, with its number.
        rule: String,
        /// What there is.
        got: String,
    },
    /// The Bitcoin wallet has too little.
    #[error(
        "balance of the Bitcoin wallet: expected at least {needed} with the fee, got {available}; pay to {address}"
    )]
    Coins {
        /// What is needed.
        needed: Amount,
        /// What can be spent now.
        available: Amount,
        /// Where the wallet is paid.
        address: Box<Address>,
    },
    /// The L2 account has too little.
    #[error("balance of the L2 account {account}: expected at least {needed} with fees, got {available}")]
    Account {
        /// The account.
        account: alloy_primitives::Address,
        /// What is needed, rounded up to sats.
        needed: Amount,
        /// What it has, rounded down to sats.
        available: Amount,
    },
    /// No such deposit is known.
    #[error(
        "deposit {outpoint}: expected an output of this chain's deposits with a refund key of ours, found none"
    )]
    NoDeposit {
        /// The output.
        outpoint: OutPoint,
    },
    /// The chain file cannot be used.
    #[error("chain file {}: {reason}", path.display())]
    ChainFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Bitcoin Core cannot be asked.
    #[error("Bitcoin Core: {0}")]
    Bitcoin(#[from] RpcError),
    /// Bitcoin Core does not take the transaction.
    #[error("Bitcoin Core does not take {what}: {reason}")]
    NotTaken {
        /// Which transaction.
        what: &'static str,
        /// What it says.
        reason: String,
    },
    /// Bitcoin cannot be followed.
    #[error("following Bitcoin: {0}")]
    Follow(#[from] FollowError),
    /// The node cannot be asked.
    #[error("node: {0}")]
    Node(#[from] ChainError),
    /// The node refuses a call.
    #[error("node: {method}: {reason}")]
    NodeRefuses {
        /// The method.
        method: &'static str,
        /// The code of the answer (docs/json-rpc.md).
        code: i64,
        /// What it says.
        reason: String,
    },
    /// Another transaction has the nonce of one that was sent.
    #[error(
        "node: L2 transaction {hash} was sent, and another one of the account has taken its nonce, {nonce}"
    )]
    NonceTaken {
        /// The transaction.
        hash: alloy_primitives::B256,
        /// The nonce.
        nonce: u64,
    },
    /// L2 is where it should have a forced request, and has not.
    #[error(
        "L2 transaction {hash} was in Bitcoin by L1 block {confirmed}, and L2 does not have it at origin {origin}: it offers too \
         little for gas, the inbox is full, or Bitcoin transaction {forced_txid} is lost; ask again"
    )]
    LeftOut {
        /// The L2 transaction.
        hash: alloy_primitives::B256,
        /// The Bitcoin transaction.
        forced_txid: bitcoin::Txid,
        /// The L1 height at which it was seen to have left the mempool.
        confirmed: u32,
        /// The L1 height of the latest L2 block's origin.
        origin: u32,
    },
    /// The L2 transaction was sent, and failed.
    #[error("L2 transaction {hash} was sent and has failed in block {block}: it moved nothing but its fee")]
    Reverted {
        /// The transaction.
        hash: alloy_primitives::B256,
        /// Its block.
        block: u64,
    },
    /// Our file failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The wallet's file failed.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The wallet cannot make the transaction.
    #[error(transparent)]
    Fund(#[from] FundError),
    /// Something failed behind what was kept or sent.
    #[error("{what} {sent} is on its way: {fault}")]
    Underway {
        /// What it is.
        what: &'static str,
        /// Which one: an outpoint, the hash of an L2 transaction, or the id of a withdrawal.
        sent: String,
        /// What failed.
        fault: Box<UserError>,
    },
    /// It was told to end.
    #[error("ended before it was done; what was sent stays sent")]
    Ended,
}

impl UserError {
    /// Makes the refusal of a rule.
    pub fn refused(field: &'static str, rule: impl ToString, got: impl ToString) -> Self {
        Self::Refused {
            field,
            rule: rule.to_string(),
            got: got.to_string(),
        }
    }

    /// Gives what says that something is on its way; errors that tell its end stay as they are.
    pub(crate) fn underway(what: &'static str, sent: impl ToString) -> impl Fn(Self) -> Self {
        let sent = sent.to_string();
        move |error| match error {
            Self::Underway { .. }
            | Self::Reverted { .. }
            | Self::NonceTaken { .. }
            | Self::LeftOut { .. } => error,
            fault => Self::Underway {
                what,
                sent: sent.clone(),
                fault: Box::new(fault),
            },
        }
    }

    /// Tells what a shell script is told.
    pub fn kind(&self) -> ExitKind {
        match self {
            Self::Underway { fault, .. } => fault.kind(),
            Self::Refused { .. } | Self::NoDeposit { .. } | Self::Reverted { .. } => ExitKind::Refused,
            Self::Coins { .. } | Self::Account { .. } => ExitKind::Funds,
            Self::ChainFile { .. } | Self::File { .. } | Self::Key(_) => ExitKind::Usage,
            Self::Bitcoin(_)
            | Self::NotTaken { .. }
            | Self::Follow(_)
            | Self::Node(_)
            | Self::NodeRefuses { .. }
            | Self::NonceTaken { .. }
            | Self::LeftOut { .. } => ExitKind::Network,
            Self::Store(_) | Self::Wallet(_) | Self::Fund(_) | Self::Ended => ExitKind::Fault,
        }
    }

    /// Tells what a loop does about it.
    pub(crate) fn class(&self) -> FaultClass {
        match self {
            Self::Underway { fault, .. } => fault.class(),
            Self::Bitcoin(error) => error.class(),
            Self::Follow(error) => error.class(),
            Self::Node(error) => error.class(),
            Self::Wallet(WalletError::Connect { .. }) | Self::Store(StoreError::Gap { .. }) => {
                FaultClass::Reset
            }
            _ => FaultClass::Stop,
        }
    }
}
