//! Payouts: an operator pays withdrawals from its own money, each once.
//!
//! A payout is kept before it is sent, and sent again until one of its versions is deep in Bitcoin and the chain has counted that.
//! Where another operator pays one of its withdrawals first, it is replaced by one without it, by the same coins, so that only one of
//! both is ever in the chain.
//!
//! One redb file, `payouts.redb`: `payout`: `format` = 1, `deployment`, and `under way`: JSON of the payouts under way.

mod advance;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bitcoin::{Amount, OutPoint, Transaction, TxOut, Txid};
use bitsect_l1::rpc::{Client, RpcError, code};
use bitsect_l1::sender::FeePolicy;
use bitsect_l1::wallet::{FundError, Funding, SignedTx, Wallet, WalletError};
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
/// L1 blocks that are looked at below what the chain has counted: what came with those may have waited in its inbox.
const UNCOUNTED: u32 = 150;
/// L1 blocks that the node may be behind Bitcoin: behind more nothing is paid.
pub(super) const MAX_BEHIND: u32 = 1_000;

/// A payout that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout {
    /// The withdrawals, by number, that a version of it pays: script and amount. Once one is deep, those that it pays.
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
    /// The tip when a payout was found to spend what is not there, by its first version.
    dead: BTreeMap<Txid, u32>,
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
            dead: BTreeMap::new(),
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

    /// Gives which of the withdrawals that are open, or that we are paying, another operator pays. The chain has counted Bitcoin up
    /// to `counted`; `tip` is the last block.
    ///
    /// # Errors
    /// Where Bitcoin Core fails.
    pub async fn others(
        &mut self,
        client: &Client,
        open: &[Open],
        (counted, tip): (u32, u32),
    ) -> Result<BTreeSet<u64>, PayoutError> {
        let ours: BTreeSet<Txid> = self.versions().map(|sent| sent.tx.compute_txid()).collect();
        let mut owed: BTreeMap<u64, TxOut> = open.iter().map(|open| (open.id, open.output())).collect();
        owed.extend(self.under_way.iter().flat_map(|payout| payout.paid.clone()));
        let blocks = tip.saturating_sub(counted).min(MAX_BEHIND) + UNCOUNTED;
        Ok(self
            .seen
            .others(client, &owed, &ours, (tip, blocks as usize))
            .await?)
    }

    /// Whether a transaction of the mempool, at the last look, has a vault output assigned.
    pub fn is_assigned(&self, outpoint: &OutPoint) -> bool {
        self.seen.is_assigned(outpoint)
    }

    fn versions(&self) -> impl Iterator<Item = &Sent> {
        self.under_way.iter().flat_map(|payout| &payout.versions)
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
        let request = Funding::new(rate, self.outputs(&paid, &ids));
        let signed = make(wallet, request)?;
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
        self.publish((client, wallet), all, &signed.tx).await
    }

    /// Keeps what is under way, then sends the newest transaction of it.
    async fn publish(
        &mut self,
        (client, wallet): (&Client, &Wallet),
        payouts: Vec<Payout>,
        tx: &Transaction,
    ) -> Result<(), PayoutError> {
        self.keep(payouts)?;
        send(client, tx).await?;
        Ok(wallet.sent([tx])?)
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
    /// Gives the version that is in the chain, and its height.
    fn confirmed(&self, wallet: &Wallet) -> Option<(&Sent, u32)> {
        let height = |sent: &Sent| wallet.confirmed_at(&sent.tx.compute_txid());
        self.versions.iter().find_map(|sent| Some((sent, height(sent)?)))
    }

    /// Whether a version of it is in the chain.
    pub fn is_confirmed(&self, wallet: &Wallet) -> bool {
        self.confirmed(wallet).is_some()
    }
}

/// Makes a payout of confirmed coins: a reorg must not take them away. Nothing else is built on it.
fn make(wallet: &Wallet, mut request: Funding) -> Result<SignedTx, FundError> {
    request.unconfirmed = false;
    request.need_change = true;
    request.quiet_change = true;
    wallet.finish(wallet.fund(&request)?)
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
