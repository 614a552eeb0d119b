//! What a party knows by itself: the chain's states, and the machine's run of any unit.
//!
//! What is not known is not in it. Of a machine state that may be a part: the preimages of some nodes are known to nobody
//! (docs/machine.md, "exhausted"), so that a path through the tree ends above the leaf.

use core::ops::Range;

use alloy_primitives::B256;
use bitsect_machine::address::LEAF_SIZE;
use bitsect_machine::{DEPTH, Sha256Preimage};
use bitsect_vm::chain::hash_pair;
use bitsect_vm::state::hash_node;

/// The machine before this step has to be made before the move can be: a run may take minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error(
    "the machine has to run to step {step} of the unit with input {}",
    alloy_primitives::hex::encode(input)
)]
pub struct Need {
    /// The unit's input: chain state, advice.
    pub input: [u8; 64],
    /// The step.
    pub step: u64,
}

/// The machine before a step cannot be made, though it has run: to run it again would not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the machine before step {step} cannot be made: {reason}")]
pub struct Broken {
    /// The step.
    pub step: u64,
    /// Why.
    pub reason: String,
}

/// Why a party does not know a machine state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// The machine has to run first.
    #[error(transparent)]
    Need(#[from] Need),
    /// The machine failed.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// The knowledge of one party. Everything in it is what the party would stake money on.
///
/// Steps are counted from 0, and those of a machine that stopped repeat its state. All methods give the same for the same
/// arguments, but that what a [`Need`] was given for is there later.
pub trait Truth {
    /// Gives the range of the program's text.
    fn text(&self) -> Range<u32>;

    /// Gives the chain state after so many units from the slot's start; `None` where it is not known.
    fn chain_state(&self, units: u64) -> Option<B256>;

    /// Gives the input of the unit after so many: the chain state and what the unit reads; `None` where it is not known.
    fn input(&self, units: u64) -> Option<[u8; 64]>;

    /// Gives the machine state before a step; `None` where it cannot be computed for want of a preimage.
    ///
    /// # Errors
    /// Where the machine has to run first, or failed.
    fn machine_state(&self, input: &[u8; 64], step: u64) -> Result<Option<B256>, Unknown>;

    /// Gives the way to a node in the machine state before a step, as far as it is known: [`Path::default`] where nothing is.
    ///
    /// # Errors
    /// Where the machine has to run first, or failed.
    fn path(&self, input: &[u8; 64], step: u64, place: Place) -> Result<Path, Unknown>;

    /// Gives what compresses to a digest.
    fn sha256(&self, digest: &B256) -> Option<Sha256Preimage>;
}

/// A node's place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Any address in it.
    pub address: u32,
    /// Its level, 0 for a leaf, 26 at most.
    pub level: u32,
}

/// The way from a machine state down to a node, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    address: u32,
    /// Whether the last node is the one that the way leads to.
    ends: bool,
    /// From the root down.
    nodes: Vec<B256>,
    /// Each the sibling of the node behind it.
    siblings: Vec<B256>,
    leaf: Option<[u8; 64]>,
}

impl Place {
    /// The leaf that holds an address.
    pub const fn leaf(address: u32) -> Self {
        Self { address, level: 0 }
    }
}

impl Path {
    /// Makes a path to a leaf that is known, of the siblings from its level up.
    pub fn to_leaf(address: u32, leaf: [u8; 64], siblings: &[B256]) -> Self {
        let mut path = Self::climb(address, hash_node(&leaf), siblings, true);
        path.leaf = Some(leaf);
        path
    }

    /// Makes a path to a place, of the lowest node on it that is known, and the siblings from there up. That is a node
    /// above the place where the preimage of that node is not known.
    pub fn to_node(place: Place, node: B256, siblings: &[B256]) -> Self {
        let ends = siblings.len() + place.level as usize == DEPTH as usize;
        Self::climb(place.address, node, siblings, ends)
    }

    fn climb(address: u32, node: B256, siblings: &[B256], ends: bool) -> Self {
        let mut nodes = vec![node];
        let lowest = DEPTH as usize - siblings.len().min(DEPTH as usize);
        let mut below = node;
        for (above, sibling) in siblings.iter().enumerate() {
            below = if is_right(address, lowest + above) {
                hash_pair(sibling, &below)
            } else {
                hash_pair(&below, sibling)
            };
            nodes.push(below);
        }
        nodes.reverse();
        Self {
            address,
            ends,
            nodes,
            siblings: siblings.iter().rev().copied().collect(),
            leaf: None,
        }
    }

    /// Gives the root.
    pub fn root(&self) -> Option<B256> {
        self.nodes.first().copied()
    }

    /// Gives the node at a position, counted from the root. Below the node that the way leads to it repeats.
    pub fn node(&self, position: u64) -> Option<B256> {
        let at = usize::try_from(position).ok()?;
        let repeated = self.nodes.last().filter(|_| self.ends);
        self.nodes.get(at).or(repeated).copied()
    }

    /// Gives the sibling of the node behind a position; none where the nodes repeat.
    pub fn sibling(&self, position: u64) -> Option<B256> {
        self.siblings.get(usize::try_from(position).ok()?).copied()
    }

    /// Gives the node that the way leads to.
    pub fn end(&self) -> Option<B256> {
        self.nodes.last().filter(|_| self.ends).copied()
    }

    /// Gives the leaf's content.
    pub const fn leaf(&self) -> Option<[u8; 64]> {
        self.leaf
    }

    /// Gives the path after the node that it leads to became another one; `None` where that is not known.
    pub fn written(&self, node: B256) -> Option<Self> {
        let siblings: Vec<B256> = self.siblings.iter().rev().copied().collect();
        self.ends
            .then(|| Self::climb(self.address, node, &siblings, true))
    }

    /// Gives this path after a write at another place, whose path afterwards is given: none contains the other.
    pub fn after(&self, write: &Self) -> Option<Self> {
        let node = self.end()?;
        let mut siblings = self.siblings.clone();
        let level = |position: usize| DEPTH as usize - 1 - position;
        let parts = (0..siblings.len().min(write.siblings.len())).find(|position| {
            is_right(self.address, level(*position)) != is_right(write.address, level(*position))
        })?;
        *siblings.get_mut(parts)? = *write.nodes.get(parts + 1)?;
        siblings.reverse();
        let mut path = Self::climb(self.address, node, &siblings, true);
        path.leaf = self.leaf;
        Some(path)
    }
}

/// Whether a way to an address goes right to reach this level.
const fn is_right(address: u32, level: usize) -> bool {
    (address / LEAF_SIZE) >> level & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitsect_machine::address::{CONTROL, KEY};

    fn siblings(count: u8) -> Vec<B256> {
        (1..=count).map(B256::repeat_byte).collect()
    }

    #[test]
    fn nodes_repeat_below_the_end_only() {
        let place = Place {
            address: KEY,
            level: 1,
        };
        let path = Path::to_node(place, B256::repeat_byte(0xaa), &siblings(25));
        assert_eq!(path.end(), Some(B256::repeat_byte(0xaa)));
        assert_eq!((path.node(25), path.node(26)), (path.end(), path.end()));
        assert_ne!(path.node(24), path.end());
        assert_eq!(
            (path.sibling(24), path.sibling(25)),
            (Some(B256::repeat_byte(1)), None)
        );
        let broken = Path::to_node(Place::leaf(KEY), B256::repeat_byte(0xaa), &siblings(20));
        assert_eq!((broken.end(), broken.node(21)), (None, None));
        assert_eq!(broken.node(20), Some(B256::repeat_byte(0xaa)));
        assert_eq!(broken.written(B256::ZERO), None);
        assert_eq!(Path::default().node(0), None);
    }

    #[test]
    fn a_path_follows_a_write_beside_it() {
        let leaf = [7; 64];
        let control = Path::to_leaf(CONTROL, leaf, &siblings(26));
        // The register's leaf is the cousin of control's: they part two levels above.
        let registers = 0xffff_ff00_u32;
        let shared = &siblings(26)[2..];
        let other = [control.nodes[25], B256::repeat_byte(9)];
        let beside: Vec<B256> = [B256::repeat_byte(0xbb), other[0]]
            .into_iter()
            .chain(shared.iter().copied())
            .collect();
        let before = Path::to_leaf(registers, [1; 64], &beside);
        let mut own = siblings(26);
        own[1] = before.nodes[25];
        let control = Path::to_leaf(CONTROL, leaf, &own);
        assert_eq!(control.root(), before.root());
        let write = before.written(B256::repeat_byte(0xcc)).unwrap();
        let moved = control.after(&write).unwrap();
        assert_eq!(moved.root(), write.root());
        assert_eq!((moved.leaf(), moved.end()), (control.leaf(), control.end()));
        assert_eq!(control.after(&control), None);
    }
}
