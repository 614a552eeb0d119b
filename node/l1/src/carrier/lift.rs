//! Signing children, and getting them into the mempool.

use std::collections::BTreeSet;

use bitcoin::{Amount, FeeRate, OutPoint, Txid, Weight, transaction::Version};

use super::{
    Carrier, CarrierError, Child, JobId, Report, Why,
    advance::Market,
    plan::{self, Coin, Plan, Terms},
};
use crate::{
    broadcast::{self, Outcome},
    ledger::inputs,
    rpc::RpcError,
    wallet::{Foreign, FundError, Funding},
};

/// Children signed for a job in one call at most, each for more than Core refused.
const TRIES: usize = 3;
/// Children of a job at most. A step is a quarter, so the highest rate comes first.
const MAX_CHILDREN: usize = 256;

/// What became of a job's transaction and its child that were sent.
enum Delivered {
    /// Both are in the mempool.
    Taken,
    /// A block has the transaction.
    InChain,
    /// More has to be paid.
    TooCheap(String),
    /// A coin of the child is not to be had.
    CoinGone(OutPoint),
    /// It is for another reason that it waits.
    Waits(Why),
}

/// What is in the way of a child.
enum InTheWay {
    /// Transactions of others and older children, that together pay these fees.
    Fees(Amount),
    /// Another job.
    Job(JobId),
}

impl Carrier {
    /// Gets a child into the mempool that makes a job's transaction reach the rate wanted: the newest one when that does,
    /// else a new one. `there` is the weight of the transaction in the mempool, when it is there: strangers may have sent it
    /// with another witness.
    pub(super) async fn lift(
        &mut self,
        id: JobId,
        market: &Market,
        there: Option<Weight>,
    ) -> Result<(), CarrierError> {
        let mut out = there.is_some();
        let weight = there.unwrap_or_else(|| self.jobs[&id].tx.weight());
        let mut rate = market.wanted(&self.jobs[&id], self.tip().height);
        if let Some(newest) = self.newest_to_send(id, rate, market).await? {
            match self.deliver(id, &newest, &mut out).await? {
                Delivered::TooCheap(_) => {
                    rate = plan::next_try(self.jobs[&id].rate_with(&newest)).min(market.highest);
                }
                Delivered::CoinGone(_) => {}
                other => return self.settle(id, other, None).await,
            }
        }
        for last in (0..TRIES).map(|n| n + 1 == TRIES) {
            let Some(child) = self.sign(id, market, rate, (weight, out)).await? else {
                return Ok(());
            };
            match self.deliver(id, &child, &mut out).await? {
                Delivered::TooCheap(_) if !last && rate < market.highest => {
                    rate = plan::next_try(self.jobs[&id].rate_with(&child)).min(market.highest);
                }
                other => return self.settle(id, other, Some(child)).await,
            }
        }
        Ok(())
    }

    /// Returns the newest child when it is not in the mempool, its coins are there, and its rate is near the one wanted.
    async fn newest_to_send(
        &self,
        id: JobId,
        wanted: FeeRate,
        market: &Market,
    ) -> Result<Option<Child>, RpcError> {
        let job = &self.jobs[&id];
        let Some(newest) = job.children.last() else {
            return Ok(None);
        };
        if plan::is_worth(job.rate_with(newest), wanted, market.highest)
            || self.spender(job.anchor()).await? == Some(newest.tx.compute_txid())
            || self.coins_of(id).await?.len() < newest.coins().count()
        {
            return Ok(None);
        }
        Ok(Some(newest.clone()))
    }

    /// Acts on what became of a child; `new` is one that was signed just now.
    async fn settle(
        &mut self,
        id: JobId,
        delivered: Delivered,
        new: Option<Child>,
    ) -> Result<(), CarrierError> {
        match delivered {
            Delivered::Taken => {
                self.said.remove(&id);
                if let Some(child) = new {
                    let rate = self.jobs[&id].rate_with(&child);
                    self.reports.push(Report::Bumped {
                        job: id,
                        child: child.tx.compute_txid(),
                        fee: child.fee,
                        rate,
                    });
                }
            }
            Delivered::InChain => {
                self.note_in_chain(id).await?;
            }
            Delivered::TooCheap(reason) => self.say(id, Why::TooCheap { reason }),
            // The wallet's next block tells it too; another coin is taken at the next call.
            Delivered::CoinGone(input) => self.say(id, Why::InputMissing { input }),
            Delivered::Waits(why) => self.say(id, why),
        }
        Ok(())
    }

    /// Signs a child for a rate of both; the parent has a weight, and is in the mempool or not. The child is durable when it is returned, and the wallet knows it. Returns none, and reports why,
    /// when that cannot be.
    async fn sign(
        &mut self,
        id: JobId,
        market: &Market,
        rate: FeeRate,
        (parent_weight, parent_out): (Weight, bool),
    ) -> Result<Option<Child>, CarrierError> {
        let replaced = match self.in_the_way(id, parent_out).await? {
            InTheWay::Fees(fees) => fees,
            InTheWay::Job(job) => {
                self.say(id, Why::OtherJob { job });
                return Ok(None);
            }
        };
        let job = &self.jobs[&id];
        let terms = Terms {
            parent_weight,
            parent_fee: job.fee,
            parent_out,
            anchor: job.tx.output[job.anchor as usize].value,
            rate,
            lowest: market.lowest,
            highest: market.highest,
            incremental: market.incremental,
            replaced,
            earlier: job.children.iter().map(|child| child.fee).max(),
        };
        let why = match self.plan(id, &terms).await? {
            Plan::Child { .. } if self.jobs[&id].children.len() >= MAX_CHILDREN => Why::Refused {
                reason: format!("{MAX_CHILDREN} children were signed already"),
            },
            Plan::Child { coins, fee } => match self.make(id, &coins, fee) {
                Ok(child) => return Ok(Some(child)),
                // The wallet has not seen yet, or has seen before us, what became of a coin.
                Err(CarrierError::Fund(FundError::Request { reason })) => Why::Refused { reason },
                Err(CarrierError::Fund(FundError::Insufficient { needed, available })) => {
                    Why::TooFewCoins { needed, available }
                }
                Err(error) => return Err(error),
            },
            Plan::TooFew { needed, available } => Why::TooFewCoins { needed, available },
            Plan::TooDear { needed } => Why::TooDear {
                needed,
                highest: market.highest,
            },
        };
        self.say(id, why);
        Ok(None)
    }

    /// Plans a child from coins that Core knows to be confirmed and unspent.
    async fn plan(&self, id: JobId, terms: &Terms) -> Result<Plan, RpcError> {
        let kept = self.coins_of(id).await?;
        let mut free = self.free_coins(id, &kept);
        loop {
            let plan = plan::plan(terms, &kept, &free);
            let Plan::Child { coins, .. } = &plan else {
                return Ok(plan);
            };
            let mut gone = None;
            for coin in coins.iter().filter(|coin| !kept.contains(coin)) {
                // The wallet may not know yet that a coin is spent, or not confirmed any more.
                let output = self.client.get_tx_out(&coin.outpoint, true).await?;
                if output.is_none_or(|output| output.confirmations == 0) {
                    gone = Some(*coin);
                    break;
                }
            }
            let Some(gone) = gone else {
                return Ok(plan);
            };
            free.retain(|coin| *coin != gone);
        }
    }

    /// Signs a child with these coins and this fee, and makes it durable.
    fn make(&mut self, id: JobId, coins: &[Coin], fee: Amount) -> Result<Child, CarrierError> {
        let job = &self.jobs[&id];
        let value = job.tx.output[job.anchor as usize].value;
        let mut request = Funding::new(FeeRate::ZERO, Vec::new());
        request.foreign = vec![Foreign::anchor(job.anchor(), value)];
        request.coins = coins.iter().map(|coin| coin.outpoint).collect();
        request.version = match job.tx.version {
            Version(3) => Version(3),
            _ => Version::TWO,
        };
        request.quiet_change = true;
        let funded = self.wallet.fund_exactly(&request, fee)?;
        let unsigned = funded.psbt.unsigned_tx.clone();
        let made_at = self.tip().height;
        let signed = self.wallet.finish(funded);
        let kept = signed.map_err(CarrierError::from).and_then(|signed| {
            let child = Child {
                tx: signed.tx,
                fee,
                made_at,
            };
            self.change(id, |job| {
                job.ready_at.get_or_insert(made_at);
                job.children.push(child.clone());
            })?;
            Ok(child)
        });
        if kept.is_err() {
            self.wallet.release(&unsigned);
        }
        let child = kept?;
        self.wallet.sent([&child.tx])?;
        Ok(child)
    }

    /// Sends a job's transaction with a child. `out` says whether the transaction is in the mempool, before and after.
    async fn deliver(&mut self, id: JobId, child: &Child, out: &mut bool) -> Result<Delivered, CarrierError> {
        let job = &self.jobs[&id];
        let anchor = job.anchor();
        let package = broadcast::send_package(&self.client, &job.tx, &child.tx).await?;
        let is_out = package.parent == Outcome::InMempool;
        if is_out {
            self.note_sent(id, !*out)?;
        }
        *out = is_out;
        Ok(match (package.parent, package.child) {
            (_, Outcome::InMempool) => Delivered::Taken,
            (Outcome::InChain, _) | (_, Outcome::InChain) => Delivered::InChain,
            (Outcome::Premature(reason), _) | (_, Outcome::Premature(reason)) => {
                Delivered::Waits(Why::Premature { reason })
            }
            (_, Outcome::Conflict { spent, .. } | Outcome::InputMissing(spent)) if spent != anchor => {
                Delivered::CoinGone(spent)
            }
            (_, Outcome::Conflict { by, .. }) => Delivered::TooCheap(format!("{by} pays more")),
            (Outcome::InputMissing(input), _) | (_, Outcome::InputMissing(input)) => {
                Delivered::Waits(Why::InputMissing { input })
            }
            (_, Outcome::TooCheap(reason)) => Delivered::TooCheap(reason),
            (_, Outcome::NoRoom(reason) | Outcome::Refused(reason)) => {
                Delivered::Waits(Why::Refused { reason })
            }
        })
    }

    /// Finds what leaves the mempool when a child comes in.
    async fn in_the_way(&self, id: JobId, parent_out: bool) -> Result<InTheWay, RpcError> {
        let job = &self.jobs[&id];
        let mut spent = vec![job.anchor()];
        if !parent_out {
            spent.extend(inputs(&job.tx));
        }
        let spending = self.client.get_tx_spending_prevout(&spent).await?;
        let others: BTreeSet<Txid> = spending.iter().filter_map(|s| s.spending_txid).collect();
        let mut fees = Amount::ZERO;
        for other in others {
            if other == job.txid() {
                continue;
            }
            if let Some(job) = self.job_of(other) {
                return Ok(InTheWay::Job(job));
            }
            // Two of them may share descendants, which are then counted twice: too much is paid rather than too little.
            if let Some(entry) = self.client.get_mempool_entry(&other).await? {
                fees = fees
                    .checked_add(entry.fees.descendant)
                    .unwrap_or(Amount::MAX_MONEY);
            }
        }
        Ok(InTheWay::Fees(fees))
    }

    /// Returns the mempool transaction that spends an output.
    pub(super) async fn spender(&self, output: OutPoint) -> Result<Option<Txid>, RpcError> {
        let spending = self.client.get_tx_spending_prevout(&[output]).await?;
        Ok(spending.iter().find_map(|s| s.spending_txid))
    }

    /// Returns the coins of a job's newest child that can be spent again: they are confirmed, and nobody else spends them.
    async fn coins_of(&self, id: JobId) -> Result<Vec<Coin>, RpcError> {
        let job = &self.jobs[&id];
        let mut coins = Vec::new();
        for outpoint in job.children.last().into_iter().flat_map(Child::coins) {
            let Some(output) = self.client.get_tx_out(&outpoint, false).await? else {
                continue;
            };
            let by = self.spender(outpoint).await?;
            let ours = |by: Txid| job.children.iter().any(|child| child.tx.compute_txid() == by);
            if by.is_none_or(ours) {
                let value = output.value;
                coins.push(Coin { outpoint, value });
            }
        }
        Ok(coins)
    }

    /// Returns the wallet's coins that no job uses, smallest first.
    fn free_coins(&self, id: JobId, kept: &[Coin]) -> Vec<Coin> {
        let mut taken = self.busy(Some(id));
        taken.extend(kept.iter().map(|coin| coin.outpoint));
        let coins = self.wallet.confirmed_coins().into_iter();
        let free = coins.filter(|(outpoint, _)| !taken.contains(outpoint));
        free.map(|(outpoint, output)| Coin {
            outpoint,
            value: output.value,
        })
        .collect()
    }
}
