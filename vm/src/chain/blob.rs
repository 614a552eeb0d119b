//! Blobs: byte strings named by the root of a BLAKE3 tree of 64-byte leaves.
//!
//! The tree is the one that the machine's memory uses, so a dispute maps a whole blob into memory by its root.

use alloc::vec::Vec;
use alloy_primitives::B256;
use alloy_rlp::{RlpDecodable, RlpEncodable};

use crate::state::{hash_node, join};

/// Bytes of a leaf, and of an inner node: two child hashes.
#[cfg(not(all(target_arch = "riscv32", target_os = "none")))]
const LEAF_SIZE: usize = 64;

/// Names a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, RlpEncodable, RlpDecodable)]
pub struct BlobRef {
    /// The root of its tree.
    pub root: B256,
    /// Its length in bytes.
    pub len: u32,
}

/// Keeps blobs between the unit that finds them on Bitcoin and the units that use them.
pub trait Blobs {
    /// Why the medium failed.
    type Error: core::error::Error;

    /// Gives a blob's bytes.
    ///
    /// # Errors
    /// When the medium fails, or does not hold a blob that chain state names.
    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, Self::Error>;

    /// Keeps a blob under its own name.
    ///
    /// # Errors
    /// When the medium fails.
    fn put(&mut self, blob: BlobRef, bytes: Vec<u8>) -> Result<(), Self::Error>;
}

impl BlobRef {
    /// Names these bytes. Longer than 2^32 - 1 bytes, which no Bitcoin block holds, saturates the length.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            root: blob_root(bytes),
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        }
    }
}

/// Computes the root over the bytes' 64-byte leaves, zero-padded to a power of two of them.
///
/// A leaf's hash and a node's hash are both BLAKE3 of 64 bytes.
#[cfg(all(target_arch = "riscv32", target_os = "none"))]
pub fn blob_root(bytes: &[u8]) -> B256 {
    crate::oracle::blob_root(bytes)
}

/// Computes the root over the bytes' 64-byte leaves, zero-padded to a power of two of them.
///
/// A leaf's hash and a node's hash are both BLAKE3 of 64 bytes.
#[cfg(not(all(target_arch = "riscv32", target_os = "none")))]
pub fn blob_root(bytes: &[u8]) -> B256 {
    let mut level: Vec<B256> = bytes.chunks(LEAF_SIZE).map(hash_padded).collect();
    let mut zero = hash_padded(&[]);
    if level.is_empty() {
        return zero;
    }
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => hash_pair(left, right),
                [left] => hash_pair(left, &zero),
                _ => zero,
            })
            .collect();
        zero = hash_pair(&zero, &zero);
    }
    level.first().copied().unwrap_or_default()
}

/// Hashes a node of two children.
pub fn hash_pair(left: &B256, right: &B256) -> B256 {
    hash_node(&join(*left, *right))
}

#[cfg(not(all(target_arch = "riscv32", target_os = "none")))]
fn hash_padded(bytes: &[u8]) -> B256 {
    let mut leaf = [0; LEAF_SIZE];
    leaf.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    hash_node(&leaf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, written down naively.
    fn reference(bytes: &[u8]) -> B256 {
        let leaves = bytes.len().div_ceil(64).max(1).next_power_of_two();
        let mut padded = bytes.to_vec();
        padded.resize(leaves * 64, 0);
        while padded.len() > 32 {
            padded = padded
                .chunks(64)
                .flat_map(|node| *blake3::hash(node).as_bytes())
                .collect();
        }
        B256::from_slice(&padded)
    }

    proptest! {
        #[test]
        fn root_is_that_of_the_padded_tree(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            prop_assert_eq!(blob_root(&bytes), reference(&bytes));
        }
    }
}
