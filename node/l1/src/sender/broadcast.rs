//! Giving a transaction to Core, and finding out what became of it.
//!
//! Core's answer to a transaction that it does not take is ambiguous: code -25 may mean that an input was spent by us, by
//! another, or that its parent is not there yet; code -27 is only given while an output is unspent. So after any refusal
//! the chain and the mempool are looked at, and the message decides only what they leave open.

use bitcoin::{OutPoint, Transaction, Txid};

use super::job::inputs;
use crate::{
    BlockRef,
    rpc::{Client, RpcError, code},
};

/// Blocks looked back at most for a transaction that Core says is confirmed.
const LOCATE_ATTEMPTS: u32 = 3;

/// What became of a transaction that was given to Core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the mempool.
    InMempool,
    /// It is in the chain.
    InChain,
    /// Another mempool transaction spends the same.
    Conflict(Txid),
    /// An input is not there: the parent is missing, or it was spent in the chain.
    InputsMissing,
    /// It pays too little for the mempool or for what it replaces.
    TooCheap(String),
    /// Too much hangs together unconfirmed.
    NoRoom(String),
    /// Core does not take it for another reason.
    Refused(String),
}

/// Sends a transaction.
///
/// # Errors
/// [`RpcError`] when Core could not be asked; then nothing is known.
pub(super) async fn send(client: &Client, tx: &Transaction) -> Result<Outcome, RpcError> {
    match client.send_raw_transaction(tx).await {
        Ok(_) => Ok(Outcome::InMempool),
        Err(RpcError::Rpc {
            code: code::VERIFY | code::VERIFY_REJECTED | code::ALREADY_IN_CHAIN,
            message,
            ..
        }) => look(client, tx, message).await,
        Err(RpcError::Rpc {
            code: code::DESERIALIZATION,
            message,
            ..
        }) => Ok(Outcome::Refused(message)),
        Err(error) => Err(error),
    }
}

/// Sends a parent and its child together, so that the child's fee counts for both. Returns the parent's outcome.
///
/// # Errors
/// [`RpcError`] when Core could not be asked; then nothing is known.
pub(super) async fn send_package(
    client: &Client,
    parent: &Transaction,
    child: &Transaction,
) -> Result<Outcome, RpcError> {
    let message = match client.submit_package(&[parent, child]).await {
        Ok(result) => {
            let parent = result
                .results
                .get(&parent.compute_wtxid())
                .and_then(|r| r.error.clone());
            parent.unwrap_or(result.message)
        }
        Err(RpcError::Rpc { code, message, .. }) if code != code::IN_WARMUP => message,
        Err(error) => return Err(error),
    };
    look(client, parent, message).await
}

/// Finds out what became of a transaction after Core said `message`.
async fn look(client: &Client, tx: &Transaction, message: String) -> Result<Outcome, RpcError> {
    let txid = tx.compute_txid();
    if client.get_mempool_entry(&txid).await?.is_some() {
        return Ok(Outcome::InMempool);
    }
    for vout in 0..tx.output.len() as u32 {
        if client
            .get_tx_out(&OutPoint::new(txid, vout), false)
            .await?
            .is_some()
        {
            return Ok(Outcome::InChain);
        }
    }
    let spent: Vec<OutPoint> = inputs(tx).collect();
    let spending = client.get_tx_spending_prevout(&spent).await?;
    if let Some(other) = spending
        .iter()
        .find_map(|s| s.spending_txid)
        .filter(|other| *other != txid)
    {
        return Ok(Outcome::Conflict(other));
    }
    for outpoint in &spent {
        if client.get_tx_out(outpoint, true).await?.is_none() {
            return Ok(Outcome::InputsMissing);
        }
    }
    Ok(by_message(message))
}

/// Reads Core's reason (`src/validation.cpp`) once the chain and the mempool leave nothing else.
fn by_message(message: String) -> Outcome {
    const CHEAP: [&str; 6] = [
        "mempool min fee not met",
        "min relay fee not met",
        "insufficient fee",
        "replacement-failed",
        "mempool full",
        "package-fee-too-low",
    ];
    const FULL: [&str; 3] = [
        "too-large-cluster",
        "too-long-mempool-chain",
        "package-mempool-limits",
    ];
    if CHEAP.iter().any(|reason| message.contains(reason)) {
        Outcome::TooCheap(message)
    } else if FULL.iter().any(|reason| message.contains(reason)) {
        Outcome::NoRoom(message)
    } else {
        Outcome::Refused(message)
    }
}

/// Finds the block of a transaction that is in the chain and has an unspent output.
///
/// # Errors
/// [`RpcError`].
pub(super) async fn locate(client: &Client, tx: &Transaction) -> Result<Option<BlockRef>, RpcError> {
    let txid = tx.compute_txid();
    for _ in 0..LOCATE_ATTEMPTS {
        let mut found = None;
        for vout in 0..tx.output.len() as u32 {
            found = client.get_tx_out(&OutPoint::new(txid, vout), false).await?;
            if found.is_some() {
                break;
            }
        }
        let Some(output) = found.filter(|output| output.confirmations > 0) else {
            return Ok(None);
        };
        // Confirmations count from the tip that the same answer names.
        let Some(tip) = client.get_header_info(&output.best_block).await? else {
            continue;
        };
        let Some(height) = (tip.height + 1).checked_sub(output.confirmations) else {
            continue;
        };
        let Some(hash) = client.get_block_hash(height).await? else {
            continue;
        };
        // The chain may have changed between the calls, so the block itself is asked.
        if client.get_raw_transaction_in(&txid, &hash).await?.is_some() {
            return Ok(Some(BlockRef::new(height, hash)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_core_are_told_apart() {
        let is = |message: &str| by_message(message.to_owned());
        assert!(matches!(
            is("min relay fee not met, 0 < 110"),
            Outcome::TooCheap(_)
        ));
        assert!(matches!(
            is("insufficient fee, rejecting replacement x"),
            Outcome::TooCheap(_)
        ));
        assert!(matches!(is("too-large-cluster"), Outcome::NoRoom(_)));
        assert!(matches!(
            is("too-long-mempool-chain, too many"),
            Outcome::NoRoom(_)
        ));
        assert!(matches!(is("non-BIP68-final"), Outcome::Refused(_)));
    }
}
