//! Payments on their way to the wallet.

use std::collections::HashSet;

use bitcoin::{Transaction, Txid};

use super::{Wallet, WalletError};
use crate::rpc::{Client, RpcError};

/// Mempool transactions fetched in one look at most; the rest is for the next look. A full mempool has some 100,000.
const LOOK_AT: usize = 2000;

/// Looking at the mempool failed. The next look makes up for it.
#[derive(Debug, thiserror::Error)]
pub enum MempoolError {
    /// A call to Core failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The wallet failed.
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

impl Wallet {
    /// Looks at Core's mempool for payments to the wallet, and forgets payments of others that are not there any more.
    ///
    /// The wallet's own transactions are not touched: whether they are still wanted is for who sends them to say. Payments
    /// of others count as pending in [`Wallet::balance`] and are not spent before they are confirmed. Returns how many
    /// transactions were fetched.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub async fn look_at_mempool(&self, client: &Client) -> Result<usize, MempoolError> {
        let mempool: HashSet<Txid> = client.get_raw_mempool().await?.into_iter().collect();
        let new: Vec<Txid> = {
            let inner = &mut *self.inner.lock();
            inner.looked_at.retain(|txid| mempool.contains(txid));
            mempool
                .iter()
                .filter(|txid| !inner.looked_at.contains(*txid))
                .take(LOOK_AT)
                .copied()
                .collect()
        };
        let mut found: Vec<Transaction> = Vec::new();
        for txid in &new {
            // None when it left the mempool meanwhile.
            found.extend(
                client
                    .get_raw_transaction(txid)
                    .await?
                    .filter(|tx| self.is_payment(tx)),
            );
        }
        if !found.is_empty() {
            self.sent(&found)?;
        }
        let gone = self
            .pending_payments()
            .into_iter()
            .filter(|txid| !mempool.contains(txid));
        let gone: Vec<Txid> = gone.collect();
        if !gone.is_empty() {
            self.forget(gone)?;
        }
        self.inner.lock().looked_at.extend(&new);
        Ok(new.len())
    }

    /// Returns whether a transaction is somebody else's and pays to the wallet.
    fn is_payment(&self, tx: &Transaction) -> bool {
        let inner = self.inner.lock();
        let (spent, received) = inner.bdk.sent_and_received(tx);
        spent == bitcoin::Amount::ZERO && received > bitcoin::Amount::ZERO
    }

    /// Returns the unconfirmed transactions that are not the wallet's own.
    fn pending_payments(&self) -> Vec<Txid> {
        let inner = self.inner.lock();
        let unconfirmed = inner
            .bdk
            .transactions()
            .filter(|tx| !tx.chain_position.is_confirmed());
        let foreign = unconfirmed.filter(|tx| {
            let (spent, _) = inner.bdk.sent_and_received(&tx.tx_node.tx);
            // A reveal pays to the wallet and spends an output that only its commit, an own one, explains.
            let of_ours = tx
                .tx_node
                .tx
                .input
                .iter()
                .any(|i| inner.bdk.tx_graph().get_tx(i.previous_output.txid).is_some());
            spent == bitcoin::Amount::ZERO && !of_ours
        });
        foreign.map(|tx| tx.tx_node.txid).collect()
    }
}
