//! All that a dispute publishes of one step: values, leaves and paths under the roots before and after.

mod check;
mod prove;

use alloy_primitives::B256;
use bitsect_vm::chain::hash_pair;

use crate::oracle::Sha256Preimage;

pub use check::WitnessError;

/// One step, provable from its two roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepWitness {
    /// The state before the step.
    pub before: B256,
    /// The state after the step's data was written and before control was.
    pub middle: B256,
    /// The state after the step.
    pub after: B256,
    /// What the step reads, all under `before`, in this order: control; the instruction; its source registers other
    /// than `x0`, or `a7`, `a0`, `a1` of a call; the memory word; the key. Reading ends where the step traps.
    pub reads: Vec<Access>,
    /// The node whose hash `HASH_OF_NODE` reads.
    pub node: Option<NodeWrite>,
    /// What `SHA256_PREIMAGE` brings.
    pub preimage: Option<Sha256Preimage>,
    /// What is written between `before` and `middle`.
    pub data: Option<NodeWrite>,
    /// The write of control between `middle` and `after`; none in a machine that stopped before.
    pub control: Option<NodeWrite>,
}

/// A word, the leaf that holds it, and the path from there to a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The word's address, a multiple of 4.
    pub address: u32,
    /// The leaf.
    pub leaf: [u8; 64],
    /// The 26 siblings, the leaf's first.
    pub siblings: Vec<B256>,
}

/// The way to a node, as far down as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPath {
    /// The lowest node on the way that is known: the node itself, or one above whose preimage is not.
    pub node: B256,
    /// The leaf, where it is one and known.
    pub leaf: Option<[u8; 64]>,
    /// The siblings from that node's level up.
    pub siblings: Vec<B256>,
}

/// A node's hash before and after, and the siblings that both share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeWrite {
    /// The node's address.
    pub address: u32,
    /// Its level, 0 for a leaf.
    pub level: u32,
    /// Its hash before.
    pub old: B256,
    /// Its hash after; as before where it is only read.
    pub new: B256,
    /// The leaf before, where one of its words changes.
    pub old_leaf: Option<[u8; 64]>,
    /// The siblings from its level up, `26 - level` of them.
    pub siblings: Vec<B256>,
}

impl Access {
    /// Gives the word.
    pub fn word(&self) -> u32 {
        let at = (self.address % 64) as usize & !3;
        u32::from_le_bytes(self.leaf[at..at + 4].try_into().expect("four bytes of a leaf"))
    }
}

/// Gives a leaf with one word replaced.
fn with_word(mut leaf: [u8; 64], address: u32, value: u32) -> [u8; 64] {
    let at = (address % 64) as usize & !3;
    leaf[at..at + 4].copy_from_slice(&value.to_le_bytes());
    leaf
}

/// Computes the root above a node.
fn root_above(address: u32, level: u32, hash: B256, siblings: &[B256]) -> B256 {
    let mut index = u64::from(address) >> (6 + level);
    siblings.iter().fold(hash, |hash, sibling| {
        let parent = if index & 1 == 0 {
            hash_pair(&hash, sibling)
        } else {
            hash_pair(sibling, &hash)
        };
        index >>= 1;
        parent
    })
}
