//! Carrying pre-signed transactions into the chain: a child pays what they cannot.
//!
//! A [`Parcel`] is one signed transaction whose fee nobody can change, with a pay-to-anchor output. [`Carrier::submit`] makes
//! it durable; then it is sent, alone or with a child that spends the anchor and confirmed outputs of the wallet, until it is
//! confirmed `depth` deep or surely lost, after any restart of ours or of Core and after any reorg.
//!
//! ```no_run
//! # use bitsect_l1::{carrier::{Carrier, CarrierError, Parcel}, follower::{Event, Follower}, wallet::Wallet};
//! # use bitcoin::{Amount, Transaction};
//! # async fn f(carrier: &mut Carrier, wallet: &Wallet, follower: &mut Follower, tx: Transaction)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! carrier.prepare(4, Amount::from_sat(100_000)).await?;
//! let id = carrier.submit(Parcel { label: "answer 7".into(), tx, fee: Amount::ZERO, deadline: 900_144 })?;
//! loop {
//!     let event = follower.next().await?;
//!     wallet.apply(&event)?;
//!     for report in carrier.apply(&event)? { tracing::info!(?report); }
//!     if let Event::Tip { .. } = event {
//!         for report in carrier.advance().await? { tracing::info!(?report); }
//!     }
//! }
//! # }
//! ```
//!
//! Call [`Carrier::advance`] at each tip, right after `submit`, and now and then between blocks, because the mempool's lowest
//! rate moves and strangers may take the anchor. Nothing here knows what the transactions mean.
//!
//! A transaction that is not valid yet (an input that is not confirmed, a time lock) waits: nothing is signed for it. All
//! children of a job spend the same anchor, so one confirms at most; outputs of the wallet that any of them spends are in no
//! other job's. Between blocks it is the rate at which Core would mine the transaction that counts, whoever pays for it: a
//! stranger's child that pays enough is left alone, and one that does not is replaced.

mod advance;
mod job;
mod lift;
mod plan;
mod ready;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use bitcoin::{OutPoint, Txid};

use self::ready::Target;
pub use self::{
    job::{Child, Job, Parcel, ParcelError},
    ready::Ready,
    report::{CarrierError, Report, Why},
};
pub use crate::ledger::{Conflict, JobId};
use crate::{
    BlockRef,
    follower::{ChainBlock, Event},
    ledger::{Blocks, Change, JobFile, Place, inputs, spenders},
    rpc::Client,
    sender::{FeePolicy, Sender, SenderConfig},
    wallet::Wallet,
};

/// The file of the jobs, in the carrier's folder.
const JOBS_FILE: &str = "carrier.redb";
/// The file of the transactions that make fee outputs, a sender's.
const SPLITS_FILE: &str = "splits.redb";

/// How to carry.
#[derive(Clone, Copy, Debug)]
pub struct CarrierConfig {
    /// Which fee rate to pay before a deadline presses, and the highest one.
    pub fees: FeePolicy,
    /// Confirmations after which a transaction is not watched any more.
    pub depth: u32,
    /// Blocks that a transaction with a fee of its own may wait before a child lifts it; fewer near its deadline.
    pub patience: u32,
}

impl Default for CarrierConfig {
    fn default() -> Self {
        // As the sender's.
        Self {
            fees: FeePolicy::default(),
            depth: 6,
            patience: 3,
        }
    }
}

/// Carries jobs. One task owns it; a wallet has one carrier at most.
#[derive(Debug)]
pub struct Carrier {
    client: Client,
    config: CarrierConfig,
    wallet: Arc<Wallet>,
    file: JobFile<Job>,
    jobs: BTreeMap<JobId, Job>,
    blocks: Blocks,
    /// Sends the transactions that make fee outputs.
    splits: Sender,
    target: Target,
    /// What was reported of a job last, so that it is said once.
    said: BTreeMap<JobId, Why>,
    /// Jobs of which it was said that they are late.
    overdue: BTreeSet<JobId>,
    said_ready: Option<Ready>,
    /// Reports that were not returned yet, because a call failed after them.
    reports: Vec<Report>,
}

impl Carrier {
    /// Opens the carrier's files in a folder that exists, or makes them.
    ///
    /// A new carrier looks at the blocks after `start`: the tip at that time. The `wallet` pays; it is told of the children,
    /// and is fed with blocks by the caller, before the carrier.
    ///
    /// # Errors
    /// [`CarrierError`].
    pub fn open(
        folder: &Path,
        client: Client,
        config: CarrierConfig,
        wallet: Arc<Wallet>,
        start: BlockRef,
    ) -> Result<Self, CarrierError> {
        let file = JobFile::<Job>::open(&folder.join(JOBS_FILE), start)?;
        let jobs: BTreeMap<JobId, Job> = file.jobs()?.into_iter().map(|job| (job.id, job)).collect();
        let blocks = Blocks::new(file.blocks()?);
        // The wallet's file may be older than ours.
        wallet.sent(
            jobs.values()
                .filter_map(|job| job.children.last())
                .map(|child| &child.tx),
        )?;
        let sending = SenderConfig {
            fees: config.fees,
            depth: config.depth,
            ..SenderConfig::default()
        };
        let path = folder.join(SPLITS_FILE);
        let splits = Sender::open(&path, client.clone(), sending, Some(wallet.clone()), start)?;
        let target = Target::read(&file)?;
        let carrier = Self {
            client,
            config,
            wallet,
            file,
            jobs,
            blocks,
            splits,
            target,
            said: BTreeMap::new(),
            overdue: BTreeSet::new(),
            said_ready: None,
            reports: Vec::new(),
        };
        carrier.hold_ready();
        Ok(carrier)
    }

    /// Returns blocks that were looked at, lowest first, to start a follower with.
    pub fn known(&self) -> Vec<BlockRef> {
        let (ours, splits) = (self.blocks.list(), self.splits.known());
        // A crash may have come between the two.
        let ours_is_behind = self.blocks.tip().height <= self.splits.tip().height;
        if ours_is_behind { ours } else { splits }
    }

    /// Returns the last block that was looked at.
    pub fn tip(&self) -> BlockRef {
        self.blocks.tip()
    }

    /// Returns the jobs that are not ended, oldest first.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// Returns a job that is not ended.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Takes in a job. When it returns the job is durable and will be sent; nothing is sent yet.
    ///
    /// A transaction that is a job already keeps its name, and gets the new label and deadline; it is not cancelled any more.
    ///
    /// # Errors
    /// [`CarrierError::Parcel`] when it cannot be carried; [`CarrierError::Store`]. The job is not taken then.
    pub fn submit(&mut self, parcel: Parcel) -> Result<JobId, CarrierError> {
        let txid = parcel.tx.compute_txid();
        if let Some(id) = self
            .jobs
            .values()
            .find(|job| job.txid() == txid)
            .map(|job| job.id)
        {
            self.overdue.remove(&id);
            self.change(id, |job| {
                job.label = parcel.label;
                job.deadline = parcel.deadline;
                job.cancelled = false;
            })?;
            return Ok(id);
        }
        let job = Job::new(self.file.next_id()?, parcel)?;
        self.file.write(&Change {
            jobs: vec![&job],
            ..Change::default()
        })?;
        let id = job.id;
        self.jobs.insert(id, job);
        Ok(id)
    }

    /// Stops sending a job. It ends once its transaction is not in the mempool; what is there may still confirm, and is watched.
    /// Returns whether there is such a job.
    ///
    /// # Errors
    /// [`CarrierError::Store`]; nothing is changed then.
    pub fn cancel(&mut self, id: JobId) -> Result<bool, CarrierError> {
        if !self.jobs.contains_key(&id) {
            return Ok(false);
        }
        self.change(id, |job| job.cancelled = true)?;
        Ok(true)
    }

    /// Takes in what happened to the chain. Durable when it returns; a block twice does no harm.
    ///
    /// # Errors
    /// [`CarrierError::Gap`] when blocks are missing in between: follow from [`Self::known`].
    pub fn apply(&mut self, event: &Event) -> Result<Vec<Report>, CarrierError> {
        let splits = self.splits.apply(event)?;
        self.reports.extend(splits.into_iter().map(Report::Split));
        match event {
            Event::Connected(block) => self.connect(block)?,
            Event::Disconnected(at) if self.blocks.contains(*at) => self.roll_back(at.height)?,
            _ => {}
        }
        Ok(std::mem::take(&mut self.reports))
    }

    fn connect(&mut self, block: &ChainBlock) -> Result<(), CarrierError> {
        match self.blocks.place(block)? {
            Place::Known => return Ok(()),
            Place::Next => {}
            Place::Instead => self.roll_back(block.height)?,
        }
        let (at, spent) = (block.at(), spenders(&block.block));
        let (mut changed, mut reports) = (BTreeMap::new(), Vec::new());
        for (id, job) in self.jobs.iter().filter(|(_, job)| job.is_open()) {
            let Some(by) = inputs(&job.tx).find_map(|input| spent.get(&input).copied()) else {
                continue;
            };
            let mut new = job.clone();
            if by == job.txid() {
                new.confirmed = Some(at);
                let child = spent.get(&job.anchor()).copied();
                reports.push(Report::Confirmed { job: *id, at, child });
            } else {
                let by = Conflict { at, txid: by };
                new.conflict = Some(by);
                reports.push(Report::Conflicted { job: *id, by });
            }
            changed.insert(*id, new);
        }
        self.file.write(&Change {
            jobs: changed.values().collect(),
            block: Some(at),
            ..Change::default()
        })?;
        self.jobs.append(&mut changed);
        self.blocks.push(at);
        self.reports.append(&mut reports);
        Ok(())
    }

    /// Forgets blocks from a height on, and what was confirmed in them.
    fn roll_back(&mut self, height: u32) -> Result<(), CarrierError> {
        self.blocks.can_forget_from(height)?;
        let (mut changed, mut reports) = (BTreeMap::new(), Vec::new());
        for (id, job) in &self.jobs {
            let gone = |at: BlockRef| at.height >= height;
            let (confirmed, conflict) = (job.confirmed, job.conflict);
            if !confirmed.is_some_and(gone) && !conflict.is_some_and(|by| gone(by.at)) {
                continue;
            }
            let mut new = job.clone();
            new.confirmed = None;
            new.conflict = None;
            // Whoever has no child of ours in the way waits anew.
            new.sent_at = None;
            changed.insert(*id, new);
            reports.push(Report::Unconfirmed { job: *id });
        }
        self.file.write(&Change {
            jobs: changed.values().collect(),
            forget_from: Some(height),
            ..Change::default()
        })?;
        self.jobs.append(&mut changed);
        self.blocks.forget_from(height);
        self.reports.append(&mut reports);
        Ok(())
    }

    /// Returns the job whose transaction has an id.
    fn job_of(&self, txid: Txid) -> Option<JobId> {
        self.jobs
            .values()
            .find(|job| job.txid() == txid)
            .map(|job| job.id)
    }

    /// Returns the wallet's outputs that children spend, of all jobs but one.
    fn busy(&self, except: Option<JobId>) -> BTreeSet<OutPoint> {
        let others = self.jobs.values().filter(|job| Some(job.id) != except);
        others.flat_map(Job::coins).collect()
    }

    /// Changes a job, on disk first.
    fn change(&mut self, id: JobId, with: impl FnOnce(&mut Job)) -> Result<(), CarrierError> {
        let mut job = self.jobs[&id].clone();
        with(&mut job);
        if job == self.jobs[&id] {
            return Ok(());
        }
        self.file.write(&Change {
            jobs: vec![&job],
            ..Change::default()
        })?;
        self.jobs.insert(id, job);
        Ok(())
    }

    /// Reports what a job waits for, when it is not what was said last.
    fn say(&mut self, id: JobId, why: Why) {
        if self.said.get(&id) != Some(&why) {
            self.said.insert(id, why.clone());
            self.reports.push(Report::Waiting { job: id, why });
        }
    }
}
