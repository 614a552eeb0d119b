//! Payouts: an operator pays withdrawals from its own money, each once.
//!
//! A payout is kept before it is sent, and sent again until the chain has its withdrawals as paid. Where another operator pays
//! one of them first, it is replaced by one without it, by the same coins, so that only one of both is ever in the chain.
//!
//! One redb file, `payouts.redb`: `payout`: `format` = 1, `deployment`, and `under way`: JSON of the payouts under way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bitcoin::{Amount, Transaction, TxOut, Txid};
use bitsect_l1::rpc::{Client, RpcError, code};
use bitsect_l1::sender::{FeePolicy, Limits};
use bitsect_l1::wallet::{FundError, Funding, Wallet, WalletError};
use bitsect_vm::derive::payout_script;
use redb::{Database, ReadableDatabase, TableDefinition};
use serde::{Deserialize, Serialize};

use super::policy::Open;
use super::seen::Seen;
use crate::committee::Digest;
use crate::convert::chain_txid;
use crate::identity::{OtherFile, identify};

const FILE: &str = "payouts.redb";
const FORMAT: u32 = 1;
const PAYOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("payout");
const UNDER_WAY: &str = "under way";
/// Blocks that a payout waits before its fee is raised.
const PATIENCE: u32 = 3;

/// A payout that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout {
    /// The withdrawals, by number: script and amount.
    pub paid: BTreeMap<u64, TxOut>,
    /// All transactions that were sent, of which one can confirm: the last one is wanted.
    pub versions: Vec<Sent>,
}

/// A transaction that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The transaction.
    pub tx: Transaction,
    /// Its fee.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub fee: Amount,
    /// The withdrawals that it pays.
    pub ids: Vec<u64>,
    /// The tip when it was made.
    pub made_at: u32,
}

/// Why a payout cannot be made or sent.
#[derive(Debug, thiserror::Error)]
pub enum PayoutError {
    /// The file failed.
    #[error("file of payouts: {0}")]
    Database(#[from] Box<redb::Error>),
    /// It is of another deployment, or format.
    #[error("file of payouts: {0}")]
    Other(#[from] OtherFile),
    /// What is in it cannot be read.
    #[error("file of payouts: {0}")]
    Form(#[from] serde_json::Error),
    /// Bitcoin Core failed, or refuses.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The wallet failed.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// There is too little money, or none that replaces.
    #[error("payout: {0}")]
    Fund(#[from] FundError),
}

crate::from_redb!(PayoutError);

/// An operator's payouts.
#[derive(Debug)]
pub struct Payouts {
    database: Database,
    operator: Txid,
    fees: FeePolicy,
    under_way: Vec<Payout>,
    seen: Seen,
}

impl Payouts {
    /// Opens the file in a folder, or makes it. `operator` is the id of the transaction that made the tickets.
    ///
    /// # Errors
    /// Where it is of another deployment, or cannot be used.
    pub fn open(
        folder: &Path,
        deployment: &Digest,
        operator: Txid,
        fees: FeePolicy,
    ) -> Result<Self, PayoutError> {
        let database = Database::create(folder.join(FILE))?;
        let write = database.begin_write()?;
        identify::<PayoutError>(&mut write.open_table(PAYOUT)?, FORMAT, &deployment.0)?;
        write.commit()?;
        let under_way: Option<Vec<Payout>> = {
            let table = database.begin_read()?.open_table(PAYOUT)?;
            let bytes = table.get(UNDER_WAY)?;
            bytes
                .map(|bytes| serde_json::from_slice(bytes.value()))
                .transpose()?
        };
        Ok(Self {
            database,
            operator,
            fees,
            under_way: under_way.unwrap_or_default(),
            seen: Seen::default(),
        })
    }

    /// Gives the payouts that are under way.
    pub fn under_way(&self) -> &[Payout] {
        &self.under_way
    }

    /// Tells the wallet what it has spent, in case a crash came between keeping and telling.
    ///
    /// # Errors
    /// Where the wallet fails.
    pub fn restore(&self, wallet: &Wallet) -> Result<(), PayoutError> {
        let last = self.under_way.iter().filter_map(|payout| payout.versions.last());
        Ok(wallet.sent(last.map(|sent| &sent.tx))?)
    }

    /// Gives the operator as the chain names it.
    pub const fn operator(&self) -> Txid {
        self.operator
    }

    /// Gives the fee rate of now.
    ///
    /// # Errors
    /// Where Bitcoin Core fails.
    pub async fn rate(&self, client: &Client) -> Result<bitcoin::FeeRate, PayoutError> {
        Ok(self.fees.rate(client).await?)
    }

    /// Gives which of the withdrawals that are open, or that we are paying, another operator pays.
    ///
    /// # Errors
    /// Where Bitcoin Core fails.
    pub async fn others(&mut self, client: &Client, open: &[Open]) -> Result<BTreeSet<u64>, PayoutError> {
        let ours: BTreeSet<Txid> = self.versions().map(|sent| sent.tx.compute_txid()).collect();
        let mut owed: BTreeMap<u64, TxOut> = open.iter().map(|open| (open.id, open.output())).collect();
        owed.extend(self.under_way.iter().flat_map(|payout| payout.paid.clone()));
        Ok(self.seen.others(client, &owed, &ours).await?)
    }

    fn versions(&self) -> impl Iterator<Item = &Sent> {
        self.under_way.iter().flat_map(|payout| &payout.versions)
    }

    /// Goes on with the payouts that are under way. One is over once the chain has all its withdrawals as paid, which
    /// `is_paid` tells; else it is sent again where it is not in the mempool, replaced where `others` pay some of it, and
    /// with a higher fee where it waits for long.
    ///
    /// # Errors
    /// [`PayoutError`]; what was kept stays so.
    pub async fn advance(
        &mut self,
        (client, wallet): (&Client, &Wallet),
        is_paid: impl Fn(u64) -> bool,
        others: &BTreeSet<u64>,
        tip: u32,
    ) -> Result<(), PayoutError> {
        let done = |payout: &Payout| payout.paid.keys().all(|id| is_paid(*id));
        if self.under_way.iter().any(done) {
            let left = self.under_way.iter().filter(|payout| !done(payout));
            self.keep(left.cloned().collect())?;
        }
        for number in 0..self.under_way.len() {
            let payout = &self.under_way[number];
            let Some(last) = payout.versions.last().cloned() else {
                continue;
            };
            if payout.is_confirmed(wallet) {
                continue;
            }
            let stays = |id: &u64| !others.contains(id) && !is_paid(*id);
            let ids: Vec<u64> = last.ids.iter().copied().filter(stays).collect();
            let waits = tip >= last.made_at + PATIENCE;
            if ids.len() < last.ids.len() || (waits && self.is_cheap(client, &last).await?) {
                self.replace((client, wallet), number, ids, tip).await?;
            } else {
                send(client, &last.tx).await?;
            }
        }
        Ok(())
    }

    /// Whether Bitcoin asks more than a payout gives.
    async fn is_cheap(&self, client: &Client, sent: &Sent) -> Result<bool, PayoutError> {
        let rate = self.fees.rate(client).await?;
        Ok(rate.fee_wu(sent.tx.weight()).is_none_or(|fee| fee > sent.fee))
    }

    async fn replace(
        &mut self,
        (client, wallet): (&Client, &Wallet),
        number: usize,
        ids: Vec<u64>,
        made_at: u32,
    ) -> Result<(), PayoutError> {
        let payout = self.under_way[number].clone();
        let Some(last) = payout.versions.last() else {
            return Ok(());
        };
        let rate = self.fees.rate(client).await?;
        // The new one is not larger.
        let least = Limits::read(client).await?.replacing(last.fee, last.tx.weight());
        let outputs = self.outputs(&payout.paid, &ids);
        let mut request = Funding::new(rate, outputs);
        request = request.replace(wallet, &[&last.tx], least);
        request.unconfirmed = false;
        request.need_change = true;
        let signed = wallet.finish(wallet.fund(&request)?)?;
        tracing::info!(txid = %signed.tx.compute_txid(), ?ids, fee = %signed.fee, "a payout is replaced");
        let mut all = self.under_way.clone();
        all[number].versions.push(Sent {
            tx: signed.tx.clone(),
            fee: signed.fee,
            ids,
            made_at,
        });
        self.keep(all)?;
        send(client, &signed.tx).await?;
        Ok(wallet.sent([&signed.tx])?)
    }

    /// Begins a payout.
    ///
    /// # Errors
    /// [`PayoutError`]; nothing was sent that is not kept.
    pub async fn pay(
        &mut self,
        (client, wallet): (&Client, &Wallet),
        open: &[Open],
        made_at: u32,
    ) -> Result<(), PayoutError> {
        let paid: BTreeMap<u64, TxOut> = open.iter().map(|open| (open.id, open.output())).collect();
        let ids: Vec<u64> = paid.keys().copied().collect();
        let rate = self.fees.rate(client).await?;
        let mut request = Funding::new(rate, self.outputs(&paid, &ids));
        // A reorg must not take the coins away.
        request.unconfirmed = false;
        request.need_change = true;
        request.quiet_change = true;
        let funded = wallet.fund(&request)?;
        let signed = wallet.finish(funded)?;
        tracing::info!(txid = %signed.tx.compute_txid(), ?ids, fee = %signed.fee, "paying withdrawals");
        let mut all = self.under_way.clone();
        all.push(Payout {
            paid,
            versions: vec![Sent {
                tx: signed.tx.clone(),
                fee: signed.fee,
                ids,
                made_at,
            }],
        });
        self.keep(all)?;
        send(client, &signed.tx).await?;
        Ok(wallet.sent([&signed.tx])?)
    }

    fn outputs(&self, paid: &BTreeMap<u64, TxOut>, ids: &[u64]) -> Vec<TxOut> {
        let mut outputs: Vec<TxOut> = ids.iter().filter_map(|id| paid.get(id)).cloned().collect();
        if !ids.is_empty() {
            outputs.push(TxOut {
                value: Amount::ZERO,
                script_pubkey: payout_script(&chain_txid(&self.operator), ids).into(),
            });
        }
        outputs
    }

    /// Keeps what is under way. Durable when it returns.
    fn keep(&mut self, payouts: Vec<Payout>) -> Result<(), PayoutError> {
        let write = self.database.begin_write()?;
        let bytes = serde_json::to_vec(&payouts)?;
        write.open_table(PAYOUT)?.insert(UNDER_WAY, bytes.as_slice())?;
        write.commit()?;
        self.under_way = payouts;
        Ok(())
    }
}

impl Payout {
    /// Whether a version of it is in the chain.
    pub fn is_confirmed(&self, wallet: &Wallet) -> bool {
        let mut versions = self.versions.iter();
        versions.any(|sent| wallet.is_confirmed(&sent.tx.compute_txid()))
    }
}

/// Sends a transaction; one that is there already, or whose coins are spent by another version, is not a fault.
async fn send(client: &Client, tx: &Transaction) -> Result<(), PayoutError> {
    let txid = tx.compute_txid();
    if client.get_mempool_entry(&txid).await?.is_some() {
        return Ok(());
    }
    match client.send_raw_transaction(tx).await {
        Ok(_) => Ok(()),
        Err(RpcError::Rpc { code, message, .. }) if code == code::ALREADY_IN_CHAIN => {
            tracing::debug!(%txid, %message, "a payout is in the chain");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
