//! What the mempool has of ours, and what it lacks: after a crash, a restart of Core, a reorg, or a lost folder.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction, Txid};
use bitsect_l1::wallet::parents_first;

use super::UserError;
use super::notes::{Payer, spend_kind};
use super::record::SpendKind;
use super::session::{Refusal, Session};

/// Coins asked about in one call.
const COINS_A_CALL: usize = 500;

impl Session {
    /// Takes in what the mempool does to our coins and deposits, and sends again what we made and Core does not have.
    pub(super) async fn look_at_mempool(&mut self) -> Result<(), UserError> {
        self.find_sent().await?;
        self.find_refunds().await?;
        self.forget_absent().await?;
        if self.send_again().await? {
            // Coins are free again, and something else may spend them.
            self.find_sent().await?;
        }
        Ok(())
    }

    /// Gives the mempool transactions that spend some outputs.
    async fn spending(&self, outputs: &[OutPoint]) -> Result<Vec<Transaction>, UserError> {
        let mut found = Vec::new();
        for some in outputs.chunks(COINS_A_CALL) {
            let spending = self.client().get_tx_spending_prevout(some).await?;
            let txids: BTreeSet<Txid> = spending.into_iter().filter_map(|one| one.spending_txid).collect();
            for txid in txids {
                // None when it left the mempool meanwhile.
                found.extend(self.client().get_raw_transaction(&txid).await?);
            }
        }
        Ok(found)
    }

    /// Finds transactions in the mempool that spend our coins: after the folder was lost, they are ours.
    async fn find_sent(&mut self) -> Result<(), UserError> {
        let coins = self.wallet.confirmed_coins();
        let mut open: Vec<OutPoint> = coins.into_iter().map(|(outpoint, _)| outpoint).collect();
        while !open.is_empty() {
            let found = self.spending(&open).await?;
            open.clear();
            for tx in found {
                let txid = tx.compute_txid();
                tracing::warn!(%txid, "found a transaction of our coins in the mempool");
                // The wallet last: a coin that it calls spent is not looked at again.
                self.see(&tx, Payer::Own)?;
                self.wallet.sent([&tx])?;
                let own = tx
                    .output
                    .iter()
                    .enumerate()
                    .filter(|(_, output)| self.wallet.is_mine(output));
                open.extend(own.map(|(vout, _)| OutPoint::new(txid, vout as u32)));
            }
        }
        Ok(())
    }

    /// Finds refunds in the mempool that are not kept: after the folder was lost. By the leaf nobody else spends our deposits.
    async fn find_refunds(&mut self) -> Result<(), UserError> {
        let deposits = self.store.deposits()?.into_iter();
        let open = deposits.filter(|(_, deposit)| {
            deposit.height.is_some() && deposit.spend.is_none() && deposit.refund.is_none()
        });
        let open: Vec<OutPoint> = open.map(|(outpoint, _)| outpoint).collect();
        for tx in self.spending(&open).await? {
            let refunded = tx
                .input
                .iter()
                .enumerate()
                .filter(|(index, _)| spend_kind(&self.terms, &tx, *index) == SpendKind::Refund);
            let refunded: Vec<OutPoint> = refunded.map(|(_, input)| input.previous_output).collect();
            if refunded.is_empty() {
                continue;
            }
            tracing::warn!(txid = %tx.compute_txid(), "found a refund of ours in the mempool");
            self.store.change(|deposits| {
                for outpoint in &refunded {
                    if let Some(mut deposit) = deposits.get(outpoint)? {
                        deposit.refund = Some(tx.clone());
                        deposits.put(outpoint, &deposit)?;
                    }
                }
                Ok(())
            })?;
            self.wallet.sent([&tx])?;
        }
        Ok(())
    }

    /// Forgets deposits of other wallets that left the mempool: nobody here can send them. A block that has one after all notes
    /// it again.
    async fn forget_absent(&mut self) -> Result<(), UserError> {
        for (OutPoint { txid, .. }, deposit) in self.store.deposits()? {
            let is_sent = deposit.height.is_some() || deposit.spend.is_some();
            let is_made = deposit.transaction.is_some() || deposit.refund.is_some();
            if is_sent || is_made || self.client().get_mempool_entry(&txid).await?.is_some() {
                continue;
            }
            tracing::warn!(%txid, "a deposit of another wallet is not on its way any more");
            self.store.change(|deposits| deposits.forget(&txid))?;
        }
        Ok(())
    }

    /// Gives what is kept beside the wallet and in no block: deposits and refunds.
    fn kept(&self) -> Result<BTreeMap<Txid, Transaction>, UserError> {
        let deposits = self.store.deposits()?.into_values();
        let open = deposits.filter(|deposit| deposit.spend.is_none());
        let made = open.filter_map(|deposit| match deposit.height {
            None => deposit.transaction,
            Some(_) => deposit.refund,
        });
        Ok(made.map(|tx| (tx.compute_txid(), tx)).collect())
    }

    /// Sends what we made and Core does not have. Tells whether something was forgotten.
    async fn send_again(&mut self) -> Result<bool, UserError> {
        self.refusals.clear();
        let mut kept = self.kept()?;
        let mut refused = Vec::new();
        for tx in self.wallet.unconfirmed() {
            let txid = tx.compute_txid();
            let is_kept = kept.remove(&txid).is_some();
            match self.send_missing(&tx).await? {
                None => {}
                Some(reason) if is_kept => {
                    self.note_refusal(&tx, reason).await?;
                }
                Some(reason) => refused.push((txid, reason)),
            }
        }
        for tx in parents_first(kept.into_values().collect()) {
            let is_lost = match self.send_missing(&tx).await? {
                None => false,
                Some(reason) => self.note_refusal(&tx, reason).await?,
            };
            // Not before: it would win over what took the place of its parent.
            if !is_lost {
                self.wallet.sent([&tx])?;
            }
        }
        self.forget_refused(refused)
    }

    /// Forgets what only the wallet has, requests that were forced, so that asking again spends the same coins. `refused` has
    /// parents first. Tells whether there was any.
    fn forget_refused(&self, refused: Vec<(Txid, String)>) -> Result<bool, UserError> {
        let mut is_any = false;
        for (txid, reason) in refused.into_iter().rev() {
            // A deposit is built on it, and waits as it does.
            if self.wallet.child_of(&txid).is_some() {
                tracing::warn!(%txid, reason, "Bitcoin Core does not take a transaction of ours");
                continue;
            }
            tracing::warn!(%txid, reason, "forgetting a transaction of ours that Bitcoin Core does not take");
            self.wallet.forget([txid])?;
            is_any = true;
        }
        Ok(is_any)
    }

    /// Sends a transaction that Core does not have; gives why it does not take it.
    async fn send_missing(&self, tx: &Transaction) -> Result<Option<String>, UserError> {
        let txid = tx.compute_txid();
        if self.client().get_mempool_entry(&txid).await?.is_some() {
            return Ok(None);
        }
        match self.give(tx).await {
            // A block that came meanwhile has it: it is taken in next.
            Ok(false) => Ok(None),
            Ok(true) => {
                tracing::info!(%txid, "sent a transaction that Bitcoin Core did not have");
                Ok(None)
            }
            Err(UserError::NotTaken { reason, .. }) => Ok(Some(reason)),
            Err(error) => Err(error),
        }
    }

    /// Notes that Core does not take what is kept. Tells whether it never will.
    async fn note_refusal(&mut self, tx: &Transaction, reason: String) -> Result<bool, UserError> {
        let txid = tx.compute_txid();
        tracing::warn!(%txid, reason, "Bitcoin Core does not take a transaction of ours");
        let lost = self.is_lost(tx).await?;
        if lost {
            // What it spends of ours is spent, and its change never comes.
            self.wallet.forget([txid])?;
        }
        self.refusals.insert(txid, Refusal { reason, lost });
        Ok(lost)
    }

    /// Whether an input of a transaction was spent in a block, or never will be there.
    async fn is_lost(&self, tx: &Transaction) -> Result<bool, UserError> {
        for input in &tx.input {
            let (spent, parent) = (input.previous_output, input.previous_output.txid);
            let client = self.client();
            // Unconfirmed parents are not in this view either; a confirmed one's output is missing only when it is spent.
            if client.get_tx_out(&spent, false).await?.is_some() {
                continue;
            }
            // What took the parent's place is in a block, or the wallet's.
            let is_replaced =
                !self.wallet.knows(&parent) && client.get_mempool_entry(&parent).await?.is_none();
            if self.wallet.is_confirmed(&parent) || is_replaced {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
