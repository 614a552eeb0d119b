//! Removing what is no longer needed, a bounded piece at a time.

use super::tables::first;
use super::types::{Head, Pruned};
use super::{StoreError, Writer, query};

impl Writer<'_> {
    /// Forgets the states of the blocks below `keep_from`, at most `max_rows` rows and one block more in this write. Blocks,
    /// transactions and receipts stay. Never goes above the finalized block, which a rollback may need.
    pub fn prune_history(&mut self, keep_from: u64, max_rows: u64) -> Result<Pruned, StoreError> {
        let target = keep_from.min(query::head_number(&self.tables, Head::Finalized)?);
        let mut first = query::meta_number(&self.tables, "history")?;
        let mut removed = 0;
        while first < target && removed < max_rows {
            self.tables.supply.remove(&first.to_be_bytes())?;
            first += 1;
            removed += 1 + self.remove_changes(first)?;
        }
        self.put_head("history", first)?;
        Ok(Pruned {
            removed,
            done: first >= target,
        })
    }

    /// Forgets the encoded chain states of the L1 blocks below `keep_from`, at most `max_rows` in this write. The last L1
    /// block's stays. Heights and hashes stay.
    pub fn prune_l1_states(&mut self, keep_from: u32, max_rows: u64) -> Result<Pruned, StoreError> {
        let keep_from = keep_from.min(query::last_l1_block(&self.tables)?.height);
        let mut removed = 0;
        while let Some((key, ())) = first(&self.tables.l1_states, "l1_states", |_| Ok(()))? {
            if u32::from_be_bytes(key) >= keep_from {
                return Ok(Pruned { removed, done: true });
            }
            if removed >= max_rows {
                return Ok(Pruned { removed, done: false });
            }
            self.tables.l1_states.remove(&key)?;
            // Nothing goes back below a state that is held.
            self.tables.vault_moves.remove(&key)?;
            removed += 1;
        }
        Ok(Pruned { removed, done: true })
    }
}
