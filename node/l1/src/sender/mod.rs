//! Sending that survives crashes, reorgs and busy mempools.
//!
//! A [`Draft`] is a set of signed transactions that belong together, for example a batch: the commit first, then its
//! reveals with `parent: Some(0)`. [`Sender::submit`] makes it durable before anything is broadcast; the transactions are
//! sent again until all are confirmed `depth` deep, after any restart of ours or of Core and after any reorg.
//!
//! ```no_run
//! # use bitsect_l1::{follower::{Event, Follower, FollowError}, sender::{Draft, DraftTx, Sender, SenderError, Rebuild}, wallet::{SignedTx, Wallet}};
//! # async fn f(sender: &mut Sender, wallet: &Wallet, follower: &mut Follower, poster: &dyn Rebuild, commit: SignedTx,
//! # reveals: Vec<SignedTx>) -> Result<(), Box<dyn std::error::Error>> {
//! let mut txs = vec![DraftTx { signed: commit, parent: None, replaceable: true }];
//! txs.extend(reveals.into_iter().map(|signed| DraftTx { signed, parent: Some(0), replaceable: true }));
//! let id = sender.submit(Draft { label: "batch 7".into(), data: b"frames".to_vec(), txs, ride: true })?;
//! loop {
//!     let event = follower.next().await?;
//!     wallet.apply(&event)?;
//!     sender.apply(&event)?;
//!     if let Event::Tip { .. } = event {
//!         for report in sender.advance(poster).await? { tracing::info!(?report); }
//!     }
//! }
//! # }
//! ```
//!
//! Call [`Sender::advance`] at each tip and right after `submit`. It looks at the mempool, sends what is missing and raises
//! fees of what waits longer than `bump_after` blocks:
//! - A transaction that no child is out of is replaced: [`Rebuild`] signs it and all that depend on it anew. The new
//!   versions are durable before they are sent, the old ones are kept, and whichever confirms counts.
//! - Once a child is out (it is *latched*, which is durable before the child is sent), or when it is pre-signed, it is
//!   lifted by a child that spends the wallet's change of it.
//! - A reveal is replaced alone.
//! - What was confirmed once is not replaced after a reorg, nor is a child that lifted it when its coins are spent: later
//!   jobs may build on it.
//!
//! A transaction that builds on another job's (the next commit, on this one's baton) is safe once that one is latched or
//! confirmed: then its id does not change any more. Fund it with
//! [`unconfirmed: false`](crate::wallet::Funding::unconfirmed) while the wallet has confirmed coins, because a commit whose
//! change is spent cannot be lifted.

mod bump;
mod fees;
mod job;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bitcoin::{OutPoint, Transaction, Txid};

pub use self::{
    bump::Rebuild,
    fees::{FeePolicy, Limits, rate_of},
    job::{Confirmed, Draft, DraftTx, Job, JobError, MAX_TXS, Slot, Terms, Version},
};
pub use crate::ledger::{Conflict, JobId};
use crate::{
    BlockRef, FaultClass,
    broadcast::{self, Outcome},
    follower::{ChainBlock, Event},
    ledger::{Blocks, Change, Gap, JobFile, Place, inputs, spenders},
    rpc::{Client, RpcError},
    store::StoreError,
    wallet::{FundError, Wallet, WalletError},
};

/// How to send.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// Which fee rate to pay.
    pub fees: FeePolicy,
    /// Confirmations after which a transaction is not watched any more.
    pub depth: u32,
    /// Blocks that a transaction may wait before its fee is raised.
    pub bump_after: u32,
}

impl Default for SenderConfig {
    fn default() -> Self {
        // As deep as finality; and three blocks without luck are usual, so raising earlier wastes money.
        Self {
            fees: FeePolicy::default(),
            depth: 6,
            bump_after: 3,
        }
    }
}

/// Sending failed. What was submitted stays submitted.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// The file failed: nothing was sent that is not in it.
    #[error("sender's file: {0}")]
    Store(#[from] StoreError),
    /// A call to Core failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The wallet failed.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The wallet cannot pay.
    #[error(transparent)]
    Fund(#[from] FundError),
    /// The job is not what it should be.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A block does not continue what the sender knows.
    #[error("block {block} does not connect to {tip}, the sender's last one")]
    Gap {
        /// The block.
        block: BlockRef,
        /// The sender's tip.
        tip: BlockRef,
    },
}

impl SenderError {
    /// Returns what a loop does about the error.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Rpc(error) => error.class(),
            Self::Fund(FundError::Insufficient { .. }) => FaultClass::Retry,
            Self::Gap { .. } | Self::Wallet(WalletError::Connect { .. }) => FaultClass::Reset,
            _ => FaultClass::Stop,
        }
    }
}

impl From<Gap> for SenderError {
    fn from(Gap { block, tip }: Gap) -> Self {
        Self::Gap { block, tip }
    }
}

/// What [`Sender::advance`] and [`Sender::apply`] have to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A transaction is in the mempool, where it was not.
    Sent {
        /// The job.
        job: JobId,
        /// The transaction's place in it.
        slot: usize,
        /// The transaction.
        txid: Txid,
    },
    /// A transaction was built anew at a higher fee.
    Replaced {
        /// The job.
        job: JobId,
        /// The transaction's place in it.
        slot: usize,
        /// Its new id.
        txid: Txid,
    },
    /// A child pays for a transaction.
    Lifted {
        /// The job.
        job: JobId,
        /// The transaction's place in it.
        slot: usize,
        /// The child.
        child: Txid,
    },
    /// A transaction is in a block.
    Confirmed {
        /// The job.
        job: JobId,
        /// The transaction's place in it.
        slot: usize,
        /// The transaction: not the newest version, perhaps.
        txid: Txid,
        /// The block.
        at: BlockRef,
    },
    /// A transaction is not in the chain any more.
    Unconfirmed {
        /// The job.
        job: JobId,
        /// The transaction's place in it.
        slot: usize,
    },
    /// Core does not take a transaction. It is tried again at each tip.
    Waiting {
        /// The job.
        job: JobId,
        /// The transaction's place in it.
        slot: usize,
        /// Why.
        reason: String,
    },
    /// Everything is confirmed deep enough; the job is removed.
    Done {
        /// The job, with the versions that are confirmed.
        job: Box<Job>,
    },
    /// Somebody else's transaction took the place, deep enough; the job is removed.
    Lost {
        /// The job.
        job: Box<Job>,
        /// What took its place.
        to: Conflict,
    },
}

/// Sends jobs. One task owns it.
#[derive(Debug)]
pub struct Sender {
    client: Client,
    config: SenderConfig,
    wallet: Option<Arc<Wallet>>,
    file: JobFile<Job>,
    jobs: BTreeMap<JobId, Job>,
    blocks: Blocks,
    limits: Option<Limits>,
}

impl Sender {
    /// Opens the sender's file, or makes it.
    ///
    /// A new sender looks at the blocks after `start`: the tip at that time. The `wallet` is told of every transaction; it
    /// pays for lifting.
    ///
    /// # Errors
    /// [`SenderError`].
    pub fn open(
        path: &Path,
        client: Client,
        config: SenderConfig,
        wallet: Option<Arc<Wallet>>,
        start: BlockRef,
    ) -> Result<Self, SenderError> {
        let file = JobFile::<Job>::open(path, start)?;
        let jobs: BTreeMap<JobId, Job> = file.jobs()?.into_iter().map(|job| (job.id, job)).collect();
        let blocks = Blocks::new(file.blocks()?);
        if let Some(wallet) = &wallet {
            // The wallet's file may be older than ours.
            for job in jobs.values() {
                wallet.sent(&job.pending())?;
                let lifts = job.slots.iter().filter_map(|slot| slot.lifts.last());
                wallet.sent(lifts.map(|lift| &lift.tx))?;
            }
        }
        Ok(Self {
            client,
            config,
            wallet,
            file,
            jobs,
            blocks,
            limits: None,
        })
    }

    /// Returns the blocks that were looked at, lowest first, to start a follower with.
    pub fn known(&self) -> Vec<BlockRef> {
        self.blocks.list()
    }

    /// Returns the last block that was looked at.
    pub fn tip(&self) -> BlockRef {
        self.blocks.tip()
    }

    /// Returns the jobs that are not done, oldest first.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// Returns a job that is not done.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Takes in a job. When it returns the job is durable and will be sent; nothing is sent yet.
    ///
    /// # Errors
    /// [`SenderError::Job`] when the transactions do not fit together; [`SenderError::Store`]. The job is not taken then.
    pub fn submit(&mut self, draft: Draft) -> Result<JobId, SenderError> {
        let job = Job::new(self.file.next_id()?, draft)?;
        self.file.write(&Change {
            jobs: vec![&job],
            ..Change::default()
        })?;
        let id = job.id;
        let pending = job.pending();
        self.jobs.insert(id, job);
        if let Some(wallet) = &self.wallet {
            wallet.sent(&pending)?;
        }
        Ok(id)
    }

    /// Takes in what happened to the chain. Durable when it returns; a block twice does no harm.
    ///
    /// # Errors
    /// [`SenderError::Gap`] when blocks are missing in between: follow from [`Self::known`].
    pub fn apply(&mut self, event: &Event) -> Result<Vec<Report>, SenderError> {
        match event {
            Event::Connected(block) => self.connect(block),
            Event::Disconnected(at) if self.blocks.contains(*at) => self.roll_back(at.height),
            _ => Ok(Vec::new()),
        }
    }

    fn connect(&mut self, block: &ChainBlock) -> Result<Vec<Report>, SenderError> {
        let mut reports = match self.blocks.place(block)? {
            Place::Known => return Ok(Vec::new()),
            Place::Next => Vec::new(),
            Place::Instead => self.roll_back(block.height)?,
        };
        let spent = spenders(&block.block);
        let mut changed = BTreeMap::new();
        for (id, job) in &self.jobs {
            let mut new = job.clone();
            let found = confirm(&mut new, block.at(), &spent);
            if new != *job {
                changed.insert(*id, new);
                reports.extend(found);
            }
        }
        let jobs = changed.values().collect();
        self.file.write(&Change {
            jobs,
            block: Some(block.at()),
            ..Change::default()
        })?;
        self.jobs.append(&mut changed);
        self.blocks.push(block.at());
        Ok(reports)
    }

    /// Forgets blocks from a height on, and what was confirmed in them.
    fn roll_back(&mut self, height: u32) -> Result<Vec<Report>, SenderError> {
        self.blocks.can_forget_from(height)?;
        let (mut reports, mut changed) = (Vec::new(), BTreeMap::new());
        for (id, job) in &self.jobs {
            let mut new = job.clone();
            for (place, slot) in new.slots.iter_mut().enumerate() {
                if slot.confirmed.is_some_and(|c| c.at.height >= height) {
                    slot.unconfirm();
                    // It waits anew, from when it is seen in the mempool again: no reason to pay more at once.
                    slot.bumped_at = None;
                    slot.versions
                        .iter_mut()
                        .for_each(|version| version.sent_at = None);
                    reports.push(Report::Unconfirmed {
                        job: *id,
                        slot: place,
                    });
                }
                slot.conflict = slot.conflict.filter(|c| c.at.height < height);
            }
            if new != *job {
                changed.insert(*id, new);
            }
        }
        let jobs = changed.values().collect();
        self.file.write(&Change {
            jobs,
            forget_from: Some(height),
            ..Change::default()
        })?;
        self.jobs.append(&mut changed);
        self.blocks.forget_from(height);
        Ok(reports)
    }

    /// Looks at every job and does what is due: sends, replaces, lifts, finishes.
    ///
    /// # Errors
    /// [`SenderError`]. The rest of the work is done at the next call; no step is half done.
    pub async fn advance(&mut self, rebuild: &dyn Rebuild) -> Result<Vec<Report>, SenderError> {
        let mut reports = Vec::new();
        if self.jobs.is_empty() {
            return Ok(reports);
        }
        let limits = match self.limits {
            Some(limits) => limits,
            None => Limits::read(&self.client).await?,
        };
        self.limits = Some(limits);
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            if self.finish(id, &mut reports).await? {
                continue;
            }
            let slots = self.jobs[&id].slots.len();
            for slot in 0..slots {
                self.advance_slot(id, slot, rebuild, limits, &mut reports).await?;
            }
        }
        Ok(reports)
    }

    /// Removes a job that needs no more watching.
    async fn finish(&mut self, id: JobId, reports: &mut Vec<Report>) -> Result<bool, SenderError> {
        let (tip, depth) = (self.tip().height, self.config.depth);
        let job = &self.jobs[&id];
        let lost = job.lost_to(tip, depth);
        if lost.is_none() && !job.is_done(tip, depth) {
            return Ok(false);
        }
        if let Some(wallet) = &self.wallet {
            // A lift spends the wallet's coins: it is watched until it is confirmed or surely gone.
            for lift in job.slots.iter().filter_map(|slot| slot.lifts.last()) {
                let txid = lift.tx.compute_txid();
                if !wallet.is_confirmed(&txid) && self.client.get_mempool_entry(&txid).await?.is_some() {
                    return Ok(false);
                }
            }
            let all = job
                .slots
                .iter()
                .flat_map(|slot| slot.versions.iter().chain(&slot.lifts));
            let never = all
                .map(|v| v.tx.compute_txid())
                .filter(|txid| !wallet.is_confirmed(txid));
            wallet.forget(never.collect::<Vec<_>>())?;
        }
        self.file.write(&Change {
            finished: vec![id],
            ..Change::default()
        })?;
        if let Some(job) = self.jobs.remove(&id).map(Box::new) {
            reports.push(match lost {
                Some(to) => Report::Lost { job, to },
                None => Report::Done { job },
            });
        }
        Ok(true)
    }

    async fn advance_slot(
        &mut self,
        id: JobId,
        slot: usize,
        rebuild: &dyn Rebuild,
        limits: Limits,
        reports: &mut Vec<Report>,
    ) -> Result<(), SenderError> {
        let job = &self.jobs[&id];
        if job.slots[slot].confirmed.is_some() || job.slots[slot].conflict.is_some() {
            return Ok(());
        }
        if let Some(parent) = job.slots[slot].parent
            && job.slots[parent].confirmed.is_none()
        {
            if !job.ride || job.current(parent).sent_at.is_none() || !self.has_room(id, slot, limits) {
                return Ok(());
            }
            self.latch(id, parent)?;
        }
        let current = self.jobs[&id].current(slot).clone();
        let txid = current.tx.compute_txid();
        if self.client.get_mempool_entry(&txid).await?.is_some() {
            self.note_sent(id, slot, reports)?;
            return self.bump_if_due(id, slot, rebuild, limits, reports).await;
        }
        let outcome = broadcast::send(&self.client, &current.tx).await?;
        self.settle(id, slot, outcome, rebuild, limits, reports).await
    }

    /// Acts on what became of a transaction that was given to Core.
    async fn settle(
        &mut self,
        id: JobId,
        slot: usize,
        outcome: Outcome,
        rebuild: &dyn Rebuild,
        limits: Limits,
        reports: &mut Vec<Report>,
    ) -> Result<(), SenderError> {
        let job = &self.jobs[&id];
        let wait = |reason: String| Report::Waiting {
            job: id,
            slot,
            reason,
        };
        match outcome {
            Outcome::InMempool => self.note_sent(id, slot, reports)?,
            Outcome::InChain => {
                let tx = job.current(slot).tx.clone();
                self.note_in_chain(id, slot, &tx, reports).await?;
            }
            Outcome::Conflict { by: other, .. } => {
                let ours = job.slots[slot]
                    .versions
                    .iter()
                    .any(|v| v.tx.compute_txid() == other);
                if ours && job.slots[slot].versions.len() > 1 {
                    // An older version holds the place: the new one has to pay more, when it may.
                    return self.bump_if_due(id, slot, rebuild, limits, reports).await;
                }
                reports.push(wait(format!("mempool transaction {other} spends the same")));
            }
            Outcome::TooCheap(reason) => {
                if !self.pay_more(id, slot, rebuild, limits, reports).await? {
                    reports.push(wait(reason));
                }
            }
            Outcome::InputMissing(_) => reports.push(wait("an input is missing".into())),
            Outcome::Premature(reason) | Outcome::NoRoom(reason) | Outcome::Refused(reason) => {
                reports.push(wait(reason))
            }
        }
        Ok(())
    }

    /// Returns whether a transaction fits into the package of its unconfirmed job.
    fn has_room(&self, id: JobId, slot: usize, limits: Limits) -> bool {
        let job = &self.jobs[&id];
        if job.current(slot).sent_at.is_some() {
            return true;
        }
        let (mut count, mut vsize) = (1, job.current(slot).tx.weight().to_vbytes_ceil());
        for (place, it) in job.slots.iter().enumerate() {
            if it.confirmed.is_none() && job.current(place).sent_at.is_some() {
                let lift = it.lifts.last().map(|lift| &lift.tx);
                for tx in std::iter::once(&job.current(place).tx).chain(lift) {
                    count += 1;
                    vsize += tx.weight().to_vbytes_ceil();
                }
            }
        }
        count <= limits.count && vsize <= limits.vsize
    }

    /// Forbids replacing a transaction, before a child of it is sent.
    fn latch(&mut self, id: JobId, slot: usize) -> Result<(), SenderError> {
        if self.jobs[&id].slots[slot].latched {
            return Ok(());
        }
        self.change(id, |job| job.slots[slot].latched = true)
    }

    /// Notes that the current version is in the mempool.
    fn note_sent(&mut self, id: JobId, slot: usize, reports: &mut Vec<Report>) -> Result<(), SenderError> {
        let version = self.jobs[&id].current_version(slot);
        let it = &self.jobs[&id].slots[slot].versions[version];
        if it.sent_at.is_some() {
            return Ok(());
        }
        let txid = it.tx.compute_txid();
        let height = self.tip().height;
        self.change(id, |job| job.slots[slot].versions[version].sent_at = Some(height))?;
        reports.push(Report::Sent { job: id, slot, txid });
        Ok(())
    }

    /// Notes a confirmation that Core tells of. Blocks after our tip will tell it themselves.
    async fn note_in_chain(
        &mut self,
        id: JobId,
        slot: usize,
        tx: &Transaction,
        reports: &mut Vec<Report>,
    ) -> Result<(), SenderError> {
        let Some(at) = broadcast::locate(&self.client, tx)
            .await?
            .filter(|at| self.blocks.contains(*at))
        else {
            return Ok(());
        };
        let version = self.jobs[&id].current_version(slot);
        self.change(id, |job| {
            job.slots[slot].confirmed = Some(Confirmed { at, version })
        })?;
        reports.push(Report::Confirmed {
            job: id,
            slot,
            txid: tx.compute_txid(),
            at,
        });
        Ok(())
    }

    /// Changes a job, on disk first.
    fn change(&mut self, id: JobId, with: impl FnOnce(&mut Job)) -> Result<(), SenderError> {
        let mut job = self.jobs[&id].clone();
        with(&mut job);
        self.file.write(&Change {
            jobs: vec![&job],
            ..Change::default()
        })?;
        self.jobs.insert(id, job);
        Ok(())
    }
}

/// Notes what a block confirms of a job, and what it confirms instead.
fn confirm(job: &mut Job, at: BlockRef, spent: &BTreeMap<OutPoint, Txid>) -> Vec<Report> {
    let id = job.id;
    let mut reports = Vec::new();
    for (place, slot) in job.slots.iter_mut().enumerate() {
        if slot.confirmed.is_some() || slot.conflict.is_some() {
            continue;
        }
        for (version, it) in slot.versions.iter().enumerate() {
            let txid = it.tx.compute_txid();
            let spender = inputs(&it.tx).find_map(|input| spent.get(&input).copied());
            if spender == Some(txid) {
                slot.confirmed = Some(Confirmed { at, version });
                slot.conflict = None;
                reports.push(Report::Confirmed {
                    job: id,
                    slot: place,
                    txid,
                    at,
                });
                break;
            }
            if let Some(txid) = spender {
                slot.conflict = Some(Conflict { at, txid });
            }
        }
    }
    reports
}
