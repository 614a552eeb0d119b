//! What both daemons do alike: follow Bitcoin, keep the slots' states, carry transactions.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;
use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::All;
use bitcoin::{Amount, OutPoint, Transaction, Txid};
use bitsect_l1::carrier::{Carrier, CarrierConfig, CarrierError, Parcel, Ready, Report, Why};
use bitsect_l1::follower::{Event, FollowError, Follower, FollowerConfig};
use bitsect_l1::rpc::Client;
use bitsect_l1::wallet::{Wallet, WalletError};
use bitsect_l1::{BlockRef, FaultClass};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::store::{DaemonStore, DaemonStoreError};
use super::watch::{Watch, WatchError};
use crate::graph::{Signatures, SlotGraph};
use crate::slot::{Actor, SlotState};
use crate::transaction::Planned;
use crate::user::Terms;
use crate::vault::VaultState;

/// Events that wait to be taken in: blocks come faster than they are looked through.
const EVENTS: usize = 16;
/// The daemon's file in its folder.
pub const STORE_FILE: &str = "daemon.redb";

/// A slot that is ready: built, and signed by the committee.
#[derive(Clone, Debug)]
pub struct ReadySlot {
    /// The graph.
    pub graph: Arc<SlotGraph>,
    /// The committee's signatures.
    pub signatures: Arc<Signatures>,
    /// The unit that it starts behind.
    pub start_unit: u64,
}

/// Why a daemon cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its file failed.
    #[error(transparent)]
    Store(#[from] DaemonStoreError),
    /// What it saw has a gap.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// Bitcoin cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The wallet failed.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// Carrying failed.
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    /// Following ended behind the fault that was said before.
    #[error("following Bitcoin has ended")]
    Over,
}

impl DaemonError {
    /// Returns what a loop does about the error.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Store(_) => FaultClass::Stop,
            Self::Watch(WatchError::Store(_)) => FaultClass::Stop,
            Self::Watch(WatchError::Gap { .. }) => FaultClass::Reset,
            Self::Follow(error) => error.class(),
            Self::Wallet(WalletError::Connect { .. }) | Self::Over => FaultClass::Reset,
            Self::Wallet(_) => FaultClass::Stop,
            Self::Carrier(error) => error.class(),
        }
    }
}

/// A transaction that a party wants on Bitcoin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// What it is.
    pub label: String,
    /// Why it is due.
    pub why: String,
    /// The transaction.
    pub transaction: Transaction,
    /// Its own fee.
    pub fee: Amount,
    /// The last L1 block in which it is in time.
    pub deadline: u32,
}

/// A transaction on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// What it is.
    pub label: String,
    /// Its id.
    pub txid: Txid,
    /// Its size in vB.
    pub vsize: usize,
    /// The last L1 block in which it is in time.
    pub deadline: u32,
    /// The L1 block that holds it.
    pub confirmed: Option<u32>,
}

/// What pays for transactions, and sends them.
struct Purse {
    wallet: Arc<Wallet>,
    carrier: Carrier,
}

/// The part of a daemon that deals with Bitcoin.
#[expect(missing_debug_implementations, reason = "a follower has none")]
pub struct Core {
    secp: Secp256k1<All>,
    slots: Vec<ReadySlot>,
    watch: Watch,
    /// None where nothing is to be published.
    purse: Option<Purse>,
    /// What would be published at this tip, if there were a purse.
    withheld: Vec<Outgoing>,
    /// What was said to be withheld.
    said: BTreeSet<Txid>,
    events: mpsc::Receiver<Result<Event, FollowError>>,
    config: CoreConfig,
    following: JoinSet<()>,
    nudge: Arc<Notify>,
}

/// Where a daemon's Bitcoin is, and when it begins.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The RPC client.
    pub client: Client,
    /// How to follow.
    pub follower: FollowerConfig,
    /// How to carry.
    pub carrier: CarrierConfig,
    /// A block before the deployment's first output.
    pub start: BlockRef,
    /// The chain's terms, where the vault is followed, too.
    pub vault: Option<Terms>,
}

impl Core {
    /// Opens the daemon's files in a folder that exists, or makes them, and begins to follow Bitcoin.
    ///
    /// # Errors
    /// Where a file cannot be used.
    pub fn open(
        folder: &Path,
        config: CoreConfig,
        deployment: B256,
        slots: Vec<ReadySlot>,
        wallet: Arc<Wallet>,
    ) -> Result<(Self, DaemonStore), DaemonError> {
        let carrier = Carrier::open(
            folder,
            config.client.clone(),
            config.carrier,
            Arc::clone(&wallet),
            config.start,
        )?;
        let purse = Some(Purse { wallet, carrier });
        Self::with_purse(folder, config, deployment, slots, purse)
    }

    /// Opens a core that has no funds: it follows Bitcoin, and withholds what it would publish.
    ///
    /// # Errors
    /// Where a file cannot be used.
    pub fn open_without_funds(
        folder: &Path,
        config: CoreConfig,
        deployment: B256,
        slots: Vec<ReadySlot>,
    ) -> Result<(Self, DaemonStore), DaemonError> {
        Self::with_purse(folder, config, deployment, slots, None)
    }

    fn with_purse(
        folder: &Path,
        config: CoreConfig,
        deployment: B256,
        slots: Vec<ReadySlot>,
        purse: Option<Purse>,
    ) -> Result<(Self, DaemonStore), DaemonError> {
        let store = DaemonStore::open(&folder.join(STORE_FILE), deployment)?;
        let graphs: Vec<Arc<SlotGraph>> = slots.iter().map(|slot| Arc::clone(&slot.graph)).collect();
        let watch = Watch::open(store.clone(), &graphs, config.vault.clone(), config.start)?;
        let (_, events) = mpsc::channel(1);
        let mut core = Self {
            secp: Secp256k1::new(),
            slots,
            watch,
            purse,
            withheld: Vec::new(),
            said: BTreeSet::new(),
            events,
            config,
            following: JoinSet::new(),
            nudge: Arc::default(),
        };
        core.follow_again()?;
        Ok((core, store))
    }

    /// Follows Bitcoin from what the files hold. The follower has a task of its own: waiting for its next event may be
    /// given up at any time.
    ///
    /// # Errors
    /// Where the files hold no block.
    pub fn follow_again(&mut self) -> Result<(), DaemonError> {
        let known = known(&self.watch, self.purse.as_ref());
        let config = self.config.follower.clone();
        let mut follower = Follower::new(self.config.client.clone(), config, known)?;
        let (sender, events) = mpsc::channel(EVENTS);
        self.events = events;
        self.following = JoinSet::new();
        self.following.spawn(async move {
            loop {
                let event = follower.next().await;
                let is_over = event
                    .as_ref()
                    .is_err_and(|error| error.class() != FaultClass::Retry);
                if sender.send(event).await.is_err() || is_over {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Takes in what happens to the chain, until all is taken in that Bitcoin Core has. It may be given up at any time.
    ///
    /// # Errors
    /// [`DaemonError`]; what is said is durable.
    pub async fn next_tip(&mut self) -> Result<BlockRef, DaemonError> {
        loop {
            let Some(event) = self.events.recv().await else {
                return Err(DaemonError::Over);
            };
            let event = event?;
            if let Some(purse) = &mut self.purse {
                purse.wallet.apply(&event)?;
                tell(&purse.carrier.apply(&event)?);
            }
            self.watch.apply(&event)?;
            if let Event::Tip { at, .. } = event {
                // What is due is found anew at each tip.
                self.withheld.clear();
                return Ok(at);
            }
        }
    }

    /// Gives the vault as it stands, where it is followed.
    pub fn vault(&self) -> Option<&VaultState> {
        self.watch.vault()
    }

    /// Gives the daemon's file.
    pub const fn store(&self) -> &DaemonStore {
        self.watch.store()
    }

    /// Gives the wallet, where there are funds.
    pub fn wallet(&self) -> Option<&Arc<Wallet>> {
        self.purse.as_ref().map(|purse| &purse.wallet)
    }

    /// Gives the client of Bitcoin Core.
    pub const fn client(&self) -> &Client {
        &self.config.client
    }

    /// Sends what waits, and raises fees.
    ///
    /// # Errors
    /// [`CarrierError`].
    pub async fn advance(&mut self) -> Result<(), DaemonError> {
        if let Some(purse) = &mut self.purse {
            tell(&purse.carrier.advance().await?);
        }
        Ok(())
    }

    /// Keeps confirmed outputs ready that pay for moves.
    ///
    /// # Errors
    /// [`CarrierError`].
    pub async fn prepare(&mut self, count: u32, value: Amount) -> Result<(), DaemonError> {
        if let Some(purse) = &mut self.purse {
            purse.carrier.prepare(count, value).await?;
        }
        Ok(())
    }

    /// Takes a transaction in to be carried; without funds it is withheld, and said.
    ///
    /// # Errors
    /// [`CarrierError`].
    pub fn submit(&mut self, outgoing: Outgoing) -> Result<(), DaemonError> {
        let (txid, vsize) = (outgoing.transaction.compute_txid(), outgoing.transaction.vsize());
        let Outgoing {
            label, why, deadline, ..
        } = &outgoing;
        let Some(purse) = &mut self.purse else {
            if self.said.insert(txid) {
                tracing::info!(%label, %txid, vsize, deadline, %why, "would publish");
            }
            self.withheld.push(outgoing);
            return Ok(());
        };
        tracing::info!(%label, %txid, vsize, deadline, %why, "publishing");
        purse.carrier.submit(Parcel {
            label: outgoing.label,
            tx: outgoing.transaction,
            fee: outgoing.fee,
            deadline: outgoing.deadline,
        })?;
        Ok(())
    }

    /// Stops working for a transaction. What is in the mempool may be confirmed still, and is watched.
    ///
    /// # Errors
    /// [`CarrierError`].
    pub fn cancel(&mut self, txid: &Txid) -> Result<(), DaemonError> {
        let Some(purse) = &mut self.purse else {
            self.withheld
                .retain(|outgoing| outgoing.transaction.compute_txid() != *txid);
            return Ok(());
        };
        let job = purse.carrier.jobs().find(|job| job.txid() == *txid);
        if let Some(job) = job.filter(|job| !job.cancelled) {
            let (id, label) = (job.id, job.label.clone());
            tracing::info!(%label, %txid, "given up");
            purse.carrier.cancel(id)?;
        }
        Ok(())
    }

    /// Gives the transactions that it works for, or watches until they are deep.
    pub fn transactions(&self) -> impl Iterator<Item = &Transaction> {
        let jobs = self.purse.iter().flat_map(|purse| purse.carrier.jobs());
        jobs.map(|job| &job.tx)
    }

    /// Gives the transactions that it works for: in no block, and nothing else in their place.
    pub fn open_transactions(&self) -> impl Iterator<Item = &Transaction> {
        let jobs = self.purse.iter().flat_map(|purse| purse.carrier.jobs());
        jobs.filter(|job| job.confirmed.is_none() && job.conflict.is_none() && !job.cancelled)
            .map(|job| &job.tx)
    }

    /// Whether a transaction that spends an output is under way, and nothing else has spent its inputs.
    pub fn is_under_way(&self, outpoint: OutPoint) -> bool {
        let jobs = self.purse.iter().flat_map(|purse| purse.carrier.jobs());
        let jobs = jobs.filter(|job| job.conflict.is_none()).map(|job| &job.tx);
        let withheld = self.withheld.iter().map(|outgoing| &outgoing.transaction);
        jobs.chain(withheld).any(|transaction| {
            let mut inputs = transaction.input.iter();
            inputs.any(|input| input.previous_output == outpoint)
        })
    }

    /// Whether a planned transaction is under way.
    pub fn carries(&self, planned: &Planned) -> bool {
        let txid = planned.txid();
        let mut jobs = self.purse.iter().flat_map(|purse| purse.carrier.jobs());
        let mut withheld = self.withheld.iter();
        jobs.any(|job| job.txid() == txid)
            || withheld.any(|outgoing| outgoing.transaction.compute_txid() == txid)
    }

    /// Gives what is on its way.
    pub fn carried(&self) -> Vec<Carried> {
        let jobs = self.purse.iter().flat_map(|purse| purse.carrier.jobs());
        let carried = jobs.map(|job| Carried {
            label: job.label.clone(),
            txid: job.txid(),
            vsize: job.tx.vsize(),
            deadline: job.deadline,
            confirmed: job.confirmed.map(|at| at.height),
        });
        carried.collect()
    }

    /// Gives what would be published at this tip, where there are no funds.
    pub fn withheld(&self) -> &[Outgoing] {
        &self.withheld
    }

    /// Gives how many outputs are ready that pay for moves; none without funds.
    pub fn ready(&self) -> Option<Ready> {
        self.purse.as_ref().map(|purse| purse.carrier.ready())
    }

    /// Gives what makes the daemon look at its duties before the next block: what is known of the chain changed.
    pub fn nudge(&self) -> Arc<Notify> {
        Arc::clone(&self.nudge)
    }

    /// Gives the last block that was taken in.
    pub fn tip(&self) -> u32 {
        self.watch.tip().map_or(0, |tip| tip.height)
    }

    /// Gives the slots.
    pub fn slots(&self) -> &[ReadySlot] {
        &self.slots
    }

    /// Gives a slot as it stands.
    pub fn state(&self, slot: usize) -> &SlotState {
        self.watch.state(slot)
    }

    /// Gives what makes a slot's transactions.
    pub fn actor(&self, slot: usize) -> Actor<'_> {
        let ready = &self.slots[slot];
        Actor {
            secp: &self.secp,
            graph: &ready.graph,
            signatures: &ready.signatures,
        }
    }
}

/// The blocks of whoever knows the fewest: blocks that others know already do no harm.
fn known(watch: &Watch, purse: Option<&Purse>) -> Vec<BlockRef> {
    let mut all = vec![watch.known().to_vec()];
    all.extend(
        purse
            .map(|purse| [purse.wallet.known(), purse.carrier.known()])
            .into_iter()
            .flatten(),
    );
    let tip = |blocks: &Vec<BlockRef>| blocks.last().map_or(0, |block| block.height);
    all.into_iter().min_by_key(tip).unwrap_or_default()
}

fn tell(reports: &[Report]) {
    for report in reports {
        match report {
            Report::Waiting { why, .. }
                if !matches!(why, Why::InputMissing { .. } | Why::Premature { .. }) =>
            {
                tracing::warn!(?report, "a transaction waits");
            }
            Report::Overdue { .. } | Report::Conflicted { .. } | Report::TooFewReady { .. } => {
                tracing::warn!(?report, "carrier");
            }
            _ => tracing::debug!(?report, "carrier"),
        }
    }
}
