//! The mempool: acknowledged transactions that wait for a block.
//!
//! [`Pool::add`] answers after the transaction is in the journal, so an acknowledged transaction survives
//! `kill -9` (docs/mempool.md). The sequencer takes [`Pool::best`], reports each durable block with
//! [`Pool::on_block`], and around a reorg calls [`Pool::preserve`] before the store rolls back, and
//! [`Pool::on_rollback`] after it.

mod best;
mod error;
mod index;
mod intake;
mod journal;
mod state;
mod transaction;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Bytes, TxHash, U256};
use bitsect_vm::chain::Transaction;
use bitsect_vm::state::{Account, StateChanges};
use parking_lot::Mutex;
use rayon::prelude::*;
use revm::primitives::hardfork::SpecId;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

pub use best::BestTransactions;
pub use error::PoolError;
pub use state::StoreState;
pub use transaction::{MAX_TX_BYTES, PoolTx};

use index::{Arrival, Cause, Index};
use intake::Request;
use journal::Journal;

/// Pending transactions that a slow subscriber may fall behind by before it misses some.
const PENDING_CAPACITY: usize = 16 * 1024;
/// Blocks between two looks for expired transactions.
const EXPIRE_EVERY: u64 = 64;

/// Limits and rules of the pool.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// The chain's EIP-155 id.
    pub chain_id: u64,
    /// The EVM's specification, for intrinsic gas.
    pub spec: SpecId,
    /// Gas of a block.
    pub block_gas_limit: u64,
    /// Whether legacy transactions without a chain id are taken (as Nick's method of deployment signs them).
    pub allow_unprotected: bool,
    /// Least maxPriorityFeePerGas, wei.
    pub min_tip: u128,
    /// Percent by which a replacement must raise both fees.
    pub price_bump_percent: u8,
    /// Transactions held.
    pub max_transactions: usize,
    /// Encoded bytes held.
    pub max_bytes: usize,
    /// Executable transactions of one sender.
    pub max_pending_per_account: usize,
    /// Transactions of one sender behind a gap.
    pub max_queued_per_account: usize,
    /// Transactions of all senders behind gaps.
    pub max_queued: usize,
    /// How long a transaction may wait behind a gap.
    pub queued_life: Duration,
}

impl PoolConfig {
    /// The defaults for a chain.
    pub fn new(chain_id: u64, spec: SpecId, block_gas_limit: u64) -> Self {
        Self {
            chain_id,
            spec,
            block_gas_limit,
            allow_unprotected: false,
            min_tip: 0,
            price_bump_percent: 10,
            max_transactions: 200_000,
            max_bytes: 256 * 1024 * 1024,
            max_pending_per_account: 16_384,
            max_queued_per_account: 1_024,
            max_queued: 20_000,
            queued_life: Duration::from_secs(3 * 3600),
        }
    }
}

/// The newest state, as the pool needs it.
pub trait PoolState: Send + Sync + 'static {
    /// Reads an account in the newest state.
    ///
    /// # Errors
    ///
    /// Says what failed to be read.
    fn account(&self, address: Address) -> Result<Option<Account>, String>;

    /// Gives the L1 fee of a transaction at the newest fee rate, wei.
    fn l1_fee(&self, tx: &Transaction) -> U256;

    /// Hears that there is a newer state. Called by [`Pool::on_block`], before the pool reads again.
    fn refresh(&self);
}

/// How much the pool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Executable transactions.
    pub pending: usize,
    /// Transactions behind a gap.
    pub queued: usize,
    /// Encoded bytes of both.
    pub bytes: usize,
}

/// The transactions of one sender: executable ones, then those behind a gap, each in nonce order.
#[derive(Clone, Debug, Default)]
pub struct SenderTransactions {
    /// Executable transactions.
    pub pending: Vec<Arc<PoolTx>>,
    /// Transactions behind a gap.
    pub queued: Vec<Arc<PoolTx>>,
}

struct Shared {
    config: PoolConfig,
    state: Arc<dyn PoolState>,
    index: Arc<Mutex<Index>>,
    /// Transactions that a reorg is about to take out of the chain: in the journal, not in the index.
    preserved: Mutex<Vec<Bytes>>,
    arrived: Notify,
    pending: broadcast::Sender<Arc<PoolTx>>,
}

/// A handle to the mempool; clones share it.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
}

impl Pool {
    /// Opens the pool and replays its journal against the state: what a block has taken since is dropped.
    ///
    /// # Errors
    ///
    /// When the journal cannot be opened, or belongs to another format.
    pub fn new(config: PoolConfig, journal: &Path, state: Arc<dyn PoolState>) -> io::Result<Self> {
        let (mut journal, replay) = Journal::open(journal)?;
        let (pending, _) = broadcast::channel(PENDING_CAPACITY);
        let shared = Arc::new(Shared {
            index: Arc::new(Mutex::new(Index::new(config.clone()))),
            config,
            state,
            preserved: Mutex::new(Vec::new()),
            arrived: Notify::new(),
            pending,
        });
        if replay.torn > 0 {
            tracing::warn!(
                bytes = replay.torn,
                "cut an unfinished write off the transaction journal"
            );
        }
        let records = replay.transactions.len();
        if records > 0 {
            let checked: Vec<_> = replay
                .transactions
                .par_iter()
                .map(|raw| transaction::check(raw, &shared.config, |tx| shared.state.l1_fee(tx)))
                .collect();
            for tx in checked {
                match tx.and_then(|tx| shared.insert(tx, Arrival::Returned)) {
                    // Read failures must not lose what was acknowledged: the journal stays as it is.
                    Err(PoolError::State { reason }) => return Err(io::Error::other(reason)),
                    // Included by now, replaced, or written twice by a reorg.
                    Err(error) => tracing::trace!(%error, "dropped a journaled transaction"),
                    Ok(_) => {}
                }
            }
            intake::rewrite(&shared, &mut journal)?;
            tracing::info!(
                records,
                held = shared.index.lock().len(),
                "replayed the transaction journal"
            );
        }
        let (requests, receiver) = mpsc::channel(intake::INTAKE_CAPACITY);
        intake::start(shared.clone(), journal, receiver)?;
        Ok(Self { shared, requests })
    }

    /// Adds an encoded transaction (EIP-2718) and answers when it is durable.
    ///
    /// # Errors
    ///
    /// Says in Geth's words why it is refused.
    pub async fn add(&self, raw: Bytes) -> Result<TxHash, PoolError> {
        self.request(|reply| Request::Add(raw, reply)).await?
    }

    /// Yields executable transactions, best effective tip first, each sender's in nonce order.
    pub fn best(&self, base_fee: u64) -> BestTransactions {
        BestTransactions::new(self.shared.index.clone(), base_fee)
    }

    /// Takes a durable block's transactions out and gives senders their new nonces and balances.
    ///
    /// Called after the store has committed the block, so that the journal never forgets what no block holds.
    pub fn on_block(&self, included: &[TxHash], changes: &StateChanges) {
        self.shared.update(included, changes, Cause::Block);
        // A full intake will be followed by another block; the journal can wait for that one.
        if self.requests.try_send(Request::Compact).is_err() {
            tracing::trace!("the intake is busy: the journal is looked at after the next block");
        }
    }

    /// Takes transactions out that the executor found invalid.
    pub fn discard(&self, hashes: &[TxHash]) {
        let mut index = self.shared.index.lock();
        for hash in hashes {
            index.remove(hash);
        }
    }

    /// Makes transactions of blocks that are about to be rolled back durable in the journal.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written: then the blocks must not be rolled back.
    pub async fn preserve(&self, transactions: &[Transaction]) -> Result<(), PoolError> {
        let raw = encode_pooled(transactions);
        if raw.is_empty() {
            return Ok(());
        }
        self.request(|reply| Request::Preserve(raw, reply)).await?
    }

    /// Follows a rollback that the store has committed: gives senders their nonces and balances, puts the removed
    /// blocks' transactions back in their order, and forgets what [`Pool::preserve`] held. Clients see all of it or
    /// nothing.
    ///
    /// Nothing is dropped and no limit applies: all of it was acknowledged, and what cannot be paid for now may be
    /// again once the chain has been made anew. Deposits are left out. Returns how many are in the pool again; the
    /// others are in the new chain.
    ///
    /// # Errors
    ///
    /// When the pool has ended.
    pub async fn on_rollback(
        &self,
        changes: StateChanges,
        transactions: &[Transaction],
    ) -> Result<usize, PoolError> {
        let raw = encode_pooled(transactions);
        self.request(|reply| Request::Rollback(changes, raw, reply)).await
    }

    async fn request<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, PoolError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(request(reply))
            .await
            .map_err(|_| PoolError::Closed)?;
        answer.await.map_err(|_| PoolError::Closed)
    }

    /// Waits until something executable arrived since the last call returned. For one waiter.
    pub async fn notified(&self) {
        self.shared.arrived.notified().await;
    }

    /// Subscribes to transactions that become pending. A slow receiver misses some.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<PoolTx>> {
        self.shared.pending.subscribe()
    }

    /// Finds a transaction by its hash.
    pub fn get(&self, hash: &TxHash) -> Option<Arc<PoolTx>> {
        self.shared.index.lock().get(hash)
    }

    /// Gives the nonce after a sender's executable transactions, when it has any here.
    pub fn next_nonce(&self, sender: &Address) -> Option<u64> {
        self.shared
            .index
            .lock()
            .sender(sender)
            .map(|sender| sender.executable)
    }

    /// Counts what the pool holds.
    pub fn status(&self) -> PoolStatus {
        let index = self.shared.index.lock();
        let queued = index.queued();
        PoolStatus {
            pending: index.len().saturating_sub(queued),
            queued,
            bytes: index.bytes(),
        }
    }

    /// Gives one sender's transactions.
    pub fn content_from(&self, sender: &Address) -> SenderTransactions {
        self.shared
            .index
            .lock()
            .sender(sender)
            .map(split)
            .unwrap_or_default()
    }

    /// Gives everything, by sender, up to `limit` transactions.
    pub fn content(&self, limit: usize) -> Vec<(Address, SenderTransactions)> {
        let index = self.shared.index.lock();
        let mut left = limit;
        let mut content: Vec<_> = index
            .senders()
            .map_while(|(address, sender)| {
                left = left.checked_sub(sender.txs.len())?;
                Some((*address, split(sender)))
            })
            .collect();
        drop(index);
        content.sort_unstable_by_key(|(address, _)| *address);
        content
    }
}

impl Shared {
    /// Gives senders a new state; see [`Index::update`].
    fn update(&self, included: &[TxHash], changes: &StateChanges, cause: Cause) {
        self.state.refresh();
        let mut index = self.index.lock();
        index.generation = index.generation.wrapping_add(1);
        let mut more = false;
        for (address, change) in &changes.accounts {
            let (nonce, balance) = change.after.map_or((0, U256::ZERO), |a| (a.nonce, a.balance));
            more |= index.update(*address, nonce, balance, cause);
        }
        for hash in included {
            index.remove(hash);
        }
        if index.generation.is_multiple_of(EXPIRE_EVERY) {
            index.expire(Instant::now(), self.config.queued_life);
        }
        drop(index);
        if more {
            self.arrived.notify_one();
        }
    }

    /// Inserts a checked transaction against the newest state and tells who waits for it.
    fn insert(&self, tx: PoolTx, arrival: Arrival) -> Result<TxHash, PoolError> {
        let inserted = loop {
            let (generation, known) = {
                let index = self.index.lock();
                (index.generation, index.sender(&tx.sender).is_some())
            };
            // A sender with transactions here is kept current by `on_block`.
            let account = if known {
                None
            } else {
                self.read_account(tx.sender)?
            };
            let mut index = self.index.lock();
            let still_known = index.sender(&tx.sender).is_some();
            if still_known || (!known && index.generation == generation) {
                break index.insert(tx, account, arrival)?;
            }
        };
        if inserted.executable {
            self.arrived.notify_one();
        }
        // Without subscribers there is nobody to tell.
        drop(self.pending.send(inserted.tx.clone()));
        Ok(inserted.tx.hash)
    }

    fn read_account(&self, address: Address) -> Result<Option<Account>, PoolError> {
        /// Bytes of an EIP-7702 delegation, the only code that a sender may have (EIP-3607).
        const DELEGATION_BYTES: u32 = 23;
        let account = self
            .state
            .account(address)
            .map_err(|reason| PoolError::State { reason })?;
        if let Some(account) = account
            && account.code_size != 0
            && account.code_size != DELEGATION_BYTES
        {
            return Err(PoolError::SenderNotEoa {
                address,
                code_hash: account.code_hash,
            });
        }
        Ok(account)
    }
}

/// Encodes what the pool may hold again: deposits are derived, never pooled.
fn encode_pooled(transactions: &[Transaction]) -> Vec<Bytes> {
    let pooled = transactions
        .iter()
        .filter(|tx| !matches!(tx, Transaction::Deposit(_) | Transaction::PostExec(_)));
    pooled.map(|tx| tx.encoded_2718().into()).collect()
}

fn split(sender: &index::Sender) -> SenderTransactions {
    let (mut pending, mut queued) = (Vec::new(), Vec::new());
    for (nonce, tx) in &sender.txs {
        let to = if *nonce < sender.executable {
            &mut pending
        } else {
            &mut queued
        };
        to.push(tx.clone());
    }
    SenderTransactions { pending, queued }
}
