//! A withdrawal past the sequencer: the signed request goes into a Bitcoin transaction, and into the chain within its
//! sequencing window (docs/derivation.md).

use std::fmt;

use alloy_primitives::B256;
use bitcoin::{Amount, ScriptBuf, TxOut, Txid};
use bitsect_l1::FaultClass;
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
    /// [`UserError`]. [`UserError::Underway`] comes where Bitcoin Core may have it.
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
        let underway = UserError::underway("L2 transaction", signed.hash);
        match self.broadcast(&made.tx).await {
            Ok(_) => {}
            Err(error @ UserError::NotTaken { .. }) => {
                self.wallet.forget([made.tx.compute_txid()])?;
                return Err(error);
            }
            Err(error) => return Err(underway(error)),
        }
        self.drop_requests(signed.request.nonce).map_err(underway)?;
        Ok(Forced {
            forced_txid: made.tx.compute_txid(),
            fee: made.fee,
            transaction_hash: signed.hash,
            sequencing_window: self.terms.sequencing_window,
        })
    }

    /// Forgets the requests of a nonce.
    fn drop_requests(&self, nonce: u64) -> Result<(), UserError> {
        for (hash, kept) in self.store.requests()? {
            if kept.nonce == nonce {
                self.store.drop_request(hash)?;
            }
        }
        Ok(())
    }

    /// Waits until L2 has a forced request. Faults of a moment are waited out with a warning.
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
        let mut confirmed = None;
        loop {
            match self.find_forced(node, signed, forced, &mut confirmed).await {
                Ok(Some(requested)) => return Ok(requested),
                Ok(None) => tokio::time::sleep(RECEIPT_PAUSE).await,
                Err(error) if error.class() == FaultClass::Retry => {
                    tracing::warn!(%error, "waiting for the node or Bitcoin Core");
                    tokio::time::sleep(self.config.follower.poll).await;
                }
                Err(error) => return Err(UserError::underway("L2 transaction", signed.hash)(error)),
            }
        }
    }

    /// Looks for a forced request on L2; gives none while it may still come. `confirmed` is the L1 height at which it was seen to
    /// have left the mempool.
    async fn find_forced(
        &self,
        node: &Node,
        signed: &SignedRequest,
        forced: &Forced,
        confirmed: &mut Option<u32>,
    ) -> Result<Option<Requested>, UserError> {
        let (hash, forced_txid) = (signed.hash, forced.forced_txid);
        // The origin first: what L2 has up to there is seen then.
        let origin = node.heads().await?.latest.l1_origin.height;
        if let Some(requested) = find_request(node, signed).await? {
            return Ok(Some(requested));
        }
        // A reorg may bring it back into the mempool.
        let is_waiting = self.client().get_mempool_entry(&forced_txid).await?.is_some();
        *confirmed = match *confirmed {
            _ if is_waiting => None,
            None => Some(self.client().get_blockchain_info().await?.blocks),
            known => known,
        };
        match confirmed.filter(|height| origin >= height + forced.sequencing_window) {
            None => Ok(None),
            Some(confirmed) => Err(UserError::LeftOut {
                hash,
                forced_txid,
                confirmed,
                origin,
            }),
        }
    }
}
