//! What the engine knows, and how it is read back from the store.

use std::sync::Arc;

use alloy_primitives::B256;
use bitsect_vm::chain::{BlobRef, Blobs, ChainParams, ChainState, L2Tip, Transaction};
use bitsect_vm::derive::PlannedBlock;
use bitsect_vm::derive::payload::Batch;
use bitsect_vm::state::{AccountChange, StateChanges, StateReader};
use bitsect_vm::step::ExecutedBlock;
use tokio::runtime::Handle;
use tokio::sync::broadcast;

use super::{EngineConfig, EngineError, EngineStatus};
use crate::events::{BlockRef, ChainEvent};
use crate::pool::Pool;
use crate::store::{Head, L1Ref, NewBlock, RemovedBlock, Snapshot, Store, StoreError, StoredHeader, Writer};

/// The engine's state between two commands.
pub(super) struct Core {
    pub(super) config: EngineConfig,
    pub(super) store: Store,
    pub(super) pool: Option<Pool>,
    pub(super) events: broadcast::Sender<ChainEvent>,
    pub(super) runtime: Handle,
    /// The chain state after the last unit.
    pub(super) chain: ChainState,
    /// The last unit's number.
    pub(super) units: u64,
    /// Where the latest block stands, which may be ahead of the chain state.
    pub(super) tip: L2Tip,
    /// The open batch, decoded once for all its blocks.
    pub(super) batch: Option<OpenedBatch>,
    pub(super) status: EngineStatus,
    /// Where the chain state's tip was when it last moved, or when nothing waited for a batch: its number, and the
    /// L1 height then.
    pub(super) progress: (u64, u32),
    /// The violation after the block that was executed last, by name.
    pub(super) wrong: Option<String>,
}

/// A decoded batch and where it is.
#[derive(Clone)]
pub(super) struct OpenedBatch {
    pub(super) commit: B256,
    pub(super) batch: Arc<Batch>,
}

impl Core {
    pub(super) fn load(
        config: EngineConfig,
        store: Store,
        pool: Option<Pool>,
        events: broadcast::Sender<ChainEvent>,
        runtime: Handle,
    ) -> Result<Self, EngineError> {
        let snapshot = store.read()?;
        let (chain, units) = load_chain(&snapshot)?;
        let mut core = Self {
            config,
            store,
            pool,
            events,
            runtime,
            tip: chain.tip.clone(),
            progress: (chain.tip.header.number, chain.l1.height),
            chain,
            units,
            batch: None,
            status: EngineStatus::default(),
            wrong: None,
        };
        core.restore_tip()?;
        core.refresh_status()?;
        core.audit_start()?;
        Ok(core)
    }

    pub(super) fn params(&self) -> Arc<ChainParams> {
        Arc::clone(&self.config.params)
    }

    pub(super) fn status(&self) -> EngineStatus {
        self.status.clone()
    }

    /// Reads the heads after a write.
    pub(super) fn refresh_status(&mut self) -> Result<(), EngineError> {
        let snapshot = self.store.read()?;
        self.status.l1_height = self.chain.l1.height;
        self.status.l1_hash = self.chain.l1.hash;
        self.status.baton = self.chain.baton;
        self.status.units = self.units;
        self.status.safe_origin = self.chain.tip.origin_height;
        self.status.latest = snapshot.head(Head::Latest)?;
        self.status.safe = snapshot.head(Head::Safe)?;
        self.status.finalized = snapshot.head(Head::Finalized)?;
        self.refresh_bridge(&snapshot)
    }

    /// Takes the chain state back to what the store says, after a write that failed.
    pub(super) fn reload(&mut self) -> Result<(), EngineError> {
        let snapshot = self.store.read()?;
        (self.chain, self.units) = load_chain(&snapshot)?;
        self.batch = None;
        Ok(())
    }

    /// Finds where the latest block stands by planning the blocks above the chain state again. Blocks whose origin is
    /// not in Bitcoin any more are taken back.
    pub(super) fn restore_tip(&mut self) -> Result<(), EngineError> {
        let snapshot = self.store.read()?;
        let latest = snapshot.head(Head::Latest)?.number;
        let mut tip = self.chain.tip.clone();
        while tip.header.number < latest {
            let number = tip.header.number + 1;
            let stored = header_at(&snapshot, number)?;
            let Some(next) = self.follow(&snapshot, &tip, &stored)? else {
                drop(snapshot);
                return self.take_back(tip);
            };
            tip = next;
        }
        self.tip = tip;
        Ok(())
    }

    /// Gives the tip after a stored block; `None` when its origin is not the next one, or its parent is another.
    pub(super) fn follow(
        &self,
        snapshot: &Snapshot,
        tip: &L2Tip,
        stored: &StoredHeader,
    ) -> Result<Option<L2Tip>, EngineError> {
        let header = &stored.header;
        let Some(planned) = self.plan_like(snapshot, tip, header.timestamp, stored.l1_origin().hash)? else {
            return Ok(None);
        };
        let follows = header.parent_hash == tip.header.hash_slow();
        Ok(follows.then(|| tip.after(&planned, header.clone())))
    }

    /// Plans a block on the tip with this origin hash; `None` when that is neither the tip's own nor the next.
    pub(super) fn plan_like(
        &self,
        snapshot: &Snapshot,
        tip: &L2Tip,
        timestamp: u64,
        origin: B256,
    ) -> Result<Option<PlannedBlock>, EngineError> {
        let own = tip.header.parent_beacon_block_root == Some(origin);
        let next = self.chain.origins.iter().find(|next| next.info.hash == origin);
        let next = match (own, next) {
            (true, _) => None,
            (false, Some(next)) if next.info.height == tip.origin_height + 1 => Some(next),
            _ => return Ok(None),
        };
        Ok(Some(tip.plan(
            &self.config.params,
            next,
            timestamp,
            &Read(snapshot),
        )?))
    }

    /// Takes the blocks above `tip` back and gives their transactions to the mempool.
    pub(super) fn take_back(&mut self, tip: L2Tip) -> Result<(), EngineError> {
        let number = tip.header.number;
        let preserve = Preserve::new(self);
        let removed = self.store.write(|writer| take_back(writer, number, &preserve))?;
        self.tip = tip;
        self.after_change(Vec::new(), &removed, &[])
    }

    /// Tells everybody of a change that is durable: mempool first, then subscribers.
    pub(super) fn after_change(
        &mut self,
        added: Vec<BlockRef>,
        removed: &[RemovedBlock],
        executed: &[Included],
    ) -> Result<(), EngineError> {
        self.refresh_status()?;
        if let Some(pool) = &self.pool {
            if !removed.is_empty() {
                let changes = self.accounts_now(removed)?;
                let transactions = transactions_of(removed);
                let returned = self.runtime.block_on(pool.on_rollback(changes, &transactions))?;
                let blocks = removed.len();
                tracing::info!(blocks, transactions = returned, "took sequenced blocks back");
            }
            for block in executed {
                pool.on_block(&block.hashes, &block.changes);
            }
        }
        if !removed.is_empty() {
            self.status.reorgs += 1;
        }
        let removed = removed.iter().map(|block| block.header.block_ref()).collect();
        let event = ChainEvent {
            added,
            removed,
            safe: self.status.safe,
            finalized: self.status.finalized,
        };
        // Nobody listening is no fault.
        drop(self.events.send(event));
        Ok(())
    }

    /// Reads the accounts that removed blocks' senders have now, as changes for the mempool.
    fn accounts_now(&self, removed: &[RemovedBlock]) -> Result<StateChanges, EngineError> {
        let state = self.store.read()?.state_at(self.status.latest.number)?;
        let mut changes = StateChanges::default();
        for (sender, _) in removed.iter().flat_map(|block| &block.transactions) {
            let after = state.account(*sender)?;
            changes.accounts.insert(
                *sender,
                AccountChange {
                    after,
                    ..AccountChange::default()
                },
            );
        }
        Ok(changes)
    }
}

/// What the mempool has to know of a block that joined the chain.
pub(super) struct Included {
    hashes: Vec<B256>,
    changes: StateChanges,
}

impl Included {
    pub(super) fn of(block: &ExecutedBlock) -> Self {
        Self {
            hashes: block
                .block
                .transactions
                .iter()
                .map(|transaction| transaction.tx_hash())
                .collect(),
            changes: block.outcome.changes.clone(),
        }
    }
}

/// Keeps transactions in the mempool's journal before a rollback takes them out of the chain.
pub(super) struct Preserve {
    pool: Option<Pool>,
    runtime: Handle,
}

impl Preserve {
    pub(super) fn new(core: &Core) -> Self {
        Self {
            pool: core.pool.clone(),
            runtime: core.runtime.clone(),
        }
    }

    fn keep(&self, removed: &[RemovedBlock]) -> Result<(), EngineError> {
        let Some(pool) = &self.pool else { return Ok(()) };
        Ok(self.runtime.block_on(pool.preserve(&transactions_of(removed)))?)
    }
}

/// Gives the transactions of removed blocks in the order of the chain.
fn transactions_of(removed: &[RemovedBlock]) -> Vec<Transaction> {
    let mut blocks: Vec<&RemovedBlock> = removed.iter().collect();
    blocks.sort_unstable_by_key(|block| block.header.header.number);
    let transactions = blocks.iter().flat_map(|block| &block.transactions);
    transactions.map(|(_, tx)| tx.clone()).collect()
}

/// Takes blocks above `number` back, in a write that commits only after the mempool's journal has their
/// transactions.
pub(super) fn take_back(
    writer: &mut Writer<'_>,
    number: u64,
    preserve: &Preserve,
) -> Result<Vec<RemovedBlock>, EngineError> {
    let removed = writer.rollback_latest_to(number)?;
    preserve.keep(&removed)?;
    Ok(removed)
}

/// Turns an executed block into a store's row set.
pub(super) fn new_block(executed: &ExecutedBlock) -> NewBlock {
    let planned = &executed.planned;
    NewBlock {
        header: executed.block.header.clone(),
        hash: executed.hash,
        transactions: executed.block.transactions.clone(),
        senders: executed.senders.clone(),
        receipts: executed.outcome.receipts.clone(),
        l1_fees: executed.outcome.l1_fees.clone(),
        changes: executed.outcome.changes.clone(),
        tree: executed.tree.clone(),
        l1_origin: L1Ref {
            height: planned.origin_height,
            hash: planned.attributes.parent_beacon_block_root,
        },
        inbox_count: executed.inbox_count,
    }
}

pub(super) fn header_at(snapshot: &Snapshot, number: u64) -> Result<StoredHeader, EngineError> {
    let missing = || EngineError::Corrupt(format!("block {number} has no header"));
    snapshot.header(number)?.ok_or_else(missing)
}

fn load_chain(snapshot: &Snapshot) -> Result<(ChainState, u64), EngineError> {
    let encoded = snapshot.encoded_chain_state()?;
    let corrupt = |error| EngineError::Corrupt(format!("chain state: {error}"));
    Ok((
        ChainState::decode(&encoded).map_err(corrupt)?,
        snapshot.unit_count()?,
    ))
}

/// Blobs of a view; nothing is put there.
pub(super) struct Read<'a>(pub(super) &'a Snapshot);

impl Blobs for Read<'_> {
    type Error = StoreError;

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, StoreError> {
        self.0
            .blob(blob.root)?
            .ok_or(StoreError::NoBlob { root: blob.root })
    }

    fn put(&mut self, blob: BlobRef, _: Vec<u8>) -> Result<(), StoreError> {
        Err(StoreError::NoBlob { root: blob.root })
    }
}

/// Blobs inside a write.
pub(super) struct Write<'a, 't>(pub(super) &'a mut Writer<'t>);

impl Blobs for Write<'_, '_> {
    type Error = StoreError;

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, StoreError> {
        self.0
            .blob(blob.root)?
            .ok_or(StoreError::NoBlob { root: blob.root })
    }

    fn put(&mut self, blob: BlobRef, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.0.put_blob(blob.root, &bytes)
    }
}
