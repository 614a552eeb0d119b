//! A withdrawal past the sequencer: the signed request goes into a Bitcoin transaction, and into the chain within its
//! sequencing window (docs/derivation.md).

use std::fmt;

use alloy_primitives::B256;
use bitcoin::{Amount, ScriptBuf, TxOut, Txid};
use bitsect_vm::derive::forced_script;
use serde::Serialize;

use super::deposit::verify_fee;
use super::withdraw::{RECEIPT_PAUSE, find_request};
use super::{Node, Requested, Session, SignedRequest, UserError};

/// A request that is on its way by Bitcoin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forced {
    /// The Bitcoin transaction.
    pub forced_txid: Txid,
    /// Its fee.
    #[serde(rename = "feeSats", with = "bitcoin::amount::serde::as_sat")]
    pub fee: Amount,
    /// The L2 transaction.
    pub transaction_hash: B256,
    /// L1 blocks after the Bitcoin transaction's within which L2 has it.
    pub sequencing_window: u32,
}

impl fmt::Display for Forced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            forced_txid,
            fee,
            transaction_hash,
            sequencing_window,
        } = self;
        write!(
            f,
            "request {transaction_hash} is in Bitcoin transaction {forced_txid}, fee {fee}\n  \
             L2 has it at the latest {sequencing_window} L1 blocks after that one is confirmed; withdraw status shows it then"
        )
    }
}

impl Session {
    /// Sends a signed request in a Bitcoin transaction of the wallet's. Nothing is kept: asked for again before L2 has it, it has
    /// the same nonce, and counts once. So does a request with that nonce that was kept for a node, which is forgotten.
    ///
    /// # Errors
    /// [`UserError`]; nothing is sent then, but for [`UserError::Bitcoin`] and [`UserError::NotTaken`].
    pub async fn force(&mut self, signed: &SignedRequest) -> Result<Forced, UserError> {
        let output = TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::from_bytes(forced_script(&signed.request.raw)),
        };
        let made = self.make(vec![output]).await?;
        let verified = match verify_fee(self.config.max_fee, made.fee) {
            Ok(()) => self.verify_acceptable("the forced request", &made.tx).await,
            Err(error) => Err(error),
        };
        if let Err(error) = verified {
            self.wallet.release(&made.tx);
            return Err(error);
        }
        self.broadcast(&made.tx).await?;
        for (hash, kept) in self.store.requests()? {
            if kept.nonce == signed.request.nonce {
                self.store.drop_request(hash)?;
            }
        }
        Ok(Forced {
            forced_txid: made.tx.compute_txid(),
            fee: made.fee,
            transaction_hash: signed.hash,
            sequencing_window: self.terms.sequencing_window,
        })
    }

    /// Waits until L2 has a forced request.
    ///
    /// # Errors
    /// [`UserError::Reverted`] where it failed there; [`UserError::NonceTaken`]; [`UserError::LeftOut`] where L2 has come a
    /// sequencing window past the Bitcoin transaction, and does not have it; where node or Bitcoin Core cannot be asked.
    pub async fn wait_for_forced(
        &self,
        node: &Node,
        signed: &SignedRequest,
        forced: &Forced,
    ) -> Result<Requested, UserError> {
        let (hash, forced_txid) = (signed.hash, forced.forced_txid);
        let mut confirmed = None;
        loop {
            // The origin first: what L2 has up to there is seen then.
            let origin = node.heads().await?.latest.l1_origin.height;
            if let Some(requested) = find_request(node, signed).await? {
                return Ok(requested);
            }
            // A reorg may bring it back into the mempool.
            let is_waiting = self.client().get_mempool_entry(&forced_txid).await?.is_some();
            confirmed = match confirmed {
                _ if is_waiting => None,
                None => Some(self.client().get_blockchain_info().await?.blocks),
                known => known,
            };
            if let Some(confirmed) = confirmed.filter(|height| origin >= height + forced.sequencing_window) {
                return Err(UserError::LeftOut {
                    hash,
                    forced_txid,
                    confirmed,
                    origin,
                });
            }
            tokio::time::sleep(RECEIPT_PAUSE).await;
        }
    }
}
