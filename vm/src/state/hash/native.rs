//! BLAKE3 of nodes on a processor of today.

use alloc::vec::Vec;
use alloy_primitives::B256;
use blake3::{IncrementCounter, platform::Platform};

use super::Node;

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
