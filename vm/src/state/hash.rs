//! Hashing of tree nodes: BLAKE3 of exactly 64 bytes, one at a time or many at once. The machine has a call for it.

#[cfg(not(all(target_arch = "riscv32", target_os = "none")))]
mod native;

use alloy_primitives::{B256, b256};

#[cfg(all(target_arch = "riscv32", target_os = "none"))]
pub use crate::oracle::{hash_node, hash_nodes};
#[cfg(not(all(target_arch = "riscv32", target_os = "none")))]
pub use native::{hash_node, hash_nodes};

/// A tree node: left half and right half, 32 bytes each.
pub type Node = [u8; 64];

/// The hash of an empty subtree, and the value of an absent entry.
pub const EMPTY: B256 = B256::ZERO;

/// The right half of every outer stem node: the text `bitsect state tree: stem node/1`, 31 bytes, and a zero byte.
///
/// No hash is known to come out as this text, so no inner node can pass for a stem node.
pub const STEM_TAG: B256 = b256!("6269747365637420737461746520747265653a207374656d206e6f64652f3100");

/// Puts two halves together.
pub fn join(left: B256, right: B256) -> Node {
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
    use alloc::{vec, vec::Vec};
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
