//! The blocks that were looked at.

use crate::{BlockRef, follower::ChainBlock};

/// Consecutive blocks that were looked at, lowest first; never empty.
#[derive(Debug)]
pub(crate) struct Blocks(Vec<BlockRef>);

/// A block does not continue what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The block.
    pub(crate) block: BlockRef,
    /// The last block known.
    pub(crate) tip: BlockRef,
}

/// Where a block belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It was looked at before.
    Known,
    /// It comes after the last one.
    Next,
    /// It takes the place of the blocks from its height on.
    Instead,
}

impl Blocks {
    /// Takes the blocks of a file, which has at least one.
    pub(crate) fn new(blocks: Vec<BlockRef>) -> Self {
        debug_assert!(!blocks.is_empty());
        Self(blocks)
    }

    pub(crate) fn list(&self) -> Vec<BlockRef> {
        self.0.clone()
    }

    pub(crate) fn tip(&self) -> BlockRef {
        *self.0.last().expect("there is always a block")
    }

    pub(crate) fn lowest(&self) -> BlockRef {
        *self.0.first().expect("there is always a block")
    }

    pub(crate) fn contains(&self, at: BlockRef) -> bool {
        self.0.contains(&at)
    }

    /// Returns where a block belongs.
    pub(crate) fn place(&self, block: &ChainBlock) -> Result<Place, Gap> {
        if self.contains(block.at()) {
            return Ok(Place::Known);
        }
        let gap = Gap {
            block: block.at(),
            tip: self.tip(),
        };
        let previous = block.height.checked_sub(1).ok_or(gap)?;
        let previous = BlockRef::new(previous, block.block.header.prev_blockhash);
        if self.tip() == previous {
            Ok(Place::Next)
        } else if self.contains(previous) {
            Ok(Place::Instead)
        } else {
            Err(gap)
        }
    }

    /// Checks that a block is left when those from a height on are forgotten.
    pub(crate) fn can_forget_from(&self, height: u32) -> Result<(), Gap> {
        if self.lowest().height >= height {
            let block = BlockRef::new(height, self.tip().hash);
            return Err(Gap {
                block,
                tip: self.tip(),
            });
        }
        Ok(())
    }

    pub(crate) fn forget_from(&mut self, height: u32) {
        self.0.retain(|block| block.height < height);
    }

    pub(crate) fn push(&mut self, at: BlockRef) {
        self.0.push(at);
    }
}
