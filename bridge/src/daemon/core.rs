//! What both daemons do alike: follow Bitcoin, keep the slots' states, carry transactions.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;
use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::All;
use bitcoin::{Amount, OutPoint, Transaction};
use bitsect_l1::carrier::{Carrier, CarrierConfig, CarrierError, Parcel, Report};
use bitsect_l1::follower::{Event, FollowError, Follower, FollowerConfig};
use bitsect_l1::rpc::Client;
use bitsect_l1::wallet::{Wallet, WalletError};
use bitsect_l1::{BlockRef, FaultClass};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::store::{DaemonStore, DaemonStoreError};
use super::watch::{Watch, WatchError};
use crate::graph::{Signatures, SlotGraph};
use crate::slot::{Actor, SlotState};
use crate::transaction::Planned;

/// Events that wait to be taken in: blocks come faster than they are looked through.
const EVENTS: usize = 16;
/// The daemon's file in its folder.
const STORE_FILE: &str = "daemon.redb";

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

/// The part of a daemon that deals with Bitcoin.
#[expect(missing_debug_implementations, reason = "a follower has none")]
pub struct Core {
    secp: Secp256k1<All>,
    slots: Vec<ReadySlot>,
    watch: Watch,
    wallet: Arc<Wallet>,
    carrier: Carrier,
    events: mpsc::Receiver<Result<Event, FollowError>>,
    config: CoreConfig,
    following: JoinSet<()>,
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
        let store = DaemonStore::open(&folder.join(STORE_FILE), deployment)?;
        let graphs: Vec<Arc<SlotGraph>> = slots.iter().map(|slot| Arc::clone(&slot.graph)).collect();
        let watch = Watch::open(store.clone(), &graphs, config.start)?;
        let carrier = Carrier::open(
            folder,
            config.client.clone(),
            config.carrier,
            Arc::clone(&wallet),
            config.start,
        )?;
        let (_, events) = mpsc::channel(1);
        let mut core = Self {
            secp: Secp256k1::new(),
            slots,
            watch,
            wallet,
            carrier,
            events,
            config,
            following: JoinSet::new(),
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
        let known = known(&self.watch, &self.wallet, &self.carrier);
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
            self.wallet.apply(&event)?;
            let reports = self.carrier.apply(&event)?;
            tell(&reports);
            self.watch.apply(&event)?;
            if let Event::Tip { at, .. } = event {
                return Ok(at);
            }
        }
    }

    /// Sends what waits, and raises fees.
    ///
    /// # Errors
    /// [`CarrierError`].
    pub async fn advance(&mut self) -> Result<Vec<Report>, DaemonError> {
        let reports = self.carrier.advance().await?;
        tell(&reports);
        Ok(reports)
    }

    /// Keeps confirmed outputs ready that pay for moves.
    ///
    /// # Errors
    /// [`CarrierError`].
    pub async fn prepare(&mut self, count: u32, value: Amount) -> Result<(), DaemonError> {
        self.carrier.prepare(count, value).await?;
        Ok(())
    }

    /// Takes a transaction in to be carried; a deadline is the last height at which it is in time.
    ///
    /// # Errors
    /// [`CarrierError`].
    pub fn submit(
        &mut self,
        label: String,
        tx: Transaction,
        fee: Amount,
        deadline: u32,
    ) -> Result<(), DaemonError> {
        tracing::info!(%label, txid = %tx.compute_txid(), deadline, "publishing");
        self.carrier.submit(Parcel {
            label,
            tx,
            fee,
            deadline,
        })?;
        Ok(())
    }

    /// Whether a transaction that spends an output is under way, and nothing else has spent its inputs.
    pub fn is_under_way(&self, outpoint: OutPoint) -> bool {
        let mut jobs = self.carrier.jobs().filter(|job| job.conflict.is_none());
        jobs.any(|job| {
            let mut inputs = job.tx.input.iter();
            inputs.any(|input| input.previous_output == outpoint)
        })
    }

    /// Whether a planned transaction is under way.
    pub fn carries(&self, planned: &Planned) -> bool {
        let txid = planned.txid();
        self.carrier.jobs().any(|job| job.txid() == txid)
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
fn known(watch: &Watch, wallet: &Wallet, carrier: &Carrier) -> Vec<BlockRef> {
    let all = [watch.known().to_vec(), wallet.known(), carrier.known()];
    let tip = |blocks: &Vec<BlockRef>| blocks.last().map_or(0, |block| block.height);
    all.into_iter().min_by_key(tip).unwrap_or_default()
}

fn tell(reports: &[Report]) {
    for report in reports {
        tracing::debug!(?report, "carrier");
    }
}
