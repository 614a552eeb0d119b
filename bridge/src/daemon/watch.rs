//! Slots as Bitcoin stands, from one block to the next.

use std::sync::Arc;

use bitcoin::Transaction;
use bitsect_l1::BlockRef;
use bitsect_l1::follower::{ChainBlock, Event};

use super::store::{DaemonStore, DaemonStoreError, Seen};
use crate::graph::SlotGraph;
use crate::slot::SlotState;
use crate::user::Terms;
use crate::vault::VaultState;

/// Why what was seen cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The file failed.
    #[error(transparent)]
    Store(#[from] DaemonStoreError),
    /// A block does not continue what is known: history would have a gap.
    #[error("block {block} does not connect to {tip}, the last one seen")]
    Gap {
        /// The block.
        block: BlockRef,
        /// The last one.
        tip: BlockRef,
    },
}

/// The slots of a deployment.
#[derive(Debug)]
pub struct Watch {
    store: DaemonStore,
    slots: Vec<Watched>,
    vault: Option<WatchedVault>,
    blocks: Vec<BlockRef>,
}

#[derive(Debug)]
struct Watched {
    graph: Arc<SlotGraph>,
    state: SlotState,
    seen: Vec<(u32, Transaction)>,
}

#[derive(Debug)]
struct WatchedVault {
    state: VaultState,
    seen: Vec<(u32, Transaction)>,
}

/// In the file, what stands for a slot where a transaction is about the vault.
const VAULT: u32 = u32::MAX;

impl WatchedVault {
    fn replay(&mut self) {
        self.state = self.state.restarted();
        for (height, transaction) in &self.seen {
            self.state.apply(transaction, *height);
        }
    }
}

impl Watched {
    fn replay(&mut self) {
        self.state = SlotState::new(&self.graph);
        for (height, transaction) in &self.seen {
            self.state.apply(&self.graph, transaction, *height);
        }
    }
}

impl Watch {
    /// Goes on with what the file holds; a new one begins behind `start`, a block before the deployment's first output.
    ///
    /// # Errors
    /// Where the file fails.
    pub fn open(
        store: DaemonStore,
        graphs: &[Arc<SlotGraph>],
        vault: Option<Terms>,
        start: BlockRef,
    ) -> Result<Self, DaemonStoreError> {
        let mut blocks = store.blocks()?;
        if blocks.is_empty() {
            store.connect(start, &[])?;
            blocks.push(start);
        }
        let slots = graphs.iter().map(|graph| Watched {
            graph: Arc::clone(graph),
            state: SlotState::new(graph),
            seen: Vec::new(),
        });
        let mut watch = Self {
            slots: slots.collect(),
            vault: vault.map(|terms| {
                let tickets = graphs.iter().map(|graph| graph.spec.ticket);
                WatchedVault {
                    state: VaultState::new(terms, tickets.collect()),
                    seen: Vec::new(),
                }
            }),
            blocks,
            store,
        };
        for (height, seen) in watch.store.seen()? {
            if seen.slot == VAULT {
                let seen = (height, seen.transaction);
                watch
                    .vault
                    .iter_mut()
                    .for_each(|vault| vault.seen.push(seen.clone()));
            } else if let Some(slot) = watch.slots.get_mut(seen.slot as usize) {
                slot.seen.push((height, seen.transaction));
            }
        }
        watch.slots.iter_mut().for_each(Watched::replay);
        watch.vault.iter_mut().for_each(WatchedVault::replay);
        Ok(watch)
    }

    /// Gives the file.
    pub const fn store(&self) -> &DaemonStore {
        &self.store
    }

    /// Gives the blocks that were seen, lowest first, to start a follower with.
    pub fn known(&self) -> &[BlockRef] {
        &self.blocks
    }

    /// Gives the last block that was seen.
    pub fn tip(&self) -> Option<BlockRef> {
        self.blocks.last().copied()
    }

    /// Gives a slot as it stands.
    pub fn state(&self, slot: usize) -> &SlotState {
        &self.slots[slot].state
    }

    /// Gives the vault as it stands, where it is followed.
    pub fn vault(&self) -> Option<&VaultState> {
        self.vault.as_ref().map(|vault| &vault.state)
    }

    /// Takes in what happened to the chain, and gives the slots that changed. Durable when it returns; a block twice does no
    /// harm.
    ///
    /// # Errors
    /// Where a block is missing in between, or the file fails.
    pub fn apply(&mut self, event: &Event) -> Result<Vec<usize>, WatchError> {
        match event {
            Event::Connected(block) => self.connect(block),
            Event::Disconnected(at) if self.blocks.contains(at) => Ok(self.disconnect(at.height)?),
            _ => Ok(vec![]),
        }
    }

    fn connect(&mut self, block: &ChainBlock) -> Result<Vec<usize>, WatchError> {
        let at = block.at();
        if self.blocks.contains(&at) {
            return Ok(vec![]);
        }
        let mut changed = Vec::new();
        if self.tip().is_some_and(|tip| tip.height >= at.height) {
            changed = self.disconnect(at.height)?;
        }
        let previous = block.block.header.prev_blockhash;
        if let Some(tip) = self.tip()
            && (tip.height + 1 != at.height || tip.hash != previous)
        {
            return Err(WatchError::Gap { block: at, tip });
        }
        let mut seen = Vec::new();
        for (index, transaction) in (0_u32..).zip(&block.block.txdata) {
            if let Some(vault) = &mut self.vault
                && vault.state.apply(transaction, at.height)
            {
                vault.seen.push((at.height, transaction.clone()));
                seen.push(Seen {
                    slot: VAULT,
                    index,
                    transaction: transaction.clone(),
                });
            }
            for (number, slot) in self.slots.iter_mut().enumerate() {
                if slot.state.apply(&slot.graph, transaction, at.height) {
                    slot.seen.push((at.height, transaction.clone()));
                    changed.push(number);
                    seen.push(Seen {
                        slot: number as u32,
                        index,
                        transaction: transaction.clone(),
                    });
                }
            }
        }
        if let Err(error) = self.store.connect(at, &seen) {
            // What is not durable has not happened.
            self.forget(at.height);
            return Err(error.into());
        }
        self.blocks.push(at);
        changed.sort_unstable();
        changed.dedup();
        Ok(changed)
    }

    fn disconnect(&mut self, height: u32) -> Result<Vec<usize>, DaemonStoreError> {
        self.store.disconnect(height)?;
        self.blocks.retain(|block| block.height < height);
        Ok(self.forget(height))
    }

    /// Forgets what was seen from a height on, and gives the slots that changed.
    fn forget(&mut self, height: u32) -> Vec<usize> {
        if let Some(vault) = &mut self.vault {
            let before = vault.seen.len();
            vault.seen.retain(|(at, _)| *at < height);
            if vault.seen.len() < before {
                vault.replay();
            }
        }
        let mut changed = Vec::new();
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let before = slot.seen.len();
            slot.seen.retain(|(at, _)| *at < height);
            if slot.seen.len() < before {
                slot.replay();
                changed.push(number);
            }
        }
        changed
    }
}
