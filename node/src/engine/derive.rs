//! Derivation, kept durable: one write per L1 block with all units that follow from it.

use std::sync::Arc;

use bitsect_vm::chain::{ChainParams, ChainState, Header, Transaction};
use bitsect_vm::derive::bitcoin::L1Block as DecodedBlock;
use bitsect_vm::derive::{BatchFault, PlannedBlock, UnitKind, process_l1_block, read_batch};
use bitsect_vm::step::{L2Work, build_block, plan_unit};

use super::audit::{Audited, follow_vault};
use super::core::{Core, Included, OpenedBatch, Preserve, Write, new_block, take_back};
use super::{EngineError, L1Event};
use crate::events::BlockRef;
use crate::invariant::Violation;
use crate::store::{BatchRecord, Head, L1Block, RemovedBlock, Writer};

/// What one L1 block led to.
struct Derived {
    chain: ChainState,
    units: u64,
    batch: Option<OpenedBatch>,
    added: Vec<BlockRef>,
    removed: Vec<RemovedBlock>,
    included: Vec<Included>,
    audited: Vec<Audited>,
    left: Vec<Violation>,
    dropped: u64,
}

impl Core {
    pub(super) fn l1(&mut self, event: L1Event) -> Result<(), EngineError> {
        match event {
            L1Event::Connected { height, hash, block } => {
                let bytes = block;
                let block =
                    DecodedBlock::decode(&bytes).map_err(|error| EngineError::L1Block { hash, error })?;
                tracing::debug!(height, %hash, bytes = bytes.len(), "deriving from an L1 block");
                self.connect(&block)
            }
            L1Event::Disconnected { height, hash } => {
                let last = &self.chain.l1;
                if (last.height, last.hash) != (height, hash) {
                    let (expected_height, expected) = (last.height, last.hash);
                    return Err(EngineError::L1Disconnect {
                        expected_height,
                        expected,
                        got_height: height,
                        got: hash,
                    });
                }
                self.disconnect(height - 1)
            }
            L1Event::Synced { height } => {
                self.status.l1_synced = height <= self.chain.l1.height;
                Ok(())
            }
        }
    }

    fn connect(&mut self, block: &DecodedBlock<'_>) -> Result<(), EngineError> {
        let params = self.params();
        let preserve = Preserve::new(self);
        let start = Derived {
            chain: self.chain.clone(),
            units: self.units,
            batch: self.batch.clone(),
            added: Vec::new(),
            removed: Vec::new(),
            included: Vec::new(),
            audited: Vec::new(),
            left: Vec::new(),
            dropped: 0,
        };
        let finality = self.config.finality_depth;
        let derived = self.store.write(|writer| {
            let mut run = Run {
                params: &params,
                writer,
                preserve: &preserve,
                derived: start,
            };
            run.l1_block(block, finality)?;
            Ok::<_, EngineError>(run.derived)
        })?;
        self.chain = derived.chain;
        self.units = derived.units;
        self.batch = derived.batch;
        self.status.dropped_batches += derived.dropped;
        self.audit(derived.audited, derived.left);
        // Blocks that were sequenced already keep their place; anything else moves the tip.
        if !derived.removed.is_empty() || self.chain.tip.header.number > self.tip.header.number {
            self.tip = self.chain.tip.clone();
        }
        self.after_change(derived.added, &derived.removed, &derived.included)
    }

    /// Takes derivation back to the state after this L1 block. Sequenced blocks stay where their origins stay.
    fn disconnect(&mut self, to: u32) -> Result<(), EngineError> {
        self.store.write(|writer| writer.rollback_l1_to(to))?;
        self.reload()?;
        self.status.l1_synced = false;
        self.restore_tip()?;
        self.refresh_status()?;
        tracing::info!(height = to, safe = self.status.safe.number, "L1 went back");
        Ok(())
    }
}

struct Run<'a, 't> {
    params: &'a Arc<ChainParams>,
    writer: &'a mut Writer<'t>,
    preserve: &'a Preserve,
    derived: Derived,
}

impl Run<'_, '_> {
    fn l1_block(&mut self, block: &DecodedBlock<'_>, finality_depth: u32) -> Result<(), EngineError> {
        process_l1_block(
            self.params,
            &mut self.derived.chain,
            block,
            &mut Write(self.writer),
        )?;
        self.derived.left = follow_vault(self.writer, &self.derived.chain, block)?;
        self.push_unit(None)?;
        loop {
            match self.derived.chain.next_unit(self.params) {
                UnitKind::L1 => break,
                UnitKind::Batch | UnitKind::Forced => self.l2_unit()?,
            }
        }
        let chain = &self.derived.chain;
        let record = L1Block {
            height: chain.l1.height,
            hash: chain.l1.hash,
            units: self.derived.units,
        };
        self.writer.push_l1_block(&record, &chain.encode())?;
        self.finalize(finality_depth)
    }

    fn push_unit(&mut self, block: Option<u64>) -> Result<(), EngineError> {
        self.derived.units += 1;
        let encoded = self.derived.chain.encode();
        let commitment = bitsect_vm::chain::commitment_of(&encoded);
        self.writer
            .push_unit(self.derived.units, commitment, &encoded, block)?;
        Ok(())
    }

    fn l2_unit(&mut self) -> Result<(), EngineError> {
        let params = Arc::clone(self.params);
        let batch = match self.open_batch()? {
            Ok(batch) => batch,
            Err(fault) => return self.drop_batch(&fault),
        };
        let work = plan_unit(
            &params,
            &self.derived.chain,
            batch.as_deref(),
            &Write(self.writer),
        )?;
        match work {
            L2Work::Drop(fault) => self.drop_batch(&fault),
            L2Work::Block {
                planned,
                sequenced,
                ends_batch,
            } => self.block(planned, sequenced, ends_batch),
        }
    }

    /// Gives the open batch, decoded at its first block and kept for the others.
    fn open_batch(
        &mut self,
    ) -> Result<Result<Option<Arc<bitsect_vm::derive::payload::Batch>>, BatchFault>, EngineError> {
        let Some(open) = &self.derived.chain.open else {
            return Ok(Ok(None));
        };
        if let Some(opened) = &self.derived.batch
            && opened.commit == open.commit
        {
            return Ok(Ok(Some(Arc::clone(&opened.batch))));
        }
        let commit = open.commit;
        match read_batch(self.params, open, &Write(self.writer))? {
            Ok(batch) => {
                let batch = Arc::new(batch);
                self.derived.batch = Some(OpenedBatch {
                    commit,
                    batch: Arc::clone(&batch),
                });
                Ok(Ok(Some(batch)))
            }
            Err(error) => Ok(Err(error.into())),
        }
    }

    fn drop_batch(&mut self, fault: &BatchFault) -> Result<(), EngineError> {
        let commit = self
            .derived
            .chain
            .open
            .as_ref()
            .map(|open| open.commit)
            .unwrap_or_default();
        tracing::warn!(%commit, reason = %fault, "a batch, or the rest of it, derives to nothing");
        self.record_batch(self.derived.chain.tip.header.number)?;
        self.derived.chain.close_batch(self.params);
        self.derived.dropped += 1;
        self.push_unit(None)
    }

    fn block(
        &mut self,
        planned: PlannedBlock,
        sequenced: &[Transaction],
        ends_batch: bool,
    ) -> Result<(), EngineError> {
        let number = planned.attributes.number;
        let header = match self.same_block(&planned, sequenced)? {
            Some(header) => header,
            None => match self.execute(&planned, sequenced)? {
                Ok(header) => header,
                Err(fault) => return self.drop_batch(&fault),
            },
        };
        if ends_batch {
            self.record_batch(number)?;
        }
        self.derived
            .chain
            .finish_block(self.params, &planned, header, ends_batch);
        self.push_unit(Some(number))?;
        self.writer.set_safe(number)?;
        Ok(())
    }

    /// Gives the stored block's header when it is exactly this block: executing it again would change nothing.
    fn same_block(
        &mut self,
        planned: &PlannedBlock,
        sequenced: &[Transaction],
    ) -> Result<Option<Header>, EngineError> {
        let number = planned.attributes.number;
        let Some(stored) = self.writer.header(number)? else {
            return Ok(None);
        };
        let tip = self.derived.chain.tip.header.hash_slow();
        let header = &stored.header;
        let attributes = &planned.attributes;
        let same = header.parent_hash == tip
            && header.timestamp == attributes.timestamp
            && header.parent_beacon_block_root == Some(attributes.parent_beacon_block_root);
        if !same {
            return Ok(None);
        }
        let body = self.writer.body(number)?.unwrap_or_default();
        let inbox = usize::try_from(stored.inbox_count).unwrap_or(usize::MAX);
        let tail = body.get(inbox..).unwrap_or_default();
        let equal = tail.len() == sequenced.len()
            && tail
                .iter()
                .zip(sequenced)
                .all(|((_, ours), theirs)| ours.tx_hash() == theirs.tx_hash());
        Ok((equal && body.len() >= inbox).then_some(stored.header))
    }

    fn execute(
        &mut self,
        planned: &PlannedBlock,
        sequenced: &[Transaction],
    ) -> Result<Result<Header, BatchFault>, EngineError> {
        let parent = self.derived.chain.tip.header.clone();
        if self.writer.head(Head::Latest)?.number > parent.number {
            let mut removed = take_back(self.writer, parent.number, self.preserve)?;
            // What this run added itself is no reorg for anybody.
            let kept = removed.first().map_or(0, |block| block.header.header.number);
            self.derived
                .added
                .retain(|block| kept == 0 || block.number < kept);
            self.derived.removed.append(&mut removed);
        }
        let writer = &*self.writer;
        let executed = match build_block(self.params, &parent, planned.clone(), sequenced, writer, writer)? {
            Ok(executed) => executed,
            Err(fault) => return Ok(Err(fault)),
        };
        let row = new_block(&executed);
        self.writer.append_block(&row)?;
        self.derived.audited.push(Audited::appended(self.writer, &row)?);
        self.derived.added.push(BlockRef {
            number: executed.block.header.number,
            hash: executed.hash,
        });
        self.derived.included.push(Included::of(&executed));
        Ok(Ok(executed.block.header))
    }

    /// Records the blocks that the open batch gave, up to `last_block`: the tip, or the block that is about to follow it.
    fn record_batch(&mut self, last_block: u64) -> Result<(), EngineError> {
        let chain = &self.derived.chain;
        let Some(open) = &chain.open else {
            return Ok(());
        };
        let first_block = chain.tip.header.number + 1 - u64::from(open.next);
        if first_block > last_block {
            return Ok(());
        }
        let record = BatchRecord {
            first_block,
            last_block,
            commit_txid: open.commit,
            l1_height: chain.l1.height,
            l1_hash: chain.l1.hash,
        };
        Ok(self.writer.put_batch(&record)?)
    }

    /// Moves the finalized head to the last block that was derived `depth` L1 blocks ago.
    fn finalize(&mut self, depth: u32) -> Result<(), EngineError> {
        let Some(height) = self.derived.chain.l1.height.checked_sub(depth) else {
            return Ok(());
        };
        let Some(deep) = self.writer.l1_block(height)? else {
            return Ok(());
        };
        let finalized = self.writer.head(Head::Finalized)?.number;
        let mut unit = deep.units;
        while unit > 0 {
            if let Some(block) = self.writer.unit(unit)?.and_then(|record| record.block) {
                if block > finalized {
                    self.writer.set_finalized(block)?;
                }
                break;
            }
            unit -= 1;
        }
        Ok(())
    }
}
