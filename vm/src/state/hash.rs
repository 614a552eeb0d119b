//! Hashing of tree nodes: BLAKE3 of exactly 64 bytes, one at a time or many at once.

use alloc::vec::Vec;
use alloy_primitives::{B256, b256};
use blake3::{IncrementCounter, platform::Platform};

/// A tree node: left half and right half, 32 bytes each.
pub type Node = [u8; 64];

/// The hash of an empty subtree, and the value of an absent entry.
pub const EMPTY: B256 = B256::ZERO;

/// The right half of every outer stem node: the text `bitsect state tree: stem node/1`, 31 bytes, and a zero byte.
///
/// No hash is known to come out as this text, so no inner node can pass for a stem node.
pub const STEM_TAG: B256 = b256!("6269747365637420737461746520747265653a207374656d206e6f64652f3100");

// BLAKE3 section 2.2 and 2.4: the key of plain hashing, and the flags of a root chunk that is one block.
const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const ROOT: u8 = 8;

/// Nodes handed to BLAKE3 at once: a multiple of every SIMD width, small enough for the stack.
const BATCH: usize = 64;

/// Hashes one node.
pub fn hash_node(node: &Node) -> B256 {
    B256::new(*blake3::hash(node).as_bytes())
}

/// Hashes many nodes: the same results as [`hash_node`], several times faster from 8 nodes on.
pub fn hash_nodes<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<B256> {
    let platform = Platform::detect();
    let mut nodes = nodes.into_iter();
    let mut hashes = Vec::with_capacity(nodes.size_hint().0);
    let mut batch: Vec<&Node> = Vec::with_capacity(BATCH);
    loop {
        batch.clear();
        batch.extend(nodes.by_ref().take(BATCH));
        if batch.is_empty() {
            return hashes;
        }
        if let [node] = batch.as_slice() {
            hashes.push(hash_node(node));
            continue;
        }
        let mut out = [[0u8; 32]; BATCH];
        platform.hash_many(
            &batch,
            &IV,
            0,
            IncrementCounter::No,
            CHUNK_START | CHUNK_END | ROOT,
            0,
            0,
            out.as_flattened_mut(),
        );
        hashes.extend(out.iter().take(batch.len()).map(B256::from));
    }
}

/// Puts two halves together.
pub(super) fn join(left: B256, right: B256) -> Node {
    let mut node = [0; 64];
    let (a, b) = node.split_at_mut(32);
    a.copy_from_slice(left.as_slice());
    b.copy_from_slice(right.as_slice());
    node
}

/// Takes a node apart into its halves.
pub(super) fn halves(node: &Node) -> (B256, B256) {
    let (left, right) = node.split_at(32);
    (B256::from_slice(left), B256::from_slice(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn stem_tag_is_the_documented_text() {
        assert_eq!(STEM_TAG.as_slice(), b"bitsect state tree: stem node/1\0");
    }

    proptest! {
        #[test]
        fn many_equals_single(count in 0usize..200, seed: u8) {
            let nodes: Vec<Node> = (0..count)
                .map(|i| core::array::from_fn(|j| (i * 31 + j * 7) as u8 ^ seed))
                .collect();
            let single: Vec<B256> = nodes.iter().map(hash_node).collect();
            prop_assert_eq!(hash_nodes(&nodes), single);
        }
    }

    #[test]
    fn halves_are_the_inverse_of_join() {
        let node = join(B256::repeat_byte(1), B256::repeat_byte(2));
        assert_eq!(node.to_vec(), [vec![1; 32], vec![2; 32]].concat());
        assert_eq!(halves(&node), (B256::repeat_byte(1), B256::repeat_byte(2)));
    }
}
