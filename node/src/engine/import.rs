//! Fresh blocks from the sequencer's feed: executed and compared before they are stored.

use bitsect_vm::execute::{TransactError, recover_senders};
use bitsect_vm::step::BlockBuilder;

use super::core::Core;
use super::{EngineError, FreshBlock};

impl Core {
    /// Executes a fresh block on the latest one. It is stored when it comes out as announced; the safe chain always
    /// wins over it later.
    pub(super) fn import(&mut self, fresh: FreshBlock) -> Result<(), EngineError> {
        let header = &fresh.header;
        let number = header.number;
        let refuse = |reason: String| EngineError::Feed { number, reason };
        self.make_room(&fresh)?;
        let parent = self.tip.header.hash_slow();
        if number != self.tip.header.number + 1 || header.parent_hash != parent {
            let expected = self.tip.header.number + 1;
            return Err(refuse(format!(
                "expected block {expected} on {parent}, got one on {}",
                header.parent_hash
            )));
        }
        let params = self.params();
        let snapshot = self.store.read()?;
        let origin = header.parent_beacon_block_root.unwrap_or_default();
        let planned = self.plan_like(&snapshot, &self.tip, header.timestamp, origin)?;
        let planned = planned.ok_or_else(|| refuse(format!("its origin {origin} is not known yet")))?;
        self.tip
            .verify_timestamp(
                &params,
                planned.origin_median_time,
                header.timestamp,
                fresh.sequenced.len(),
            )
            .map_err(|fault| refuse(fault.to_string()))?;
        let senders = recover_senders(&fresh.sequenced).map_err(|error| refuse(error.to_string()))?;
        let state = snapshot.state_at(self.tip.header.number)?;
        let mut builder = BlockBuilder::new(&params, &self.tip.header, planned, &state)?;
        for (transaction, sender) in fresh.sequenced.into_iter().zip(senders) {
            match builder.push(transaction, sender) {
                Ok(_) => {}
                Err(TransactError::Invalid(reason)) => return Err(refuse(reason.to_string())),
                Err(TransactError::Fault(fault)) => return Err(fault.into()),
            }
        }
        let executed = builder.finish(&snapshot.tree_at(self.tip.header.number)?)?;
        drop(snapshot);
        if executed.block.header != *header {
            return Err(refuse(format!(
                "expected hash {}, got {}",
                executed.hash,
                header.hash_slow()
            )));
        }
        self.append(&executed)
    }

    /// Takes back sequenced blocks that the announced one replaces.
    fn make_room(&mut self, fresh: &FreshBlock) -> Result<(), EngineError> {
        let number = fresh.header.number;
        let safe = self.chain.tip.header.number;
        if number > self.tip.header.number || number <= safe {
            return Ok(());
        }
        let snapshot = self.store.read()?;
        let known = snapshot.block_hash(number)? == Some(fresh.header.hash_slow());
        let fits = snapshot.block_hash(number - 1)? == Some(fresh.header.parent_hash);
        if known || !fits {
            return Ok(());
        }
        let mut tip = self.chain.tip.clone();
        while tip.header.number + 1 < number {
            let stored = super::core::header_at(&snapshot, tip.header.number + 1)?;
            let broken = || EngineError::Corrupt(format!("block {} does not follow", stored.header.number));
            tip = self.follow(&snapshot, &tip, &stored)?.ok_or_else(broken)?;
        }
        drop(snapshot);
        self.take_back(tip)
    }
}
