//! How payouts that are under way come to their end.

use std::collections::BTreeSet;

use bitcoin::{Transaction, Txid};
use bitsect_l1::rpc::{Client, RpcError};
use bitsect_l1::sender::Limits;
use bitsect_l1::wallet::{Funding, Wallet};

use super::{Payout, PayoutError, Payouts, Sent, make, send};

/// Blocks that a payout waits before its fee is raised.
const PATIENCE: u32 = 3;

impl Payouts {
    /// Goes on with the payouts that are under way. One is over once a version of it is `confirmations` deep and the chain has all
    /// that it pays as paid, which `is_paid` tells; what the version does not pay is open again. Else it is sent again where it
    /// is not in the mempool, replaced where `others` pay some of it, and with a higher fee where it waits for long. One that
    /// spends what a reorg took away for good is given up. What one payout fails of keeps no other from going on.
    ///
    /// # Errors
    /// [`PayoutError`], the first one; what was kept stays so.
    pub async fn advance(
        &mut self,
        (client, wallet): (&Client, &Wallet),
        is_paid: impl Fn(u64) -> bool,
        others: &BTreeSet<u64>,
        (tip, confirmations): (u32, u32),
    ) -> Result<(), PayoutError> {
        self.settle(wallet, &is_paid, (tip, confirmations))?;
        let mut failed = Ok(());
        let mut given_up = BTreeSet::new();
        for number in 0..self.under_way.len() {
            let payout = &self.under_way[number];
            let Some(id) = first(payout) else {
                continue;
            };
            let done = match payout.is_confirmed(wallet) {
                true => Ok(true),
                false => {
                    self.go_on((client, wallet), number, (&is_paid, others), tip)
                        .await
                }
            };
            match done {
                Ok(true) => drop(self.dead.remove(&id)),
                // A reorg may bring it back.
                Ok(false) if tip < *self.dead.entry(id).or_insert(tip) + confirmations => {}
                Ok(false) => drop(given_up.insert(id)),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        self.give_up(wallet, &given_up)?;
        failed
    }

    /// Ends payouts that are over, and opens again what deep ones do not pay.
    fn settle(
        &mut self,
        wallet: &Wallet,
        is_paid: &impl Fn(u64) -> bool,
        (tip, confirmations): (u32, u32),
    ) -> Result<(), PayoutError> {
        let mut left = Vec::new();
        for payout in &self.under_way {
            let mut payout = payout.clone();
            if let Some((sent, height)) = payout.confirmed(wallet)
                && tip.saturating_add(1) >= height.saturating_add(confirmations)
            {
                let ids: BTreeSet<u64> = sent.ids.iter().copied().collect();
                payout.paid.retain(|id, _| ids.contains(id));
                if payout.paid.keys().all(|id| is_paid(*id)) {
                    continue;
                }
            }
            left.push(payout);
        }
        match left == self.under_way {
            true => Ok(()),
            false => self.keep(left),
        }
    }

    /// Sends or replaces a payout that is in no block. Gives no where it spends what is not there.
    async fn go_on(
        &mut self,
        (client, wallet): (&Client, &Wallet),
        number: usize,
        (is_paid, others): (&impl Fn(u64) -> bool, &BTreeSet<u64>),
        tip: u32,
    ) -> Result<bool, PayoutError> {
        let Some(last) = self.last_possible(client, number).await? else {
            return Ok(false);
        };
        let stays = |id: &u64| !others.contains(id) && !is_paid(*id);
        let ids: Vec<u64> = last.ids.iter().copied().filter(stays).collect();
        let waits = tip >= last.made_at + PATIENCE;
        if ids.len() < last.ids.len() || (waits && self.is_cheap(client, &last).await?) {
            self.replace((client, wallet), (number, &last), ids, tip).await?;
        } else {
            send(client, &last.tx).await?;
        }
        Ok(true)
    }

    /// Gives the newest version of a payout that spends what is there.
    async fn last_possible(&self, client: &Client, number: usize) -> Result<Option<Sent>, RpcError> {
        for sent in self.under_way[number].versions.iter().rev() {
            if is_there(client, &sent.tx).await? {
                return Ok(Some(sent.clone()));
            }
        }
        Ok(None)
    }

    /// Forgets payouts none of which can be confirmed any more: their withdrawals are open again.
    fn give_up(&mut self, wallet: &Wallet, ids: &BTreeSet<Txid>) -> Result<(), PayoutError> {
        let is_given_up = |payout: &Payout| first(payout).is_some_and(|id| ids.contains(&id));
        let (gone, left): (Vec<Payout>, Vec<Payout>) = self.under_way.iter().cloned().partition(is_given_up);
        if gone.is_empty() {
            return Ok(());
        }
        let sent = gone.iter().flat_map(|payout| &payout.versions);
        let txids: Vec<Txid> = sent.map(|sent| sent.tx.compute_txid()).collect();
        tracing::warn!(?txids, "payouts are given up: a reorg took away what they spend");
        self.dead.retain(|id, _| !ids.contains(id));
        self.keep(left)?;
        Ok(wallet.forget(txids)?)
    }

    /// Whether Bitcoin asks more than a payout gives.
    async fn is_cheap(&self, client: &Client, sent: &Sent) -> Result<bool, PayoutError> {
        let rate = self.fees.rate(client).await?;
        Ok(rate.fee_wu(sent.tx.weight()).is_none_or(|fee| fee > sent.fee))
    }

    async fn replace(
        &mut self,
        (client, wallet): (&Client, &Wallet),
        (number, last): (usize, &Sent),
        ids: Vec<u64>,
        made_at: u32,
    ) -> Result<(), PayoutError> {
        let rate = self.fees.rate(client).await?;
        // The new one is not larger.
        let least = Limits::read(client).await?.replacing(last.fee, last.tx.weight());
        let outputs = self.outputs(&self.under_way[number].paid, &ids);
        let request = Funding::new(rate, outputs).replace(wallet, &[&last.tx], least);
        let signed = make(wallet, request)?;
        tracing::info!(txid = %signed.tx.compute_txid(), ?ids, fee = %signed.fee, "a payout is replaced");
        let mut all = self.under_way.clone();
        all[number].versions.push(Sent {
            tx: signed.tx.clone(),
            fee: signed.fee,
            ids,
            made_at,
        });
        self.publish((client, wallet), all, &signed.tx).await
    }
}

/// What names a payout: its first version.
fn first(payout: &Payout) -> Option<Txid> {
    payout.versions.first().map(|sent| sent.tx.compute_txid())
}

/// Whether all that a transaction spends is in the chain, and unspent there.
async fn is_there(client: &Client, tx: &Transaction) -> Result<bool, RpcError> {
    for input in &tx.input {
        if client.get_tx_out(&input.previous_output, false).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
