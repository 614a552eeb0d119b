//! The chain as a claim sees it: its last unit is a check, where its slot has a ticket (docs/bridge.md).

use std::sync::Arc;

use alloy_primitives::B256;
use bitsect_vm::chain::bridge::OutputId;
use bitsect_vm::check::checked_ticket;
use bitsect_vm::record::UnitRecord;

use super::{Answer, Chain, ChainError};

/// A chain that ends with a check.
struct Checked {
    chain: Arc<dyn Chain>,
    ticket: OutputId,
    /// Units up to the check, and with it.
    end: u64,
}

/// Gives the chain of a claim that ends with `end` units of the chain; with a check's advice the last one is the check.
pub fn claimed_chain(chain: &Arc<dyn Chain>, check: Option<B256>, end: u64) -> Arc<dyn Chain> {
    match check.as_ref().and_then(checked_ticket) {
        None => Arc::clone(chain),
        Some(ticket) => Arc::new(Checked {
            chain: Arc::clone(chain),
            ticket,
            end,
        }),
    }
}

impl Checked {
    async fn checked(&self) -> Result<Option<UnitRecord>, ChainError> {
        let Some(unit) = self.end.checked_sub(1) else {
            return Ok(None);
        };
        self.chain.check(unit, self.ticket).await
    }
}

impl Chain for Checked {
    fn unit_count(&self) -> Answer<'_, u64> {
        self.chain.unit_count()
    }

    fn l1_height(&self) -> Answer<'_, u32> {
        self.chain.l1_height()
    }

    fn state(&self, unit: u64) -> Answer<'_, Option<B256>> {
        if unit < self.end {
            return self.chain.state(unit);
        }
        Box::pin(async {
            let checked = self.checked().await?;
            // Without a state after it the check does not hold.
            Ok(checked
                .map(|record| record.after)
                .filter(|after| *after != B256::ZERO))
        })
    }

    fn record(&self, unit: u64) -> Answer<'_, Option<UnitRecord>> {
        if unit + 1 == self.end {
            return Box::pin(self.checked());
        }
        self.chain.record(unit)
    }

    fn check(&self, unit: u64, ticket: OutputId) -> Answer<'_, Option<UnitRecord>> {
        self.chain.check(unit, ticket)
    }

    fn l1_block(&self, hash: B256) -> Answer<'_, Option<Vec<u8>>> {
        self.chain.l1_block(hash)
    }

    fn program(&self) -> Result<&[u8], ChainError> {
        self.chain.program()
    }
}
