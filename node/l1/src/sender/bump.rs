//! Paying more: replacing, and lifting by a child.

use bitcoin::{Amount, FeeRate};

use super::{
    JobId, Limits, Report, Sender, SenderError,
    fees::rate_of,
    job::{Job, Terms, Version},
};
use crate::{
    broadcast::{self, Outcome},
    wallet::{FundError, SignedTx},
};

/// Versions of one transaction at most. Each pays at least a half more, so the ceiling comes first.
const MAX_VERSIONS: usize = 64;

/// Builds transactions of a job anew.
///
/// The wallet builds the replacement of a commit with
/// [`Funding::replace`](crate::wallet::Funding::replace).
pub trait Rebuild: Send + Sync {
    /// Signs the transaction at `slot` anew on the terms given, and everything that depends on it so that it spends the
    /// new one. The new transaction spends at least one output that the old one spends, and means the same.
    ///
    /// Returns them with their places in the job. It sends nothing.
    ///
    /// # Errors
    /// Why it cannot be done; it is reported and tried again later.
    fn rebuild(
        &self,
        job: &Job,
        slot: usize,
        terms: &Terms,
    ) -> Result<Vec<(usize, SignedTx)>, Box<dyn std::error::Error + Send + Sync>>;
}

impl Sender {
    /// Raises the fee of a transaction that waits too long.
    pub(super) async fn bump_if_due(
        &mut self,
        id: JobId,
        slot: usize,
        rebuild: &dyn Rebuild,
        limits: Limits,
        reports: &mut Vec<Report>,
    ) -> Result<(), SenderError> {
        let tip = self.tip().height;
        let it = &self.jobs[&id].slots[slot];
        let since = it
            .bumped_at
            .or_else(|| it.versions.iter().rev().find_map(|v| v.sent_at))
            .unwrap_or(tip);
        // The lift is a transaction too: it has to be in the mempool to help.
        self.send_lift(id, slot, reports).await?;
        if tip.saturating_sub(since) >= self.config.bump_after {
            self.pay_more(id, slot, rebuild, limits, reports).await?;
        }
        Ok(())
    }

    /// Raises the fee of a transaction now. Returns whether anything was done.
    pub(super) async fn pay_more(
        &mut self,
        id: JobId,
        slot: usize,
        rebuild: &dyn Rebuild,
        limits: Limits,
        reports: &mut Vec<Report>,
    ) -> Result<bool, SenderError> {
        let job = &self.jobs[&id];
        let it = &job.slots[slot];
        let current = job.current(slot);
        let paid = effective_rate(current, it.lifts.last());
        let Some(rate) = self.config.fees.raised(&self.client, paid, &limits).await? else {
            tracing::warn!(
                job = id.0,
                slot,
                "the fee is at its ceiling and the transaction waits"
            );
            return Ok(false);
        };
        if it.replaceable && !it.latched && it.settled.is_none() && it.versions.len() < MAX_VERSIONS {
            self.replace(id, slot, rate, rebuild, limits, reports).await
        } else {
            self.lift(id, slot, rate, limits, reports).await
        }
    }

    async fn replace(
        &mut self,
        id: JobId,
        slot: usize,
        rate: FeeRate,
        rebuild: &dyn Rebuild,
        limits: Limits,
        reports: &mut Vec<Report>,
    ) -> Result<bool, SenderError> {
        let job = &self.jobs[&id];
        // The dearest version counts: any of them may be the one in the mempool.
        let fees = job.slots[slot]
            .versions
            .iter()
            .map(|v| v.fee)
            .max()
            .unwrap_or(Amount::ZERO);
        let terms = Terms {
            rate,
            min_fee: limits.replacing(fees, job.current(slot).tx.weight()),
        };
        let new = match rebuild.rebuild(job, slot, &terms) {
            Ok(new) => new,
            Err(error) => {
                let reason = format!("it cannot be built anew: {error}");
                reports.push(Report::Waiting {
                    job: id,
                    slot,
                    reason,
                });
                return Ok(false);
            }
        };
        let mut changed = job.clone();
        changed.replace(slot, new, terms.min_fee)?;
        changed.slots[slot].bumped_at = Some(self.tip().height);
        let old: Vec<_> = std::iter::once(slot)
            .chain(job.descendants(slot))
            .map(|place| job.current(place).tx.compute_txid())
            .collect();
        let pending = changed.pending();
        self.change(id, |job| *job = changed)?;
        if let Some(wallet) = &self.wallet {
            wallet.forget(old)?;
            wallet.sent(&pending)?;
        }
        let tx = self.jobs[&id].current(slot).tx.clone();
        reports.push(Report::Replaced {
            job: id,
            slot,
            txid: tx.compute_txid(),
        });
        match broadcast::send(&self.client, &tx).await? {
            Outcome::InMempool => self.note_sent(id, slot, reports)?,
            // What else there is to say comes at the next look; the old version may well confirm meanwhile.
            other => reports.push(Report::Waiting {
                job: id,
                slot,
                reason: format!("{other:?}"),
            }),
        }
        Ok(true)
    }

    async fn lift(
        &mut self,
        id: JobId,
        slot: usize,
        rate: FeeRate,
        limits: Limits,
        reports: &mut Vec<Report>,
    ) -> Result<bool, SenderError> {
        let Some(wallet) = self.wallet.clone() else {
            return Ok(false);
        };
        let job = &self.jobs[&id];
        let parent = job.current(slot).signed();
        let old = job.slots[slot].lifts.last().map(Version::signed);
        let old_terms = old.as_ref().map(|old| (old, limits.incremental));
        let child = match wallet.lift(&parent, rate, old_terms) {
            Ok(Some(child)) => child,
            Ok(None) => return Ok(false),
            Err(error @ FundError::Insufficient { .. }) => {
                reports.push(Report::Waiting {
                    job: id,
                    slot,
                    reason: error.to_string(),
                });
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let height = self.tip().height;
        let txid = child.tx.compute_txid();
        let version = Version {
            tx: child.tx.clone(),
            fee: child.fee,
            parent_version: 0,
            sent_at: None,
        };
        self.change(id, |job| {
            // It is a child that is out, or soon.
            job.slots[slot].latched = true;
            job.slots[slot].lifts.push(version);
            job.slots[slot].bumped_at = Some(height);
        })?;
        wallet.sent([&child.tx])?;
        reports.push(Report::Lifted {
            job: id,
            slot,
            child: txid,
        });
        // Together, because the parent alone may be below what the mempool takes.
        let sent = broadcast::send_package(&self.client, &parent.tx, &child.tx).await?;
        match sent.parent {
            Outcome::InMempool => self.note_sent(id, slot, reports)?,
            other => reports.push(Report::Waiting {
                job: id,
                slot,
                reason: format!("{other:?}"),
            }),
        }
        Ok(true)
    }

    /// Sends the newest lift of a transaction again when the mempool lost it.
    async fn send_lift(
        &mut self,
        id: JobId,
        slot: usize,
        reports: &mut Vec<Report>,
    ) -> Result<(), SenderError> {
        let Some(lift) = self.jobs[&id].slots[slot].lifts.last().cloned() else {
            return Ok(());
        };
        if self
            .client
            .get_mempool_entry(&lift.tx.compute_txid())
            .await?
            .is_some()
        {
            return Ok(());
        }
        match broadcast::send(&self.client, &lift.tx).await? {
            Outcome::InMempool => {}
            other => {
                let reason = format!("the child that lifts it: {other:?}");
                reports.push(Report::Waiting {
                    job: id,
                    slot,
                    reason,
                });
            }
        }
        Ok(())
    }
}

/// Returns the rate of a transaction with the child that pays for it.
fn effective_rate(version: &Version, lift: Option<&Version>) -> FeeRate {
    let (mut fee, mut weight) = (version.fee, version.tx.weight());
    if let Some(lift) = lift {
        fee = fee.checked_add(lift.fee).unwrap_or(Amount::MAX_MONEY);
        weight += lift.tx.weight();
    }
    rate_of(fee, weight)
}
