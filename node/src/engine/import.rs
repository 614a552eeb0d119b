//! Fresh blocks from the sequencer's feed: executed and compared before they are stored.

use bitsect_vm::chain::L2Tip;
use bitsect_vm::execute::{TransactError, recover_senders};
use bitsect_vm::step::BlockBuilder;

use super::core::{Core, header_at};
use super::{EngineError, FeedFault, FreshBlock};
use crate::store::Snapshot;

impl Core {
    /// Executes a fresh block on its parent. It is stored when it comes out as announced, in place of blocks above its
    /// parent that are not safe; the safe chain always wins over it, now and later. A known block changes nothing.
    pub(super) fn import(&mut self, fresh: FreshBlock) -> Result<(), EngineError> {
        let header = &fresh.header;
        let number = header.number;
        let refuse = |fault| EngineError::Feed { number, fault };
        let invalid = |reason: String| refuse(FeedFault::Invalid(reason));
        let mut snapshot = self.store.read()?;
        if snapshot.block_hash(number)? == Some(header.hash_slow()) {
            return Ok(());
        }
        let Some(tip) = self.parent_of(&snapshot, &fresh)? else {
            return Err(refuse(FeedFault::Parent {
                parent: header.parent_hash,
                latest: self.tip.header.number,
                safe: self.chain.tip.header.number,
            }));
        };
        let params = self.params();
        let origin = header.parent_beacon_block_root.unwrap_or_default();
        let planned = self.plan_like(&snapshot, &tip, header.timestamp, origin)?;
        let planned = planned.ok_or_else(|| refuse(FeedFault::Origin { origin }))?;
        let median = planned.origin_median_time;
        tip.verify_timestamp(&params, median, header.timestamp, fresh.sequenced.len())
            .map_err(|fault| invalid(fault.to_string()))?;
        let senders = recover_senders(&fresh.sequenced).map_err(|error| invalid(error.to_string()))?;
        if self.tip.header.number >= number {
            drop(snapshot);
            self.take_back(tip)?;
            snapshot = self.store.read()?;
        }
        let parent = &self.tip.header;
        let state = snapshot.state_at(parent.number)?;
        let mut builder = BlockBuilder::new(&params, parent, planned, &state)?;
        for (transaction, sender) in fresh.sequenced.into_iter().zip(senders) {
            match builder.push(transaction, sender) {
                Ok(_) => {}
                Err(TransactError::Invalid(reason)) => return Err(invalid(reason.to_string())),
                Err(TransactError::Fault(fault)) => return Err(fault.into()),
            }
        }
        let executed = builder.finish(&snapshot.tree_at(parent.number)?)?;
        drop(snapshot);
        if executed.block.header != *header {
            return Err(invalid(format!(
                "expected hash {}, got {}",
                executed.hash,
                header.hash_slow()
            )));
        }
        self.append(&executed)
    }

    /// Finds where a fresh block's parent stands: the latest block, or one from the safe block on.
    fn parent_of(&self, snapshot: &Snapshot, fresh: &FreshBlock) -> Result<Option<L2Tip>, EngineError> {
        let (number, parent) = (fresh.header.number, fresh.header.parent_hash);
        let (latest, safe) = (self.tip.header.number, self.chain.tip.header.number);
        let above_safe = (safe..=latest).contains(&number.saturating_sub(1)) && number > safe;
        if !above_safe || snapshot.block_hash(number - 1)? != Some(parent) {
            return Ok(None);
        }
        if number > latest {
            return Ok(Some(self.tip.clone()));
        }
        let mut tip = self.chain.tip.clone();
        while tip.header.number + 1 < number {
            let stored = header_at(snapshot, tip.header.number + 1)?;
            let broken = || EngineError::Corrupt(format!("block {} does not follow", stored.header.number));
            tip = self.follow(snapshot, &tip, &stored)?.ok_or_else(broken)?;
        }
        Ok(Some(tip))
    }
}
