//! What the machine answers.

use alloc::vec::Vec;
use alloy_primitives::B256;
use bitsect_vm::chain::BlobRef;
use bitsect_vm::state::Node;

/// A SHA-256 digest or chaining value: its 32 bytes as little-endian words, as the machine loads them.
pub type Digest = [u32; 8];

/// What a SHA-256 compression takes: its 64 bytes as little-endian words.
pub type Block = [u32; 16];

/// The machine's oracle (docs/machine.md). It gives preimages, never anything else, so answers need no check.
///
/// A host that lacks a preimage cannot go on, so nothing here fails.
pub trait Oracle {
    /// Gives the 64 bytes whose BLAKE3 hash this is.
    fn node(&self, hash: &B256) -> Node;

    /// Gives a blob's bytes. What the tree holds behind them is not looked at.
    fn blob(&self, blob: &BlobRef) -> Vec<u8>;

    /// Chooses the digest whose compression [`Self::compression`] gives next.
    fn select(&self, digest: &Digest);

    /// Goes back one compression: gives its block, and chooses its chaining value.
    fn compression(&self) -> Block;

    /// Gives the digest that is chosen.
    fn selected(&self) -> Digest;
}

/// Takes the bytes of a hash for words.
pub(crate) fn words(hash: &B256) -> Digest {
    let mut words = [0; 8];
    for (to, from) in words.iter_mut().zip(hash.as_chunks::<4>().0) {
        *to = u32::from_le_bytes(*from);
    }
    words
}

/// Gives the bytes of a digest.
pub(crate) fn bytes(words: &Digest) -> B256 {
    let mut bytes = B256::ZERO;
    for (to, from) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *to = from.to_le_bytes();
    }
    bytes
}
