//! A user's folder at work: wallet and deposits follow Bitcoin together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bitcoin::{Amount, OutPoint, Transaction, Txid};
use bitsect_l1::follower::{Event, Follower, FollowerConfig};
use bitsect_l1::rpc::{Client, RpcError, code};
use bitsect_l1::sender::FeePolicy;
use bitsect_l1::wallet::Wallet;
use bitsect_l1::{BlockRef, FaultClass};

use super::notes::{Ring, note};
use super::store::UserStore;
use super::{Terms, UserError, UserKeys};

/// The wallet's file in the user's folder.
const WALLET_FILE: &str = "wallet.redb";
/// Coins asked about in one call.
const COINS_A_CALL: usize = 500;

/// What a session needs.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Bitcoin Core.
    pub client: Client,
    /// How Bitcoin is followed.
    pub follower: FollowerConfig,
    /// Which fee rate is paid.
    pub fees: FeePolicy,
    /// The highest fee of one transaction.
    pub max_fee: Amount,
    /// A block before the first coin and deposit.
    pub birthday: BlockRef,
}

/// Why Core does not take a transaction of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it says.
    pub reason: String,
    /// Whether another transaction has spent what it spends, so that it never will be taken.
    pub lost: bool,
}

/// A user's folder, open. No other process can open it meanwhile.
pub struct Session {
    pub(super) terms: Terms,
    pub(super) keys: UserKeys,
    pub(super) config: SessionConfig,
    pub(super) wallet: Wallet,
    pub(super) store: UserStore,
    pub(super) tip: BlockRef,
    /// Why Core did not take transactions of ours, at the last look.
    pub(super) refusals: BTreeMap<Txid, Refusal>,
    /// Transactions that were sent again.
    resent: BTreeSet<Txid>,
    follower: Follower,
    ring: Ring,
}

impl Session {
    /// Opens the folder, or makes it. Call [`Self::next_tip`] next.
    ///
    /// # Errors
    /// Where its files are of another chain or key, or cannot be used.
    pub fn open(
        folder: &Path,
        terms: Terms,
        keys: UserKeys,
        config: SessionConfig,
    ) -> Result<Self, UserError> {
        std::fs::create_dir_all(folder).map_err(|source| UserError::File {
            path: folder.to_owned(),
            source,
        })?;
        let path = folder.join(WALLET_FILE);
        let wallet = Wallet::open(&path, keys.wallet().clone(), terms.network, config.birthday)?;
        let store = UserStore::open(folder, &terms.hash(), config.birthday)?;
        let mut ring = Ring::new(keys.clone());
        let used = store.deposits()?.values().map(|deposit| deposit.key).max();
        ring.reach_behind(used.unwrap_or_default());
        let follower = follow(&config, &wallet, &store)?;
        Ok(Self {
            tip: wallet.tip(),
            refusals: BTreeMap::new(),
            resent: BTreeSet::new(),
            terms,
            keys,
            config,
            wallet,
            store,
            follower,
            ring,
        })
    }

    /// Gives the chain's terms.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Gives the wallet.
    pub const fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// Gives the keys.
    pub const fn keys(&self) -> &UserKeys {
        &self.keys
    }

    /// Gives the file.
    pub const fn store(&self) -> &UserStore {
        &self.store
    }

    /// Gives the last block taken in.
    pub const fn tip(&self) -> BlockRef {
        self.tip
    }

    /// Gives the deposit of an interrupted `deposit send` that was sent only by this session.
    ///
    /// # Errors
    /// Where the file fails.
    pub fn resent_deposit(&self) -> Result<Option<OutPoint>, UserError> {
        let mut deposits = self.store.deposits()?.into_keys();
        Ok(deposits.find(|outpoint| self.resent.contains(&outpoint.txid)))
    }

    /// Gives Bitcoin Core.
    pub const fn client(&self) -> &Client {
        &self.config.client
    }

    /// Waits for a tip that was not told yet, and takes in everything up to it: blocks, what the mempool does to our coins and
    /// deposits. Sends again what we made and Core does not have.
    ///
    /// # Errors
    /// Where Bitcoin cannot be followed. Faults of a moment are waited out with a warning.
    pub async fn next_tip(&mut self) -> Result<BlockRef, UserError> {
        loop {
            match self.step().await {
                Ok(Some(tip)) => return Ok(tip),
                Ok(None) => {}
                Err(error) if error.class() == FaultClass::Retry => {
                    tracing::warn!(%error, "waiting for Bitcoin Core");
                }
                Err(error) if error.class() == FaultClass::Reset => {
                    tracing::warn!(%error, "following Bitcoin starts again from what was seen");
                    self.follower = follow(&self.config, &self.wallet, &self.store)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn step(&mut self) -> Result<Option<BlockRef>, UserError> {
        let event = self.follower.next().await?;
        self.wallet.apply(&event)?;
        match event {
            Event::Connected(block) => {
                let (ring, terms) = (&mut self.ring, &self.terms);
                let previous = block.block.header.prev_blockhash;
                self.store.connect(block.at(), previous, |deposits| {
                    let mut transactions = block.block.txdata.iter();
                    transactions.try_for_each(|tx| note(deposits, ring, terms, tx, Some(block.height), false))
                })?;
                Ok(None)
            }
            Event::Disconnected(at) => {
                self.store.disconnect(at.height)?;
                Ok(None)
            }
            Event::Tip { at, .. } | Event::Lagging { ours: at, .. } => {
                self.tip = at;
                self.find_sent().await?;
                self.send_again().await?;
                Ok(Some(at))
            }
        }
    }

    /// Finds transactions in the mempool that spend our coins: after the folder was lost, they are ours.
    async fn find_sent(&mut self) -> Result<(), UserError> {
        let coins = self.wallet.confirmed_coins();
        let mut open: Vec<OutPoint> = coins.into_iter().map(|(outpoint, _)| outpoint).collect();
        while !open.is_empty() {
            let some = open.split_off(open.len().saturating_sub(COINS_A_CALL));
            for spending in self.client().get_tx_spending_prevout(&some).await? {
                let Some(txid) = spending.spending_txid else {
                    continue;
                };
                // None when it left the mempool meanwhile.
                let Some(tx) = self.client().get_raw_transaction(&txid).await? else {
                    continue;
                };
                tracing::warn!(%txid, "found a transaction of our coins in the mempool");
                self.wallet.sent([&tx])?;
                self.see(&tx, true)?;
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

    /// Sends what we made and Core does not have: after a crash, a restart of Core, or a reorg.
    async fn send_again(&mut self) -> Result<(), UserError> {
        self.refusals.clear();
        for deposit in self.store.deposits()?.into_values() {
            if deposit.spend.is_some() {
                continue;
            }
            let made = match deposit.height {
                None => deposit.transaction,
                Some(_) => deposit.refund,
            };
            if let Some(tx) = made {
                self.send_missing(&tx).await?;
            }
        }
        Ok(())
    }

    async fn send_missing(&mut self, tx: &Transaction) -> Result<(), UserError> {
        let txid = tx.compute_txid();
        if self.client().get_mempool_entry(&txid).await?.is_some() {
            return Ok(());
        }
        match self.broadcast(tx).await {
            // A block that came meanwhile has it: it is taken in next.
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(%txid, "sent a transaction that Bitcoin Core did not have");
                self.resent.insert(txid);
            }
            Err(UserError::NotTaken { reason, .. }) => {
                tracing::warn!(%txid, reason, "Bitcoin Core does not take a transaction of ours");
                let lost = self.is_lost(tx).await?;
                if lost {
                    // What it spends of ours is spent, and its change never comes.
                    self.wallet.forget([txid])?;
                }
                self.refusals.insert(txid, Refusal { reason, lost });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether an input of a transaction was spent in a block.
    async fn is_lost(&self, tx: &Transaction) -> Result<bool, UserError> {
        for input in &tx.input {
            let spent = input.previous_output;
            let client = self.client();
            // Unconfirmed parents are not in this view either; a confirmed one's output is missing only when it is spent.
            if client.get_tx_out(&spent, false).await?.is_none() && self.wallet.is_confirmed(&spent.txid) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives a transaction to Core; the wallet's coins in it are spent from then on. Tells whether Core takes it now: not where a
    /// block has it.
    pub(super) async fn broadcast(&self, tx: &Transaction) -> Result<bool, UserError> {
        self.wallet.sent([tx])?;
        match self.client().send_raw_transaction(tx).await {
            Ok(_) => Ok(true),
            Err(RpcError::Rpc {
                code: code::ALREADY_IN_CHAIN,
                ..
            }) => Ok(false),
            Err(RpcError::Rpc {
                code: code::VERIFY | code::VERIFY_REJECTED,
                message,
                ..
            }) => Err(UserError::NotTaken {
                what: "the transaction",
                reason: message,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks Core whether it would take a transaction.
    pub(super) async fn verify_acceptable(
        &self,
        what: &'static str,
        tx: &Transaction,
    ) -> Result<(), UserError> {
        let answers = self.client().test_mempool_accept(&[tx]).await?;
        match answers.into_iter().next() {
            Some(answer) if answer.allowed == Some(true) => Ok(()),
            answer => {
                let reason = answer.and_then(|answer| answer.reject_details.or(answer.reject_reason));
                Err(UserError::NotTaken {
                    what,
                    reason: reason.unwrap_or_else(|| "without a reason".to_owned()),
                })
            }
        }
    }

    /// Notes the deposits of a transaction that is in no block.
    pub(super) fn see(&mut self, tx: &Transaction, own: bool) -> Result<(), UserError> {
        let (ring, terms) = (&mut self.ring, &self.terms);
        let noted = self
            .store
            .change(|deposits| note(deposits, ring, terms, tx, None, own));
        Ok(noted?)
    }

    /// Notes the deposits of a transaction of ours instead of another's, which is in no block. Where a block has that one
    /// after all, its deposits are noted again.
    pub(super) fn see_instead(&mut self, tx: &Transaction, replaced: &Txid) -> Result<(), UserError> {
        let (ring, terms) = (&mut self.ring, &self.terms);
        let noted = self.store.change(|deposits| {
            deposits.forget(replaced)?;
            note(deposits, ring, terms, tx, None, true)
        });
        Ok(noted?)
    }
}

/// Makes a follower that begins with what the one that knows less knows; the other one takes no block twice.
fn follow(config: &SessionConfig, wallet: &Wallet, store: &UserStore) -> Result<Follower, UserError> {
    let (wallet, store) = (wallet.known(), store.known()?);
    let tip = |blocks: &[BlockRef]| blocks.last().map_or(0, |block| block.height);
    let known = if tip(&wallet) < tip(&store) { wallet } else { store };
    Ok(Follower::new(
        config.client.clone(),
        config.follower.clone(),
        known,
    )?)
}
