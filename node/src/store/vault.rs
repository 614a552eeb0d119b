//! Vault outputs on Bitcoin: which there are, and the way back.

use bitsect_vm::chain::OutPoint;

use super::tables::fetch;
use super::types::LeftOutput;
use super::{StoreError, Writer, query, rows};
use crate::invariant::{MoveKind, VaultMove};

impl Writer<'_> {
    /// Gives the amount of a vault output, in sats; `None` where it is none.
    pub fn vault_output(&self, outpoint: &OutPoint) -> Result<Option<u64>, StoreError> {
        query::vault_output(&self.tables, outpoint)
    }

    /// Records what an L1 block does to vault outputs, in its order. Before [`Self::push_l1_block`], in the same write.
    ///
    /// # Errors
    ///
    /// [`StoreError::VaultOutput`] when an output that goes is not there.
    pub fn push_vault_moves(&mut self, height: u32, moves: &[VaultMove]) -> Result<(), StoreError> {
        if moves.is_empty() {
            return Ok(());
        }
        self.failed = true;
        for moved in moves {
            let key = rows::outpoint_key(&moved.outpoint);
            match moved.kind {
                MoveKind::Added => {
                    let sats = moved.sats.to_be_bytes();
                    self.tables.vault_outputs.insert(&key, sats.as_slice())?;
                }
                MoveKind::Spent(_) => self.take_vault_output(moved)?,
                MoveKind::Left(by) => {
                    self.take_vault_output(moved)?;
                    let left = LeftOutput {
                        outpoint: moved.outpoint,
                        sats: moved.sats,
                        by,
                        l1_height: height,
                    };
                    let row = rows::put_left(&left);
                    self.tables.vault_left.insert(&key, row.as_slice())?;
                }
            }
        }
        let row = rows::put_vault_moves(moves);
        self.tables
            .vault_moves
            .insert(&height.to_be_bytes(), row.as_slice())?;
        self.failed = false;
        Ok(())
    }

    fn take_vault_output(&mut self, moved: &VaultMove) -> Result<(), StoreError> {
        let key = rows::outpoint_key(&moved.outpoint);
        let old = self.tables.vault_outputs.remove(&key)?;
        let old = old.map(|row| rows::number(row.value()));
        if old == Some(Ok(moved.sats)) {
            return Ok(());
        }
        Err(StoreError::VaultOutput {
            outpoint: moved.outpoint,
            sats: moved.sats,
        })
    }

    /// Takes back what the L1 block at a height did to vault outputs.
    pub(super) fn undo_vault_moves(&mut self, height: u32) -> Result<(), StoreError> {
        let height = height.to_be_bytes();
        let moves = fetch(
            &self.tables.vault_moves,
            "vault_moves",
            &height,
            rows::vault_moves,
        )?;
        for moved in moves.unwrap_or_default().iter().rev() {
            let key = rows::outpoint_key(&moved.outpoint);
            if moved.kind == MoveKind::Added {
                self.take_vault_output(moved)?;
                continue;
            }
            let sats = moved.sats.to_be_bytes();
            self.tables.vault_outputs.insert(&key, sats.as_slice())?;
            self.tables.vault_left.remove(&key)?;
        }
        self.tables.vault_moves.remove(&height)?;
        Ok(())
    }
}
