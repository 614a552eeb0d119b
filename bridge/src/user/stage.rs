//! The stages of a deposit, and which one it is at.

use std::fmt;

use alloy_primitives::B256;
use bitcoin::{OutPoint, Txid};
use serde::Serialize;

use super::Terms;
use super::node::MintedDeposit;
use super::record::{Deposit, Spend, SpendKind};
use super::session::Refusal;
use super::tag::accept_txid;

/// Where a deposit stands, and what is waited for. Heights are L1 heights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Stage {
    /// It is kept here, and Bitcoin Core does not have it.
    Unsent {
        /// Why Core does not take it.
        reason: Option<String>,
    },
    /// The end: its coins were spent elsewhere, or come of a transaction that was replaced, so there never will be this deposit.
    Lost {
        /// Why Core does not take it.
        reason: String,
    },
    /// It waits for a block.
    Mempool,
    /// It waits until the members look at it.
    Confirming {
        /// Confirmations.
        confirmations: u32,
        /// How many it needs.
        needed: u32,
        /// How many are missing.
        blocks_left: u32,
    },
    /// It waits for the members' accept.
    WaitingForAccept {
        /// What the accept will be.
        accept_txid: Txid,
        /// The height after which members ask for it no more.
        members_sign_until_height: u32,
        /// Blocks until then.
        blocks_left: u32,
    },
    /// The accept waits for a block.
    AcceptInMempool {
        /// The accept.
        accept_txid: Txid,
        /// The first height at which the deposit can be refunded instead.
        refund_height: u32,
        /// Blocks until a refund can be sent.
        blocks_left: u32,
    },
    /// The accept is in a block; the mint on L2 is waited for.
    Accepted {
        /// The accept.
        accept_txid: Txid,
        /// Its height.
        accept_height: u32,
        /// Its confirmations.
        confirmations: u32,
        /// Whether a node was asked.
        node_asked: bool,
    },
    /// The end: it is on L2.
    Minted {
        /// The accept.
        accept_txid: Txid,
        /// Its height.
        accept_height: u32,
        /// The L2 block.
        block: u64,
        /// The L2 transaction.
        transaction_hash: B256,
        /// Whether the L2 transaction succeeded.
        success: Option<bool>,
    },
    /// Members ask for its accept no more; the refund is waited for. An accept that was signed still mints.
    Expired {
        /// The first height at which it can be refunded.
        refund_height: u32,
        /// Blocks until a refund can be sent.
        blocks_left: u32,
    },
    /// It can be taken back.
    Refundable {
        /// The first height at which that was so.
        refund_height: u32,
    },
    /// The refund waits for a block.
    RefundInMempool {
        /// The refund.
        refund_txid: Txid,
    },
    /// The end: it was taken back.
    Refunded {
        /// The refund.
        refund_txid: Txid,
        /// Its height.
        refund_height: u32,
        /// Its confirmations.
        confirmations: u32,
    },
    /// All members together spent it for something else.
    Spent {
        /// What spent it.
        txid: Txid,
        /// Its height.
        height: u32,
    },
}

impl Stage {
    /// Whether nothing more is waited for.
    pub const fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Lost { .. } | Self::Minted { .. } | Self::Refunded { .. } | Self::Spent { .. }
        )
    }

    /// Whether the user has to act.
    pub const fn is_users_turn(&self) -> bool {
        matches!(self, Self::Refundable { .. } | Self::Unsent { reason: Some(_) })
    }
}

/// What the mempool does to a deposit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InMempool {
    /// Whether the deposit is there.
    pub deposit: bool,
    /// What spends it there.
    pub spend: Option<(Txid, SpendKind)>,
    /// Why Core does not take the deposit.
    pub refusal: Option<Refusal>,
}

/// What is known beside the deposit itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Bitcoin's height.
    pub tip: u32,
    /// Confirmations that members wait for.
    pub needed: u32,
    /// The mempool.
    pub mempool: InMempool,
    /// The L2 transaction that minted it.
    pub minted: Option<MintedDeposit>,
    /// Whether a node was asked for it.
    pub node_asked: bool,
}

/// Tells where a deposit stands.
pub fn stage(terms: &Terms, outpoint: OutPoint, deposit: &Deposit, around: &Around) -> Stage {
    let next = around.tip.saturating_add(1);
    let depth = |height: u32| next.saturating_sub(height);
    let Some(height) = deposit.height else {
        return match (&around.mempool.deposit, &around.mempool.refusal) {
            (true, _) => Stage::Mempool,
            (false, Some(refusal)) if refusal.lost => Stage::Lost {
                reason: refusal.reason.clone(),
            },
            (false, refusal) => Stage::Unsent {
                reason: refusal.as_ref().map(|refusal| refusal.reason.clone()),
            },
        };
    };
    let refund_height = terms.refund_height(height);
    if let Some(spend) = deposit.spend {
        return spent_stage(deposit.counts, spend, around);
    }
    match around.mempool.spend {
        Some((refund_txid, SpendKind::Refund)) => return Stage::RefundInMempool { refund_txid },
        Some((accept_txid, SpendKind::Accept { .. })) if deposit.counts && next < refund_height => {
            return Stage::AcceptInMempool {
                accept_txid,
                refund_height,
                blocks_left: refund_height - next,
            };
        }
        _ => {}
    }
    let members_sign_until_height = terms.accept_until(height);
    let confirmations = depth(height);
    if next >= refund_height {
        Stage::Refundable { refund_height }
    } else if !deposit.counts || around.tip > members_sign_until_height {
        Stage::Expired {
            refund_height,
            blocks_left: refund_height - next,
        }
    } else if confirmations < around.needed {
        Stage::Confirming {
            confirmations,
            needed: around.needed,
            blocks_left: around.needed - confirmations,
        }
    } else {
        Stage::WaitingForAccept {
            accept_txid: accept_txid(terms, outpoint, deposit.amount),
            members_sign_until_height,
            blocks_left: members_sign_until_height - around.tip,
        }
    }
}

/// Tells where a deposit stands that a block has spent.
fn spent_stage(counts: bool, spend: Spend, around: &Around) -> Stage {
    let (txid, at) = (spend.txid, spend.height);
    let confirmations = around.tip.saturating_add(1).saturating_sub(at);
    match (spend.kind, &around.minted) {
        (SpendKind::Refund, _) => Stage::Refunded {
            refund_txid: txid,
            refund_height: at,
            confirmations,
        },
        (SpendKind::Other, _) => Stage::Spent { txid, height: at },
        (SpendKind::Accept { .. }, Some(minted)) => Stage::Minted {
            accept_txid: txid,
            accept_height: at,
            block: minted.block.number,
            transaction_hash: minted.transaction_hash,
            success: minted.success,
        },
        (SpendKind::Accept { .. }, None) if !counts => Stage::Spent { txid, height: at },
        (SpendKind::Accept { .. }, None) => Stage::Accepted {
            accept_txid: txid,
            accept_height: at,
            confirmations,
            node_asked: around.node_asked,
        },
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent { reason: None } => write!(f, "unsent: Bitcoin Core does not have it"),
            Self::Unsent { reason: Some(reason) } => {
                write!(
                    f,
                    "unsent: Bitcoin Core does not take it: {reason}; where its fee is too low, run `deposit bump`"
                )
            }
            Self::Lost { reason } => {
                write!(
                    f,
                    "lost: its coins were spent elsewhere, or never come ({reason})"
                )
            }
            Self::Mempool => write!(f, "in the mempool: waiting for a block"),
            Self::Confirming {
                confirmations,
                needed,
                blocks_left,
            } => write!(
                f,
                "{confirmations} of {needed} confirmations: {blocks_left} blocks until the members look at it"
            ),
            Self::WaitingForAccept {
                accept_txid,
                members_sign_until_height,
                blocks_left,
            } => write!(
                f,
                "waiting for the members' accept, transaction {accept_txid}: they sign it until height \
                 {members_sign_until_height}, {blocks_left} blocks left"
            ),
            Self::AcceptInMempool {
                accept_txid,
                refund_height,
                blocks_left,
            } => write!(
                f,
                "accept {accept_txid} is in the mempool: waiting for a block; else refundable in {blocks_left} blocks, \
                 at height {refund_height}"
            ),
            later => later.fmt_later(f),
        }
    }
}

impl Stage {
    /// Writes the stages from the accept or the wait for a refund on.
    fn fmt_later(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted {
                accept_txid,
                accept_height,
                confirmations,
                node_asked,
            } => {
                write!(
                    f,
                    "accepted by {accept_txid} at height {accept_height}, {confirmations} deep: waiting for L2"
                )?;
                if !node_asked {
                    write!(f, " (give node_url to see it there)")?;
                }
                Ok(())
            }
            Self::Minted {
                accept_txid,
                accept_height,
                block,
                transaction_hash,
                success,
            } => {
                write!(
                    f,
                    "minted in L2 block {block}, transaction {transaction_hash}; accepted by {accept_txid} at height \
                     {accept_height}"
                )?;
                match success {
                    Some(false) => write!(f, "; the L2 transaction failed"),
                    _ => Ok(()),
                }
            }
            Self::Expired {
                refund_height,
                blocks_left,
            } => write!(
                f,
                "expired: refundable in {blocks_left} blocks, at height {refund_height}"
            ),
            Self::Refundable { refund_height } => {
                write!(f, "refundable since height {refund_height}: run `deposit refund`")
            }
            Self::RefundInMempool { refund_txid } => {
                write!(f, "refund {refund_txid} is in the mempool: waiting for a block")
            }
            Self::Refunded {
                refund_txid,
                refund_height,
                confirmations,
            } => write!(
                f,
                "refunded by {refund_txid} at height {refund_height}, {confirmations} deep"
            ),
            Self::Spent { txid, height } => {
                write!(f, "spent by all members in {txid} at height {height}")
            }
            Self::Unsent { .. }
            | Self::Lost { .. }
            | Self::Mempool
            | Self::Confirming { .. }
            | Self::WaitingForAccept { .. }
            | Self::AcceptInMempool { .. } => fmt::Display::fmt(self, f),
        }
    }
}

#[cfg(test)]
mod tests;
