//! Looking at every job, and doing what is due.

use bitcoin::{Amount, FeeRate, Weight};

use super::{Carrier, CarrierError, Job, JobId, Report, Why, plan};
use crate::{
    broadcast::{self, Outcome},
    ledger::{Change, inputs},
    rpc::{Client, MempoolEntry, RpcError, code},
    sender::FeePolicy,
};

/// What fees are like now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Market {
    /// The rate to pay when nothing presses.
    pub(super) base: FeeRate,
    /// What the mempool takes.
    pub(super) lowest: FeeRate,
    pub(super) highest: FeeRate,
    /// What a replacement pays on top for its own size.
    pub(super) incremental: FeeRate,
}

impl Market {
    pub(super) async fn read(client: &Client, fees: &FeePolicy) -> Result<Self, RpcError> {
        let estimate = match client.estimate_smart_fee(fees.target_blocks).await {
            Ok(estimate) => estimate.fee_rate,
            // A Core that keeps no estimates says so with an error. The deadlines raise the fee without them, too.
            Err(RpcError::Rpc { code, message, .. }) if code != code::IN_WARMUP => {
                tracing::warn!(message, "no fee estimate");
                None
            }
            Err(error) => return Err(error),
        };
        let info = client.get_mempool_info().await?;
        Ok(Self {
            base: fees.choose(estimate, &info),
            lowest: info.lowest_rate(),
            highest: fees.ceiling,
            incremental: info.incremental_relay_fee,
        })
    }

    /// Returns the rate that a job shall have at a tip.
    pub(super) fn wanted(&self, job: &Job, tip: u32) -> FeeRate {
        let from = job.ready_at.unwrap_or(tip);
        plan::urgent_rate(self.base, self.highest, from, job.deadline, tip)
    }
}

impl Carrier {
    /// Looks at every job, the most urgent first, and does what is due: sends, raises fees, ends jobs.
    ///
    /// # Errors
    /// [`CarrierError`]. The rest of the work is done at the next call, which returns what was to be reported; no step is
    /// half done.
    pub async fn advance(&mut self) -> Result<Vec<Report>, CarrierError> {
        self.advance_splits().await?;
        if !self.jobs.is_empty() {
            let market = Market::read(&self.client, &self.config.fees).await?;
            let mut order: Vec<(u32, JobId)> = self.jobs.values().map(|job| (job.deadline, job.id)).collect();
            order.sort_unstable();
            for (_, id) in order {
                if !self.finish(id).await? {
                    self.carry(id, &market).await?;
                }
            }
        }
        self.look_at_ready();
        Ok(std::mem::take(&mut self.reports))
    }

    /// Removes a job that needs no more watching.
    async fn finish(&mut self, id: JobId) -> Result<bool, CarrierError> {
        let (tip, depth) = (self.tip().height, self.config.depth);
        let job = &self.jobs[&id];
        let lost = job.lost_to(tip, depth);
        let dropped =
            job.cancelled && job.is_open() && self.client.get_mempool_entry(&job.txid()).await?.is_none();
        if lost.is_none() && !dropped && !job.is_done(tip, depth) {
            return Ok(false);
        }
        let children: Vec<_> = job.children.iter().map(|child| child.tx.compute_txid()).collect();
        // A child spends the wallet's coins: it is watched until it is confirmed or surely gone.
        let in_mempool = self.spender(job.anchor()).await?;
        if in_mempool.is_some_and(|by| children.contains(&by)) {
            return Ok(false);
        }
        let never = children
            .into_iter()
            .filter(|txid| !self.wallet.is_confirmed(txid));
        self.wallet.forget(never.collect::<Vec<_>>())?;
        self.file.write(&Change {
            finished: vec![id],
            ..Change::default()
        })?;
        self.said.remove(&id);
        self.overdue.remove(&id);
        if let Some(job) = self.jobs.remove(&id).map(Box::new) {
            self.reports.push(match lost {
                Some(to) => Report::Lost {
                    job,
                    to,
                    depth: tip.saturating_sub(to.at.height) + 1,
                },
                None if dropped => Report::Cancelled { job },
                None => Report::Done { job },
            });
        }
        Ok(true)
    }

    /// Does what is due for a job that is not ended.
    async fn carry(&mut self, id: JobId, market: &Market) -> Result<(), CarrierError> {
        let job = &self.jobs[&id];
        if !job.is_open() {
            return Ok(());
        }
        if self.tip().height > job.deadline && !job.cancelled && self.overdue.insert(id) {
            self.reports.push(Report::Overdue { job: id });
        }
        match self.carry_open(id, market).await {
            // Core's answer to a question about one job must not keep the others from being sent.
            Err(CarrierError::Rpc(RpcError::Rpc {
                code,
                message,
                method,
            })) if code != code::IN_WARMUP => {
                let reason = format!("{method}: {message} (code {code})");
                self.say(id, Why::Refused { reason });
                Ok(())
            }
            other => other,
        }
    }

    async fn carry_open(&mut self, id: JobId, market: &Market) -> Result<(), CarrierError> {
        let job = &self.jobs[&id];
        if let Some(entry) = self.client.get_mempool_entry(&job.txid()).await? {
            self.note_sent(id, false)?;
            if self.jobs[&id].cancelled {
                return Ok(());
            }
            return self.raise(id, &entry, market).await;
        }
        if job.cancelled || !self.inputs_are_there(id).await? {
            return Ok(());
        }
        if self.jobs[&id].children.is_empty() && !self.send_alone(id).await? {
            return Ok(());
        }
        self.lift(id, market, None).await
    }

    /// Returns whether everything that a job's transaction spends is confirmed. What is not there yet is waited for.
    async fn inputs_are_there(&mut self, id: JobId) -> Result<bool, CarrierError> {
        let tx = self.jobs[&id].tx.clone();
        for input in inputs(&tx) {
            if self.client.get_tx_out(&input, false).await?.is_none() {
                if !self.note_in_chain(id).await? {
                    self.say(id, Why::InputMissing { input });
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends a job's transaction without a child. Returns whether a child could help it.
    async fn send_alone(&mut self, id: JobId) -> Result<bool, CarrierError> {
        match broadcast::send(&self.client, &self.jobs[&id].tx).await? {
            Outcome::InMempool => self.note_sent(id, true)?,
            Outcome::InChain => {
                self.note_in_chain(id).await?;
            }
            Outcome::Conflict { .. } | Outcome::TooCheap(_) => return Ok(true),
            Outcome::InputMissing(input) => self.say(id, Why::InputMissing { input }),
            Outcome::Premature(reason) => self.say(id, Why::Premature { reason }),
            Outcome::NoRoom(reason) | Outcome::Refused(reason) => self.say(id, Why::Refused { reason }),
        }
        Ok(false)
    }

    /// Raises the fee of a job whose transaction is in the mempool, when it would be mined for too little.
    async fn raise(&mut self, id: JobId, entry: &MempoolEntry, market: &Market) -> Result<(), CarrierError> {
        let (job, tip) = (&self.jobs[&id], self.tip().height);
        let paid = entry.mining_rate();
        let wanted = market.wanted(job, tip);
        if !plan::is_worth(paid, wanted, market.highest) {
            self.said.remove(&id);
            return Ok(());
        }
        // What pays for itself may wait a little: a child costs at least its own size.
        let left = job.deadline.saturating_sub(tip);
        let waited = tip.saturating_sub(job.sent_at.unwrap_or(tip));
        let patient = job.children.is_empty() && job.fee > Amount::ZERO && paid >= market.lowest;
        if patient && waited < self.config.patience.min(left / 4) {
            return Ok(());
        }
        let weight = Weight::from_vb(entry.vsize).unwrap_or(Weight::MAX);
        self.lift(id, market, Some(weight)).await
    }

    /// Notes that a job's transaction is in the mempool, `newly` when it was not before.
    pub(super) fn note_sent(&mut self, id: JobId, newly: bool) -> Result<(), CarrierError> {
        let (height, first) = (self.tip().height, self.jobs[&id].sent_at.is_none());
        if first {
            self.change(id, |job| {
                job.sent_at = Some(height);
                job.ready_at.get_or_insert(height);
            })?;
        }
        if first || newly {
            let txid = self.jobs[&id].txid();
            self.said.remove(&id);
            self.reports.push(Report::Sent { job: id, txid });
        }
        Ok(())
    }

    /// Notes a confirmation that Core tells of, and returns whether there is one. Blocks after our tip will tell it themselves.
    pub(super) async fn note_in_chain(&mut self, id: JobId) -> Result<bool, CarrierError> {
        let Some(at) = broadcast::locate(&self.client, &self.jobs[&id].tx).await? else {
            return Ok(false);
        };
        // A block below all that are known was connected before the carrier began.
        if self.blocks.contains(at) || at.height < self.blocks.lowest().height {
            self.change(id, |job| job.confirmed = Some(at))?;
            self.said.remove(&id);
            self.reports.push(Report::Confirmed {
                job: id,
                at,
                child: None,
            });
        }
        Ok(true)
    }
}
