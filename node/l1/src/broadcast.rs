//! Giving a transaction to Core, and finding out what became of it.
//!
//! Core's answer to a transaction that it does not take is ambiguous: code -25 may mean that an input was spent by us, by
//! another, or that its parent is not there yet; code -27 is only given while an output is unspent. So after any refusal
//! the chain and the mempool are looked at, and the message decides only what they leave open.

use bitcoin::{OutPoint, Transaction, Txid};

use crate::{
    BlockRef,
    ledger::inputs,
    rpc::{Client, RpcError, code},
};

/// Blocks looked back at most for a transaction that Core says is confirmed.
const LOCATE_ATTEMPTS: u32 = 3;

/// `package_msg` when what was refused is said of the single transactions.
const OF_SINGLE: &str = "transaction failed";

/// What became of a transaction that was given to Core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the mempool.
    InMempool,
    /// It is in the chain.
    InChain,
    /// Another mempool transaction spends the same.
    Conflict {
        /// The other transaction.
        by: Txid,
        /// What both spend.
        spent: OutPoint,
    },
    /// An input is not there: the parent is missing, or it was spent in the chain.
    InputMissing(OutPoint),
    /// A time lock is not over yet.
    Premature(String),
    /// It pays too little for the mempool or for what it replaces.
    TooCheap(String),
    /// Too much hangs together unconfirmed.
    NoRoom(String),
    /// Core does not take it for another reason.
    Refused(String),
}

/// What became of a parent and its child that were given to Core together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) parent: Outcome,
    pub(crate) child: Outcome,
}

/// Sends a transaction.
///
/// # Errors
/// [`RpcError`] when Core could not be asked; then nothing is known.
pub(crate) async fn send(client: &Client, tx: &Transaction) -> Result<Outcome, RpcError> {
    match client.send_raw_transaction(tx).await {
        Ok(_) => Ok(Outcome::InMempool),
        Err(RpcError::Rpc {
            code: code::VERIFY | code::VERIFY_REJECTED | code::ALREADY_IN_CHAIN,
            message,
            ..
        }) => look(client, tx, message, None).await,
        Err(RpcError::Rpc {
            code: code::DESERIALIZATION,
            message,
            ..
        }) => Ok(Outcome::Refused(message)),
        Err(error) => Err(error),
    }
}

/// Sends a parent and its child together, so that the child's fee counts for both. What is there already is no harm.
///
/// # Errors
/// [`RpcError`] when Core could not be asked; then nothing is known.
pub(crate) async fn send_package(
    client: &Client,
    parent: &Transaction,
    child: &Transaction,
) -> Result<Package, RpcError> {
    let (all, of_parent, of_child) = match client.submit_package(&[parent, child]).await {
        Ok(result) => {
            let of = |tx: &Transaction| {
                let result = result.results.get(&tx.compute_wtxid());
                result.and_then(|r| r.error.clone())
            };
            let (parent, child) = (of(parent), of(child));
            (result.message, parent, child)
        }
        Err(RpcError::Rpc { code, message, .. }) if code != code::IN_WARMUP => (message, None, None),
        Err(error) => return Err(error),
    };
    let said = of_parent.clone().unwrap_or_else(|| all.clone());
    let first = look(client, parent, said, None).await?;
    let excused = match first {
        Outcome::InMempool | Outcome::InChain => None,
        // What the child spends of it cannot be there.
        _ => Some(parent.compute_txid()),
    };
    let second = look(client, child, decisive(all, of_parent, of_child), excused).await?;
    Ok(Package {
        parent: first,
        child: second,
    })
}

/// Picks what the child was refused for. Alone each is refused already: the parent for its fee, the child for its parent.
fn decisive(all: String, of_parent: Option<String>, of_child: Option<String>) -> String {
    if all != OF_SINGLE {
        return all;
    }
    let fault = of_parent.filter(|said| !matches!(by_message(said.clone()), Outcome::TooCheap(_)));
    fault.or(of_child).unwrap_or(all)
}

/// Finds out what became of a transaction after Core said `message`. Outputs of `excused` are not looked for.
async fn look(
    client: &Client,
    tx: &Transaction,
    message: String,
    excused: Option<Txid>,
) -> Result<Outcome, RpcError> {
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
    // A time lock is only looked at when all inputs are there, and nothing else can be meant.
    if let early @ Outcome::Premature(_) = by_message(message.clone()) {
        return Ok(early);
    }
    let spent: Vec<OutPoint> = inputs(tx).filter(|input| Some(input.txid) != excused).collect();
    // Core refuses to be asked about nothing.
    let spenders = match spent.is_empty() {
        true => Vec::new(),
        false => client.get_tx_spending_prevout(&spent).await?,
    };
    for (spent, by) in spent.iter().zip(spenders) {
        if let Some(by) = by.spending_txid.filter(|other| *other != txid) {
            return Ok(Outcome::Conflict { by, spent: *spent });
        }
    }
    for outpoint in spent {
        if client.get_tx_out(&outpoint, true).await?.is_none() {
            return Ok(Outcome::InputMissing(outpoint));
        }
    }
    Ok(by_message(message))
}

/// Reads Core's reason (`src/validation.cpp`) once the chain and the mempool leave nothing else.
fn by_message(message: String) -> Outcome {
    const CHEAP: [&str; 9] = [
        "mempool min fee not met",
        "min relay fee not met",
        "insufficient fee",
        "insufficient anti-DoS fees",
        "replacement-failed",
        "does not improve feerate diagram",
        "package feerate is less than or equal to parent feerate",
        "mempool full",
        "package-fee-too-low",
    ];
    const EARLY: [&str; 3] = [
        "non-BIP68-final",
        "non-final",
        "bad-txns-premature-spend-of-coinbase",
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
    } else if EARLY.iter().any(|reason| message.contains(reason)) {
        Outcome::Premature(message)
    } else {
        Outcome::Refused(message)
    }
}

/// Finds the block of a transaction that is in the chain and has an unspent output.
///
/// # Errors
/// [`RpcError`].
pub(crate) async fn locate(client: &Client, tx: &Transaction) -> Result<Option<BlockRef>, RpcError> {
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
        assert!(matches!(is("non-BIP68-final"), Outcome::Premature(_)));
        assert!(matches!(
            is("package RBF failed: insufficient anti-DoS fees, rejecting"),
            Outcome::TooCheap(_)
        ));
        assert!(matches!(is("TRUC-violation, x"), Outcome::Refused(_)));
    }

    #[test]
    fn the_reason_of_a_package_is_neither_the_parents_fee_nor_the_childs_parent() {
        let some = |said: &str| Some(said.to_owned());
        let of = |all: &str, parent, child| decisive(all.to_owned(), parent, child);
        let (fee, absent) = (
            some("min relay fee not met, 0 < 22"),
            some("bad-txns-inputs-missingorspent"),
        );
        assert_eq!(
            of("TRUC-violation", fee.clone(), absent.clone()),
            "TRUC-violation"
        );
        let early = some("non-BIP68-final");
        assert_eq!(
            of(OF_SINGLE, early, absent),
            "non-BIP68-final",
            "the parent has a fault of its own"
        );
        let child = some("mempool min fee not met, 200 < 300");
        assert_eq!(
            of(OF_SINGLE, fee.clone(), child),
            "mempool min fee not met, 200 < 300"
        );
        assert_eq!(of(OF_SINGLE, None, None), OF_SINGLE);
    }
}
