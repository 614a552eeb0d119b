//! The batch poster: it puts sequenced blocks on Bitcoin (docs/batches.md).
//!
//! One batch is under way at a time. A batch belongs to the baton that its commit spends: its payload is stored
//! under that baton before any transaction is signed, and the store refuses another payload for the same baton. Whatever
//! happens after, the same payload is posted until that baton is spent.

mod batch;
mod rebuild;
pub mod transaction;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::Amount;
use bitsect_l1::follower::{Event, FollowError, Follower};
use bitsect_l1::rpc::{Client, RpcError};
use bitsect_l1::sender::{Draft, DraftTx, FeePolicy, JobId, Report, Sender, SenderError};
use bitsect_l1::wallet::{Wallet, WalletError};
use bitsect_l1::{BlockRef, FaultClass};
use bitsect_vm::chain::{ChainParams, ChainState, OutPoint};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::batch::{BatchError, Waiting};
use self::rebuild::Rebuilder;
pub use self::transaction::{BATON_VALUE, Baton, BuildError, Builder};
use crate::config::PosterConfig;
use crate::convert;
use crate::engine::EngineStatus;
use crate::store::{Store, StoreError};

/// How often waiting blocks are looked at when nothing else happens.
const LOOK: Duration = Duration::from_millis(500);
/// The pause after a fault that may pass.
const PAUSE: Duration = Duration::from_secs(2);

/// Why the poster cannot go on, or not now.
#[derive(Debug, thiserror::Error)]
pub enum PosterError {
    /// The store failed.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The stored chain state does not decode.
    #[error("stored chain state: {0}")]
    ChainState(alloy_rlp::Error),
    /// The waiting blocks make no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The task that encodes broke.
    #[error("failed to encode a batch: {0}")]
    Encode(tokio::task::JoinError),
    /// Its transactions cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Sending failed.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// The wallet failed.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// Bitcoin Core failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// Following Bitcoin failed.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

impl PosterError {
    /// Tells what the loop does about it.
    pub fn class(&self) -> FaultClass {
        use bitsect_l1::wallet::FundError;
        match self {
            Self::Build(BuildError::Fund(FundError::Insufficient { .. })) => FaultClass::Retry,
            // A reorg may have come in between; the next look reads anew.
            Self::Batch(BatchError::Dropped { .. } | BatchError::NoBlock { .. }) => FaultClass::Retry,
            Self::Wallet(WalletError::Connect { .. }) => FaultClass::Reset,
            Self::Sender(error) => error.class(),
            Self::Rpc(error) => error.class(),
            Self::Follow(error) => error.class(),
            _ => FaultClass::Stop,
        }
    }
}

/// What the poster says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PosterStatus {
    /// Blocks that wait for a batch.
    pub waiting_blocks: u64,
    /// Encoded bytes of their transactions.
    pub waiting_bytes: u64,
    /// Batches submitted since the start.
    pub submitted: u64,
    /// Jobs whose transactions are not all deep in Bitcoin.
    pub jobs: u64,
    /// What the wallet can spend, in sats.
    pub wallet_sats: u64,
    /// What it waits for that a person should know.
    pub alarm: Option<String>,
}

/// What the poster works with.
pub struct PosterParts {
    /// The chain's parameters.
    pub params: Arc<ChainParams>,
    /// How to post.
    pub config: PosterConfig,
    /// The node's store.
    pub store: Store,
    /// Bitcoin Core.
    pub client: Client,
    /// The wallet; its seed's key 0 owns the baton.
    pub wallet: Arc<Wallet>,
    /// Sends and lifts.
    pub sender: Sender,
    /// What the engine has derived.
    pub engine: watch::Receiver<EngineStatus>,
}

/// The poster.
pub struct Poster {
    parts: PosterParts,
    builder: Arc<Builder>,
    rebuilder: Rebuilder,
    waiting: Waiting,
    status: watch::Sender<PosterStatus>,
}

impl Poster {
    /// Makes the poster, and a watch on what it says about itself.
    pub fn new(parts: PosterParts) -> (Self, watch::Receiver<PosterStatus>) {
        let builder = Arc::new(Builder::new(parts.wallet.keys().key(0)));
        let rebuilder = Rebuilder::new(
            parts.store.clone(),
            Arc::clone(&parts.wallet),
            Arc::clone(&builder),
        );
        let (status, watched) = watch::channel(PosterStatus::default());
        (
            Self {
                parts,
                builder,
                rebuilder,
                waiting: Waiting::default(),
                status,
            },
            watched,
        )
    }

    /// Gives the sender.
    pub const fn sender(&self) -> &Sender {
        &self.parts.sender
    }

    /// Posts until `shutdown`. `follower` starts at or below the last block of both the wallet and the sender.
    ///
    /// # Errors
    /// A fault whose class is not retry.
    pub async fn run(
        &mut self,
        follower: &mut Follower,
        shutdown: &CancellationToken,
    ) -> Result<(), PosterError> {
        let mut at_tip = false;
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = follower.next() => Some(event),
                () = tokio::time::sleep(LOOK), if at_tip => None,
            };
            let done = match event {
                Some(Ok(event)) => {
                    at_tip = matches!(event, Event::Tip { .. });
                    self.follow(&event).await
                }
                Some(Err(error)) => {
                    at_tip = false;
                    Err(error.into())
                }
                None => self.look().await,
            };
            match done {
                Ok(()) => {}
                Err(error) if error.class() == FaultClass::Retry => {
                    tracing::warn!(%error, "the poster waits");
                    self.status
                        .send_modify(|status| status.alarm = Some(error.to_string()));
                    tokio::select! {
                        () = shutdown.cancelled() => return Ok(()),
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn follow(&mut self, event: &Event) -> Result<(), PosterError> {
        self.parts.wallet.apply(event)?;
        let reports = self.parts.sender.apply(event)?;
        self.report(&reports);
        if matches!(event, Event::Tip { .. }) {
            self.advance().await?;
            // Blocks that come faster than `LOOK` would keep its time from ever passing.
            self.look().await?;
        }
        Ok(())
    }

    async fn advance(&mut self) -> Result<(), PosterError> {
        let reports = self.parts.sender.advance(&self.rebuilder).await?;
        self.report(&reports);
        self.clean_up(&reports)
    }

    /// Forgets the payloads of batches that are deep in Bitcoin: their batons are spent for good.
    fn clean_up(&self, reports: &[Report]) -> Result<(), PosterError> {
        for report in reports {
            if let Report::Done { job } | Report::Lost { job, .. } = report
                && let Some(baton) = rebuild::baton_of(job)
            {
                self.parts.store.write(|writer| writer.delete_job(&baton))?;
            }
        }
        Ok(())
    }

    fn report(&self, reports: &[Report]) {
        for report in reports {
            match report {
                Report::Sent { job, slot, txid } => tracing::info!(job = job.0, slot, %txid, "sent"),
                Report::Replaced { job, slot, txid } => {
                    tracing::info!(job = job.0, slot, %txid, "replaced at a higher fee");
                }
                Report::Lifted { job, slot, child } => {
                    tracing::info!(job = job.0, slot, %child, "lifted by a child");
                }
                Report::Confirmed { job, slot, txid, at } => {
                    tracing::info!(job = job.0, slot, %txid, height = at.height, "confirmed");
                }
                Report::Unconfirmed { job, slot } => {
                    tracing::info!(job = job.0, slot, "taken back by a reorg")
                }
                Report::Waiting { job, slot, reason } => {
                    tracing::debug!(job = job.0, slot, reason, "not sent")
                }
                Report::Done { job } => tracing::debug!(job = job.id.0, label = job.label, "deep enough"),
                Report::Lost { job, to } => {
                    tracing::error!(label = job.label, by = %to.txid, "somebody else spent what this batch spends");
                }
            }
        }
    }

    /// Makes the next batch when it is due, and puts a stored one back on its way.
    async fn look(&mut self) -> Result<(), PosterError> {
        let engine = self.parts.engine.borrow().clone();
        if !engine.l1_synced {
            return Ok(());
        }
        let snapshot = self.parts.store.read()?;
        let chain = ChainState::decode(&snapshot.encoded_chain_state()?).map_err(PosterError::ChainState)?;
        self.waiting = self.waiting.count(&snapshot, &self.parts.params, &chain)?;
        self.say(None);
        if let Some(job) = snapshot.job(&chain.baton)? {
            // Its commit is not in Bitcoin, as far as the engine has read. The sender may know better.
            if self.job_of(&chain.baton).is_some() {
                return Ok(());
            }
            return self.submit(&chain.baton, &job.payload).await;
        }
        if !chain.batches.is_empty() || chain.open.is_some() || !self.is_due() {
            return Ok(());
        }
        let (waiting, params) = (self.waiting, Arc::clone(&self.parts.params));
        let baton = chain.baton;
        // Compressing takes long, and must not hold up other tasks.
        let encode = move || waiting.payload(&snapshot, &params, &chain);
        let payload = tokio::task::spawn_blocking(encode)
            .await
            .map_err(PosterError::Encode)??;
        if self.baton(&baton).await?.is_none() {
            return Ok(());
        }
        self.parts
            .store
            .write(|writer| writer.put_job(&baton, &payload))?;
        self.submit(&baton, &payload).await
    }

    fn is_due(&self) -> bool {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let age = Duration::from_secs(now.saturating_sub(self.waiting.since));
        let config = &self.parts.config;
        !self.waiting.is_empty()
            && (self.waiting.full
                || self.waiting.bytes >= config.target_batch_bytes
                || age >= config.max_batch_delay)
    }

    fn job_of(&self, baton: &OutPoint) -> Option<JobId> {
        let mut jobs = self.parts.sender.jobs();
        jobs.find(|job| rebuild::baton_of(job) == Some(*baton))
            .map(|job| job.id)
    }

    /// Reads the baton from Bitcoin; `None` when it is spent or not this node's, which is said.
    async fn baton(&self, outpoint: &OutPoint) -> Result<Option<Baton>, PosterError> {
        let outpoint = convert::outpoint(outpoint);
        // Not the mempool: our own commit may be there, and its inputs are looked at by the sender.
        let Some(info) = self.parts.client.get_tx_out(&outpoint, false).await? else {
            self.say(Some(format!(
                "the baton {outpoint} is spent, or not on Bitcoin yet"
            )));
            return Ok(None);
        };
        let output = info.tx_out();
        if output.script_pubkey != self.builder.baton_script() {
            self.say(Some(format!("the baton {outpoint} belongs to another key")));
            return Ok(None);
        }
        Ok(Some(Baton { outpoint, output }))
    }

    /// Signs a stored payload's transactions and gives them to the sender.
    async fn submit(&mut self, baton: &OutPoint, payload: &[u8]) -> Result<(), PosterError> {
        let Some(on_bitcoin) = self.baton(baton).await? else {
            return Ok(());
        };
        let config = &self.parts.config;
        let fees = fee_policy(config);
        let rate = fees.rate(&self.parts.client).await?;
        let wallet = &self.parts.wallet;
        let commit = self
            .builder
            .commit(wallet, &on_bitcoin, payload, rate, &[], Amount::ZERO)?;
        let commit_txid = commit.tx.compute_txid();
        let back = wallet.receive_address()?.script_pubkey();
        let count = Builder::reveal_count(payload)?;
        let mut txs = Vec::with_capacity(count + 1);
        for index in 0..count {
            let signed = self
                .builder
                .reveal(&commit.tx, payload, index, &back, rate, Amount::ZERO)?;
            txs.push(DraftTx {
                signed,
                parent: Some(0),
                replaceable: true,
            });
        }
        txs.insert(
            0,
            DraftTx {
                signed: commit,
                parent: None,
                replaceable: true,
            },
        );
        let label = format!("batch for baton {}", on_bitcoin.outpoint);
        let draft = Draft {
            label,
            data: rebuild::encode_baton(baton),
            txs,
            ride: true,
        };
        let job = self.parts.sender.submit(draft)?;
        tracing::info!(
            job = job.0,
            baton = %on_bitcoin.outpoint,
            commit = %commit_txid,
            reveals = count,
            bytes = payload.len(),
            sat_per_vb = rate.to_sat_per_vb_ceil(),
            "posting a batch"
        );
        self.status.send_modify(|status| status.submitted += 1);
        self.advance().await
    }

    fn say(&self, alarm: Option<String>) {
        if let Some(alarm) = &alarm {
            tracing::debug!(alarm, "the poster waits");
        }
        let wallet_sats = self.parts.wallet.spendable().to_sat();
        let jobs = u64::try_from(self.parts.sender.jobs().count()).unwrap_or(u64::MAX);
        self.status.send_if_modified(|status| {
            let new = PosterStatus {
                waiting_blocks: self.waiting.blocks(),
                waiting_bytes: self.waiting.bytes,
                submitted: status.submitted,
                jobs,
                wallet_sats,
                alarm,
            };
            let changed = *status != new;
            *status = new;
            changed
        });
    }
}

/// Gives the sender's fee policy.
pub fn fee_policy(config: &PosterConfig) -> FeePolicy {
    FeePolicy {
        target_blocks: config.fee_target,
        floor: config.min_fee_rate,
        ceiling: config.max_fee_rate,
    }
}

/// Gives the blocks that a follower for wallet and sender starts from: the list that ends lower.
pub fn start_of(wallet: &Wallet, sender: &Sender) -> Vec<BlockRef> {
    let (wallet, sender) = (wallet.known(), sender.known());
    let end = |known: &[BlockRef]| known.last().map(|block| block.height);
    if end(&wallet) <= end(&sender) {
        wallet
    } else {
        sender
    }
}
