//! Memory that is addressed by content: preimages of BLAKE3 nodes and of SHA-256 compressions.

use std::collections::HashMap;

use alloy_primitives::B256;
use bitsect_vm::chain::{blob_root, commitment_node, hash_pair};
use bitsect_vm::derive::bitcoin::DecodeError;
use bitsect_vm::record::{UnitRecord, hashed_messages};
use bitsect_vm::state::{Node, hash_node, join};

/// The preimage of a SHA-256 compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha256Preimage {
    /// The 64-byte block.
    pub block: [u8; 64],
    /// The chaining value: the initial vector, or the result of the compression before. Big-endian words.
    pub chaining: B256,
}

/// Gives preimages. What it gives is true by construction: implementors hash what they keep.
pub trait Oracle {
    /// Gives the 64 bytes that have this BLAKE3 hash.
    fn node(&self, hash: &B256) -> Option<Node>;

    /// Gives a block and chaining value that compress to this digest.
    fn sha256(&self, digest: &B256) -> Option<Sha256Preimage>;
}

/// Preimages in memory.
#[derive(Clone, Debug, Default)]
pub struct Preimages {
    nodes: HashMap<B256, Node>,
    sha256: HashMap<B256, Sha256Preimage>,
}

/// SHA-256's initial vector (FIPS 180-4, 5.3.3), big-endian words.
const SHA256_IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

impl Preimages {
    /// Keeps a node, and gives its hash.
    pub fn insert_node(&mut self, node: Node) -> B256 {
        let hash = hash_node(&node);
        self.nodes.insert(hash, node);
        hash
    }

    /// Keeps all nodes of a blob's tree, and gives its root.
    pub fn insert_blob(&mut self, bytes: &[u8]) -> B256 {
        let mut level: Vec<B256> = bytes
            .chunks(64)
            .map(|chunk| {
                let mut leaf = [0; 64];
                leaf[..chunk.len()].copy_from_slice(chunk);
                self.insert_node(leaf)
            })
            .collect();
        let mut zero = hash_node(&[0; 64]);
        while level.len() > 1 {
            level = level
                .chunks(2)
                .map(|pair| {
                    let right = pair.get(1).copied().unwrap_or(zero);
                    self.insert_node(join(pair[0], right))
                })
                .collect();
            zero = hash_pair(&zero, &zero);
        }
        let root = level.first().copied().unwrap_or(zero);
        debug_assert_eq!(root, blob_root(bytes));
        root
    }

    /// Keeps every compression of a message's SHA-256 hash, and gives the hash.
    pub fn insert_sha256(&mut self, message: &[u8]) -> B256 {
        let mut padded = message.to_vec();
        padded.push(0x80);
        padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
        padded.extend((message.len() as u64 * 8).to_be_bytes());
        let mut chaining = digest(&SHA256_IV);
        for block in padded.as_chunks::<64>().0 {
            let result = compress(&chaining, block);
            self.sha256.insert(
                result,
                Sha256Preimage {
                    block: *block,
                    chaining,
                },
            );
            chaining = result;
        }
        chaining
    }

    /// Keeps every compression of a message's double SHA-256 hash, and gives the hash.
    pub fn insert_sha256d(&mut self, message: &[u8]) -> B256 {
        let inner = self.insert_sha256(message);
        self.insert_sha256(inner.as_slice())
    }
}

impl Preimages {
    /// Keeps everything that a unit reads.
    ///
    /// # Errors
    /// Where the record's L1 block is no block.
    pub fn insert_unit(&mut self, unit: &UnitRecord) -> Result<(), DecodeError> {
        self.insert_blob(&unit.state);
        self.insert_node(commitment_node(&unit.state));
        for node in &unit.nodes {
            self.insert_node(*node);
        }
        for blob in &unit.blobs {
            self.insert_blob(blob);
        }
        let messages = unit.block.as_deref().map(hashed_messages).transpose()?;
        for message in messages.unwrap_or_default() {
            self.insert_sha256d(&message);
        }
        Ok(())
    }
}

impl Oracle for Preimages {
    fn node(&self, hash: &B256) -> Option<Node> {
        self.nodes.get(hash).copied()
    }

    fn sha256(&self, digest: &B256) -> Option<Sha256Preimage> {
        self.sha256.get(digest).copied()
    }
}

/// Runs SHA-256's compression function (FIPS 180-4, 6.2.2). Words of chaining value and result are big-endian.
pub fn compress(chaining: &B256, block: &[u8; 64]) -> B256 {
    let mut state = [0; 8];
    for (word, bytes) in state.iter_mut().zip(chaining.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    sha2::compress256(&mut state, &[(*block).into()]);
    digest(&state)
}

fn digest(state: &[u32; 8]) -> B256 {
    let mut bytes = B256::ZERO;
    for (to, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    bytes
}
