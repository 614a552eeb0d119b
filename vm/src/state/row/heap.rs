//! The nodes of one row, computed level by level from what the row stores.

use alloc::vec::Vec;
use alloy_primitives::B256;

use super::super::hash::{EMPTY, join};
use super::super::{Node, hash_nodes};
use super::Row;

/// Hashes by number: 1 is the row's root, below `n` are `2n` and `2n + 1`.
pub(super) struct Heap {
    hashes: [B256; 256],
    nodes: Vec<(u8, Node)>,
}

impl Heap {
    pub(super) fn new() -> Self {
        Self {
            hashes: [EMPTY; 256],
            nodes: Vec::new(),
        }
    }

    fn hash(&self, number: u8) -> B256 {
        self.hashes.get(usize::from(number)).copied().unwrap_or(EMPTY)
    }

    /// Sets a hash that no node of this row gives; `None` when the number is taken.
    pub(super) fn set(&mut self, number: u8, hash: B256) -> Option<()> {
        let slot = self
            .hashes
            .get_mut(usize::from(number))
            .filter(|slot| **slot == EMPTY)?;
        *slot = hash;
        Some(())
    }

    /// Adds nodes and gives their hashes.
    pub(super) fn add(&mut self, nodes: impl IntoIterator<Item = (u8, Node)>) -> Vec<B256> {
        let start = self.nodes.len();
        self.nodes.extend(nodes);
        hash_nodes(self.nodes.iter().skip(start).map(|(_, node)| node))
    }

    /// Computes the nodes above the numbers in `level`, up to the root. `extra` are numbers that were set higher up.
    pub(super) fn finish(mut self, mut level: Vec<u8>, extra: &[u8]) -> Option<Row> {
        while level.iter().any(|number| *number > 1) {
            let top = level.first()?.checked_ilog2()?;
            let mut parents: Vec<u8> = level.iter().map(|number| number >> 1).collect();
            parents.dedup();
            let join = |number: &u8| {
                let left = number.wrapping_mul(2);
                (*number, join(self.hash(left), self.hash(left | 1)))
            };
            let nodes: Vec<_> = parents.iter().map(join).collect();
            let hashes = self.add(nodes);
            for (number, hash) in parents.iter().zip(hashes) {
                // What was set there, a stem, has nothing below it.
                self.set(*number, hash)?;
            }
            parents.extend(
                extra
                    .iter()
                    .filter(|number| number.checked_ilog2() == top.checked_sub(1)),
            );
            parents.sort_unstable();
            level = parents;
        }
        self.nodes.sort_unstable_by_key(|(number, _)| *number);
        Some(Row {
            root: self.hash(1),
            nodes: self.nodes,
        })
    }
}
