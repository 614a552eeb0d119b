//! Sequencing: a block from the inbox and the mempool on top of the latest one.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bitsect_vm::chain::{L2Tip, Origin, Transaction};
use bitsect_vm::derive::PlannedBlock;
use bitsect_vm::execute::{InvalidTransaction, TransactError};
use bitsect_vm::step::{BlockBuilder, ExecutedBlock};

use super::audit::Audited;
use super::core::{Core, Included, Read, new_block};
use super::{EngineError, SequencerConfig};
use crate::events::BlockRef;
use crate::pool::Pool;
use crate::store::Snapshot;

/// Gas of the cheapest transaction: with less left, a block is full.
const LEAST_GAS: u64 = 21_000;

/// What an attempt to sequence did.
pub(super) struct Sequenced {
    /// Whether there is a new block.
    pub(super) built: bool,
    /// Whether transactions are left that did not fit.
    pub(super) pending: bool,
    /// When the wait for the next block begins: when this one was begun, or so long ago that it has passed, where the
    /// next one has nothing to wait for.
    pub(super) since: Instant,
}

impl Core {
    /// Whether blocks may be made now.
    pub(super) fn may_sequence(&self) -> bool {
        self.config.sequencer.is_some() && self.status.l1_synced
    }

    /// Makes a block when there is something to put into it, or `beat` asks for an empty one.
    pub(super) fn sequence(&mut self, beat: bool) -> Result<Sequenced, EngineError> {
        let started = Instant::now();
        let idle = Sequenced {
            built: false,
            pending: false,
            since: started,
        };
        let (Some(sequencer), Some(pool)) = (self.config.sequencer.clone(), self.pool.clone()) else {
            return Ok(idle);
        };
        self.status.paused = self.paused(&sequencer);
        if self.status.paused.is_some() {
            return Ok(idle);
        }
        let snapshot = self.store.read()?;
        let (planned, takes_transactions) = self.plan(&snapshot)?;
        let late = self.is_late(planned.origin_height);
        let wanted = beat || planned.attributes.new_origin.is_some() || !planned.inbox.is_empty();
        if !wanted && (!takes_transactions || pool.status().pending == 0) {
            return Ok(idle);
        }
        let filled = self.fill(&snapshot, &sequencer, &pool, planned, takes_transactions)?;
        drop(snapshot);
        pool.discard(&filled.discard);
        if !wanted && filled.block.block.transactions.is_empty() {
            return Ok(idle);
        }
        self.append(&filled.block)?;
        // Origins that queue up are taken at the pace of full blocks, not of empty ones; late ones at once.
        let pending = filled.pending || self.next_origin().is_some();
        let at_once = late && self.next_origin().is_some();
        let passed = started.checked_sub(sequencer.block_time).filter(|_| at_once);
        Ok(Sequenced {
            built: true,
            pending,
            since: passed.unwrap_or(started),
        })
    }

    /// Says why no block may be made: what stays unposted for a whole window would be lost.
    ///
    /// What counts is how long blocks wait for a batch, not how old their origins are: after a standstill the origins are
    /// old, and only making and posting blocks on them brings the chain back.
    fn paused(&mut self, sequencer: &SequencerConfig) -> Option<String> {
        let (safe, l1) = (self.chain.tip.header.number, self.chain.l1.height);
        let waits = self.tip.header.number > safe;
        if !waits || self.progress.0 != safe || self.progress.1 > l1 {
            self.progress = (safe, l1);
        }
        let lag = l1 - self.progress.1;
        if lag > sequencer.max_safe_lag {
            let limit = sequencer.max_safe_lag;
            return Some(format!(
                "the safe head has not moved for {lag} L1 blocks, limit {limit}"
            ));
        }
        if lag > sequencer.max_safe_lag / 2 {
            tracing::warn!(
                lag,
                limit = sequencer.max_safe_lag,
                "batches fall behind; sequencing stops at the limit"
            );
        }
        None
    }

    /// Whether an origin has passed half of its sequencing window.
    fn is_late(&self, origin_height: u32) -> bool {
        self.chain.l1.height.saturating_sub(origin_height) > self.config.params.derive.sequencing_window / 2
    }

    /// Plans the next block; tells whether it may have transactions of the mempool.
    ///
    /// A late origin gets the very block that derivation would make at the window's
    /// end: whichever comes first then, a batch or the end, nothing above it is taken back. So a sequencer that was
    /// away comes back even when its batches do not confirm at once.
    fn plan(&self, snapshot: &Snapshot) -> Result<(PlannedBlock, bool), EngineError> {
        let params = self.params();
        let next = self.next_origin();
        let (height, median) = next.map_or((self.tip.origin_height, self.tip.origin_median_time), |origin| {
            (origin.info.height, origin.info.median_time_past)
        });
        let late = self.is_late(height);
        let limit = L2Tip::drift_limit(&params, median);
        let least = self.tip.least_timestamp(&params, median);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs());
        let timestamp = if late {
            least
        } else {
            now.clamp(least, limit.max(least))
        };
        let planned = self.tip.plan(&params, next, timestamp, &Read(snapshot))?;
        Ok((planned, !late && timestamp <= limit))
    }

    /// Gives the L1 block after the tip's origin, when it is deep enough.
    fn next_origin(&self) -> Option<&Origin> {
        let height = self.tip.origin_height + 1;
        let deep_enough = height.saturating_add(self.config.confirmations) <= self.chain.l1.height;
        self.chain
            .origins
            .iter()
            .find(|origin| deep_enough && origin.info.height == height)
    }

    fn fill(
        &self,
        snapshot: &Snapshot,
        sequencer: &SequencerConfig,
        pool: &Pool,
        planned: PlannedBlock,
        takes_transactions: bool,
    ) -> Result<Filled, EngineError> {
        let params = self.params();
        let parent = &self.tip.header;
        let state = snapshot.state_at(parent.number)?;
        let mut builder = BlockBuilder::new(&params, parent, planned, &state)?;
        let mut discard = Vec::new();
        let mut pending = false;
        if takes_transactions {
            let deadline = Instant::now() + sequencer.block_time;
            let mut bytes = 0;
            let mut best = pool.best(builder.base_fee());
            while let Some(tx) = best.next() {
                bytes += tx.size;
                let full = builder.gas_left() < LEAST_GAS || bytes > sequencer.max_block_bytes;
                if full || Instant::now() > deadline {
                    pending = true;
                    break;
                }
                match builder.push(Transaction::clone(&tx.tx), tx.sender) {
                    Ok(_) => {}
                    Err(TransactError::Fault(fault)) => return Err(fault.into()),
                    Err(TransactError::Invalid(reason)) => {
                        pending |= matches!(reason, InvalidTransaction::GasLimitReached { .. });
                        // Included already. Anything else may become valid and waits.
                        if matches!(reason, InvalidTransaction::NonceTooLow { .. }) {
                            discard.push(tx.hash);
                        }
                        tracing::debug!(hash = %tx.hash, %reason, "a transaction waits");
                        best.skip_sender();
                    }
                }
            }
        }
        let tree = snapshot.tree_at(parent.number)?;
        let block = builder.finish::<_>(&tree).map_err(EngineError::from)?;
        Ok(Filled {
            block,
            discard,
            pending,
        })
    }

    /// Makes an executed block the latest one: durable first, announced then.
    pub(super) fn append(&mut self, executed: &ExecutedBlock) -> Result<(), EngineError> {
        let row = new_block(executed);
        let audited = self.store.write(|writer| {
            writer.append_block(&row)?;
            Audited::appended(writer, &row)
        })?;
        self.audit(vec![audited], Vec::new());
        let header = executed.block.header.clone();
        let added = BlockRef {
            number: header.number,
            hash: executed.hash,
        };
        tracing::debug!(
            number = added.number,
            transactions = executed.block.transactions.len(),
            "new block"
        );
        self.tip = self.tip.after(&executed.planned, header);
        self.after_change(vec![added], &[], &[Included::of(executed)])
    }
}

struct Filled {
    block: ExecutedBlock,
    discard: Vec<alloy_primitives::B256>,
    pending: bool,
}
