//! Verified blocks that wait to be imported, because Bitcoin is behind.

use std::collections::VecDeque;

use crate::engine::FreshBlock;

/// Blocks that may wait: a sequencer takes origins that are some blocks deep, so more than a few never should.
const MAX_BLOCKS: usize = 1_024;
/// Bytes of their messages that may wait.
const MAX_BYTES: usize = 64 << 20;

/// Ascending blocks without gaps of their own.
#[derive(Default)]
pub(super) struct Pending {
    blocks: VecDeque<(FreshBlock, usize)>,
    bytes: usize,
}

/// More waits than may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Pending {
    /// Adds a block of a message of `size` bytes. It replaces those that it cannot stand on: the sequencer has changed
    /// its mind.
    pub(super) fn push(&mut self, block: FreshBlock, size: usize) -> Result<(), Full> {
        while let Some((last, _)) = self.blocks.back()
            && last.header.number >= block.header.number
        {
            if let Some((_, size)) = self.blocks.pop_back() {
                self.bytes -= size;
            }
        }
        if self.blocks.len() >= MAX_BLOCKS || self.bytes.saturating_add(size) > MAX_BYTES {
            return Err(Full);
        }
        self.blocks.push_back((block, size));
        self.bytes += size;
        Ok(())
    }

    pub(super) fn first(&self) -> Option<&FreshBlock> {
        self.blocks.front().map(|(block, _)| block)
    }

    pub(super) fn pop(&mut self) {
        if let Some((_, size)) = self.blocks.pop_front() {
            self.bytes -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitsect_vm::chain::Header;

    fn block(number: u64, time: u64) -> FreshBlock {
        let header = Header {
            number,
            timestamp: time,
            ..Header::default()
        };
        FreshBlock {
            header,
            sequenced: Vec::new(),
        }
    }

    #[test]
    fn a_new_branch_replaces_what_it_cannot_stand_on() {
        let mut pending = Pending::default();
        for number in 5..9 {
            pending.push(block(number, 0), 10).unwrap();
        }
        pending.push(block(6, 1), 10).unwrap();
        let mut numbers = Vec::new();
        while let Some(first) = pending.first() {
            numbers.push((first.header.number, first.header.timestamp));
            pending.pop();
        }
        assert_eq!(numbers, [(5, 0), (6, 1)]);
        assert_eq!(pending.bytes, 0);
    }

    #[test]
    fn blocks_and_bytes_are_bounded() {
        let mut pending = Pending::default();
        for number in 0..1_024 {
            pending.push(block(number, 0), 1).unwrap();
        }
        assert_eq!(pending.push(block(1_024, 0), 1), Err(Full));
        let mut pending = Pending::default();
        pending.push(block(1, 0), MAX_BYTES).unwrap();
        assert_eq!(pending.push(block(2, 0), 1), Err(Full));
        pending.push(block(1, 1), 1).unwrap();
    }
}
