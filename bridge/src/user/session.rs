//! A user's folder at work: wallet and deposits follow Bitcoin together.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bitcoin::{Amount, OutPoint, Transaction, Txid};
use bitsect_l1::follower::{Event, Follower, FollowerConfig};
use bitsect_l1::rpc::{Client, RpcError, code};
use bitsect_l1::sender::FeePolicy;
use bitsect_l1::wallet::Wallet;
use bitsect_l1::{BlockRef, FaultClass};

use super::notes::{Payer, Ring, note};
use super::record::Deposit;
use super::store::UserStore;
use super::{Terms, UserError, UserKeys};

/// The wallet's file in the user's folder.
const WALLET_FILE: &str = "wallet.redb";
/// The pause before another look at a mempool that could not be looked at. Nothing else tells when that will do.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

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
    /// Whether it never will be taken: what it spends was spent elsewhere, or never comes.
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
    /// A tip whose mempool was not looked at yet.
    unlooked: Option<BlockRef>,
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
            unlooked: None,
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

    /// Gives the deposits that were made, and that no command has told of; not those that never will be.
    pub(super) fn untold(&self) -> Result<Vec<OutPoint>, UserError> {
        let deposits = self.store.deposits()?.into_iter();
        let untold =
            deposits.filter(|(outpoint, deposit)| deposit.untold && !self.is_refused_for_good(outpoint));
        Ok(untold.map(|(outpoint, _)| outpoint).collect())
    }

    /// Notes that a command has told of deposits.
    ///
    /// # Errors
    /// Where the file fails.
    pub fn told(&self, outpoints: impl IntoIterator<Item = OutPoint>) -> Result<(), UserError> {
        let mut deposits = self.store.deposits()?;
        let untold = outpoints
            .into_iter()
            .filter_map(|outpoint| Some((outpoint, deposits.remove(&outpoint)?)))
            .filter(|(_, deposit)| deposit.untold);
        let untold: Vec<(OutPoint, Deposit)> = untold.collect();
        if untold.is_empty() {
            return Ok(());
        }
        let changed = self.store.change(|deposits| {
            untold.into_iter().try_for_each(|(outpoint, mut deposit)| {
                deposit.untold = false;
                deposits.put(&outpoint, &deposit)
            })
        });
        Ok(changed?)
    }

    /// Whether there never will be a deposit.
    pub(super) fn is_refused_for_good(&self, outpoint: &OutPoint) -> bool {
        self.refusals
            .get(&outpoint.txid)
            .is_some_and(|refusal| refusal.lost)
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
                    // The follower makes its own pauses.
                    if self.unlooked.is_some() {
                        tokio::time::sleep(LOOK_PAUSE).await;
                    }
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
        // The follower tells a tip once, and what comes behind may fail, or be dropped.
        if let Some(at) = self.unlooked {
            self.look_at_mempool().await?;
            self.unlooked = None;
            return Ok(Some(at));
        }
        let event = self.follower.next().await?;
        self.wallet.apply(&event)?;
        match event {
            Event::Connected(block) => {
                let (ring, terms) = (&mut self.ring, &self.terms);
                let previous = block.block.header.prev_blockhash;
                self.store.connect(block.at(), previous, |deposits| {
                    let mut transactions = block.block.txdata.iter();
                    transactions
                        .try_for_each(|tx| note(deposits, ring, terms, tx, Some(block.height), Payer::Other))
                })?;
                Ok(None)
            }
            Event::Disconnected(at) => {
                self.store.disconnect(at.height)?;
                Ok(None)
            }
            Event::Tip { at, .. } | Event::Lagging { ours: at, .. } => {
                self.tip = at;
                self.unlooked = Some(at);
                Ok(None)
            }
        }
    }

    /// Gives a transaction to Core; the wallet's coins in it are spent from then on. Tells whether Core takes it now: not where a
    /// block has it.
    pub(super) async fn broadcast(&self, tx: &Transaction) -> Result<bool, UserError> {
        self.wallet.sent([tx])?;
        self.give(tx).await
    }

    /// Gives a transaction to Core, and tells the same.
    pub(super) async fn give(&self, tx: &Transaction) -> Result<bool, UserError> {
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
    pub(super) fn see(&mut self, tx: &Transaction, payer: Payer) -> Result<(), UserError> {
        let (ring, terms) = (&mut self.ring, &self.terms);
        let noted = self
            .store
            .change(|deposits| note(deposits, ring, terms, tx, None, payer));
        Ok(noted?)
    }

    /// Notes the deposits of a transaction that is made now instead of another's, which is in no block. Where a block has that one
    /// after all, its deposits are noted again.
    pub(super) fn see_instead(&mut self, tx: &Transaction, replaced: &Txid) -> Result<(), UserError> {
        let (ring, terms) = (&mut self.ring, &self.terms);
        let noted = self.store.change(|deposits| {
            deposits.forget(replaced)?;
            note(deposits, ring, terms, tx, None, Payer::Made)
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
