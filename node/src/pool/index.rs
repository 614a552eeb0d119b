//! What the pool holds, in memory: transactions by sender and nonce, by hash, and by price.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, TxHash, U256};
use bitsect_vm::state::Account;

use super::{PoolConfig, PoolError, PoolTx};

/// Transactions of one sender. Those from the account's nonce on, without a gap and each affordable by itself, are
/// executable; those behind are queued.
#[derive(Debug)]
pub(super) struct Sender {
    /// The account's nonce in the newest state.
    pub nonce: u64,
    /// The account's balance in the newest state, wei.
    pub balance: U256,
    /// By nonce, none below `nonce`.
    pub txs: BTreeMap<u64, Arc<PoolTx>>,
    /// The nonce after the last executable transaction.
    pub executable: u64,
    /// The sum of `cost` over `txs`, wei.
    cost: U256,
}

impl Sender {
    fn new(nonce: u64, balance: U256) -> Self {
        Self {
            nonce,
            balance,
            txs: BTreeMap::new(),
            executable: nonce,
            cost: U256::ZERO,
        }
    }

    /// Transactions that can be executed now.
    fn ready(&self) -> usize {
        usize::try_from(self.executable.saturating_sub(self.nonce)).unwrap_or(usize::MAX)
    }

    /// Transactions behind a gap.
    fn queued(&self) -> usize {
        self.txs.len().saturating_sub(self.ready())
    }

    /// Finds the end of the executable run, which is known up to `from`.
    fn extend(&mut self, from: u64) {
        self.executable = from;
        for (nonce, tx) in self.txs.range(from..) {
            if *nonce != self.executable || tx.cost > self.balance {
                break;
            }
            self.executable = nonce.saturating_add(1);
        }
    }
}

/// What gives a sender a new account state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A block that joined the chain.
    Block,
    /// A block that left it.
    Rollback,
}

/// Where a transaction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// From a client: it may be refused.
    Fresh,
    /// Acknowledged before, and back from the journal or from a block that was taken back. Neither limits nor a
    /// balance that an earlier transaction still has to bring may lose it.
    Returned,
}

/// What an insertion did.
#[derive(Debug)]
pub(super) struct Inserted {
    /// The transaction as stored.
    pub tx: Arc<PoolTx>,
    /// Whether it, or one that waited for it, can be executed now.
    pub executable: bool,
}

/// The pool's content. Every method leaves it consistent; an error changes nothing.
#[derive(Debug)]
pub(super) struct Index {
    config: PoolConfig,
    senders: HashMap<Address, Sender>,
    by_hash: HashMap<TxHash, Arc<PoolTx>>,
    /// All transactions, cheapest first; among equals the newest goes first.
    by_price: BTreeSet<(u128, std::cmp::Reverse<u64>, TxHash)>,
    /// Transactions behind a gap.
    queued: usize,
    /// Encoded bytes held.
    bytes: usize,
    /// The next order of arrival.
    order: u64,
    /// Grows with every new state, so that a read of an older state is noticed.
    pub generation: u64,
}

impl Index {
    pub fn new(config: PoolConfig) -> Self {
        Self {
            config,
            senders: HashMap::new(),
            by_hash: HashMap::new(),
            by_price: BTreeSet::new(),
            queued: 0,
            bytes: 0,
            order: 0,
            generation: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub fn queued(&self) -> usize {
        self.queued
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&self, hash: &TxHash) -> Option<Arc<PoolTx>> {
        self.by_hash.get(hash).cloned()
    }

    pub fn sender(&self, address: &Address) -> Option<&Sender> {
        self.senders.get(address)
    }

    pub fn senders(&self) -> impl Iterator<Item = (&Address, &Sender)> {
        self.senders.iter()
    }

    /// All transactions in the order in which they came.
    pub fn in_order(&self) -> Vec<Arc<PoolTx>> {
        let mut all: Vec<_> = self.by_hash.values().cloned().collect();
        all.sort_unstable_by_key(|tx| tx.order);
        all
    }

    /// Inserts a checked transaction. `account` is its sender's account in the newest state.
    pub fn insert(
        &mut self,
        tx: PoolTx,
        account: Option<Account>,
        arrival: Arrival,
    ) -> Result<Inserted, PoolError> {
        let (nonce, balance) = account.map_or((0, U256::ZERO), |a| (a.nonce, a.balance));
        self.verify(&tx, nonce, balance, arrival)?;
        if arrival == Arrival::Fresh {
            self.make_room(&tx)?;
        }
        self.order = self.order.saturating_add(1);
        let tx = Arc::new(PoolTx {
            order: self.order,
            ..tx
        });
        let sender = self
            .senders
            .entry(tx.sender)
            .or_insert_with(|| Sender::new(nonce, balance));
        let queued_before = sender.queued();
        let replaced = sender.txs.insert(tx.nonce(), tx.clone());
        sender.cost = sender.cost.saturating_add(tx.cost);
        if let Some(old) = &replaced {
            sender.cost = sender.cost.saturating_sub(old.cost);
        }
        sender.extend(sender.executable.min(tx.nonce()).max(sender.nonce));
        let executable = tx.nonce() < sender.executable;
        self.settle(tx.sender, queued_before);
        if let Some(old) = replaced {
            self.forget(&old);
        }
        self.by_price
            .insert((tx.fee_cap(), std::cmp::Reverse(tx.order), tx.hash));
        self.by_hash.insert(tx.hash, tx.clone());
        self.bytes = self.bytes.saturating_add(tx.size);
        Ok(Inserted { tx, executable })
    }

    /// Checks everything about an insertion that does not depend on room.
    fn verify(&self, tx: &PoolTx, nonce: u64, balance: U256, arrival: Arrival) -> Result<(), PoolError> {
        if self.by_hash.contains_key(&tx.hash) {
            return Err(PoolError::AlreadyKnown);
        }
        let sender = self.senders.get(&tx.sender);
        let (nonce, balance) = sender.map_or((nonce, balance), |s| (s.nonce, s.balance));
        if tx.nonce() < nonce {
            return Err(PoolError::NonceTooLow {
                expected: nonce,
                got: tx.nonce(),
            });
        }
        if arrival == Arrival::Fresh {
            affordable(tx, sender, balance)?;
        }
        let old = sender.and_then(|s| s.txs.get(&tx.nonce()));
        if let Some(old) = old {
            let bump = u128::from(self.config.price_bump_percent);
            if !bumped(old.fee_cap(), tx.fee_cap(), bump) || !bumped(old.tip_cap(), tx.tip_cap(), bump) {
                return Err(PoolError::ReplacementUnderpriced);
            }
        }
        match (arrival, old) {
            (Arrival::Fresh, None) => self.within_limits(tx, sender, nonce),
            _ => Ok(()),
        }
    }

    /// Checks what one sender, and all behind gaps, may take up.
    fn within_limits(&self, tx: &PoolTx, sender: Option<&Sender>, nonce: u64) -> Result<(), PoolError> {
        let executable = sender.map_or(nonce, |s| s.executable);
        let (ready, behind_gap) = sender.map_or((0, 0), |s| (s.ready(), s.queued()));
        if tx.nonce() > executable {
            if behind_gap >= self.config.max_queued_per_account {
                return Err(PoolError::AccountLimit);
            }
            if self.queued >= self.config.max_queued {
                return Err(PoolError::Full);
            }
        } else if ready >= self.config.max_pending_per_account {
            return Err(PoolError::AccountLimit);
        }
        Ok(())
    }

    /// Drops the cheapest transactions of other senders until `tx` fits.
    fn make_room(&mut self, tx: &PoolTx) -> Result<(), PoolError> {
        // First see whether dropping would help, so that a refusal changes nothing.
        let mut victims = Vec::new();
        let (mut count, mut bytes) = (self.len(), self.bytes);
        let mut cheapest = self.by_price.iter();
        while count >= self.config.max_transactions || bytes.saturating_add(tx.size) > self.config.max_bytes {
            let Some((price, _, hash)) = cheapest.next() else {
                return Err(PoolError::Full);
            };
            if *price >= tx.fee_cap() {
                return Err(PoolError::Underpriced {
                    tip: tx.fee_cap(),
                    needed: price.saturating_add(1),
                });
            }
            let Some(victim) = self.by_hash.get(hash) else {
                return Err(PoolError::Full);
            };
            // A sender that pushes out its own earlier nonce would only open a gap before itself.
            if victim.sender == tx.sender {
                return Err(PoolError::Full);
            }
            victims.push(*hash);
            count = count.saturating_sub(1);
            bytes = bytes.saturating_sub(victim.size);
        }
        for hash in victims {
            self.remove(&hash);
        }
        Ok(())
    }

    /// Removes a transaction; those of its sender behind it become queued.
    pub fn remove(&mut self, hash: &TxHash) -> Option<Arc<PoolTx>> {
        let tx = self.by_hash.get(hash).cloned()?;
        let sender = self.senders.get_mut(&tx.sender)?;
        let queued_before = sender.queued();
        if sender.txs.remove(&tx.nonce()).is_some() {
            sender.cost = sender.cost.saturating_sub(tx.cost);
        }
        sender.executable = sender.executable.min(tx.nonce().max(sender.nonce));
        self.settle(tx.sender, queued_before);
        self.forget(&tx);
        Some(tx)
    }

    /// Gives a sender a new account state: passed nonces go. After a block, what the sender could pay for before and
    /// cannot now goes as well.
    ///
    /// Returns whether something became executable that was not.
    pub fn update(&mut self, address: Address, nonce: u64, balance: U256, cause: Cause) -> bool {
        let Some(sender) = self.senders.get_mut(&address) else {
            return false;
        };
        let (ready_before, queued_before) = (sender.ready(), sender.queued());
        let old_executable = sender.executable;
        let kept = sender.txs.split_off(&nonce);
        let mut gone: Vec<_> = std::mem::replace(&mut sender.txs, kept).into_values().collect();
        if cause == Cause::Block && balance < sender.balance {
            let before = sender.balance;
            let lost = sender
                .txs
                .extract_if(.., |_, tx| balance < tx.cost && tx.cost <= before);
            gone.extend(lost.map(|(_, tx)| tx));
        }
        (sender.nonce, sender.balance) = (nonce, balance);
        for tx in &gone {
            sender.cost = sender.cost.saturating_sub(tx.cost);
        }
        sender.extend(nonce);
        let more = sender.executable > old_executable && sender.ready() > 0
            || ready_before == 0 && sender.ready() > 0;
        self.settle(address, queued_before);
        for tx in gone {
            self.forget(&tx);
        }
        more
    }

    /// Drops what has waited behind a gap for longer than `life`.
    pub fn expire(&mut self, now: Instant, life: Duration) {
        let old: Vec<TxHash> = self
            .senders
            .values()
            .flat_map(|sender| sender.txs.range(sender.executable..).map(|(_, tx)| tx))
            .filter(|tx| now.saturating_duration_since(tx.arrived) > life)
            .map(|tx| tx.hash)
            .collect();
        for hash in old {
            self.remove(&hash);
        }
    }

    /// Corrects the queued count after a sender changed, and drops a sender without transactions.
    fn settle(&mut self, address: Address, queued_before: usize) {
        let Some(sender) = self.senders.get(&address) else {
            return;
        };
        let queued_now = sender.queued();
        self.queued = self
            .queued
            .saturating_sub(queued_before)
            .saturating_add(queued_now);
        if sender.txs.is_empty() {
            self.senders.remove(&address);
        }
    }

    fn forget(&mut self, tx: &PoolTx) {
        self.by_hash.remove(&tx.hash);
        self.by_price
            .remove(&(tx.fee_cap(), std::cmp::Reverse(tx.order), tx.hash));
        self.bytes = self.bytes.saturating_sub(tx.size);
    }

    /// Asserts every invariant by counting again.
    #[cfg(test)]
    pub fn check(&self) {
        let (mut count, mut queued, mut bytes) = (0, 0, 0);
        for (address, sender) in &self.senders {
            assert!(!sender.txs.is_empty(), "an empty sender stays");
            let mut next = sender.nonce;
            let mut cost = U256::ZERO;
            for (nonce, tx) in &sender.txs {
                assert!(*nonce >= sender.nonce && tx.nonce() == *nonce && tx.sender == *address);
                if *nonce == next && tx.cost <= sender.balance {
                    next += 1;
                }
                cost += tx.cost;
                bytes += tx.size;
                assert!(self.by_hash.contains_key(&tx.hash));
            }
            assert_eq!(sender.executable, next);
            assert_eq!(sender.cost, cost);
            count += sender.txs.len();
            queued += sender.queued();
        }
        assert_eq!(
            (count, queued, bytes),
            (self.by_hash.len(), self.queued, self.bytes)
        );
        assert_eq!(self.by_price.len(), count);
    }
}

/// Checks that a balance pays for a transaction, alone and together with its sender's others.
fn affordable(tx: &PoolTx, sender: Option<&Sender>, balance: U256) -> Result<(), PoolError> {
    if tx.cost > balance {
        let overshot = tx.cost.saturating_sub(balance);
        return Err(PoolError::InsufficientFunds {
            balance,
            cost: tx.cost,
            overshot,
        });
    }
    let Some(sender) = sender else { return Ok(()) };
    let old = sender.txs.get(&tx.nonce());
    let queued = sender.cost.saturating_sub(old.map_or(U256::ZERO, |old| old.cost));
    let total = queued.saturating_add(tx.cost);
    if total > balance {
        return Err(PoolError::InsufficientFundsQueued {
            balance,
            queued,
            cost: tx.cost,
            overshot: total.saturating_sub(balance),
        });
    }
    Ok(())
}

/// Whether a price rose by at least `percent`.
fn bumped(old: u128, new: u128, percent: u128) -> bool {
    let needed = old.saturating_add(old.saturating_mul(percent).div_ceil(100));
    new > old && new >= needed
}
