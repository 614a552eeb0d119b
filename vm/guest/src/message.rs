//! From a SHA-256 digest back to the message: compression by compression, to the initial value.
//!
//! A message that comes out is the one that hashes to the digest: each compression is authenticated by the
//! oracle, the walk ends in the initial value, and padding and length are those of the message. A walk that ends
//! elsewhere began at a digest that no message is known to have, and fails.

use alloc::vec;
use alloc::vec::Vec;

use super::oracle::{Block, Digest, Oracle};

/// The longest message: no transaction is longer than what a Bitcoin block may weigh.
const MAX_MESSAGE: usize = 4_000_000;
/// Bytes of a compression's block.
const BLOCK_SIZE: usize = 64;
/// Bytes that padding takes at least: a bit, and the length.
const MIN_PADDING: usize = 9;

/// SHA-256's initial value, as digests are kept here.
const IV: Digest = [
    0x6a09_e667_u32.swap_bytes(),
    0xbb67_ae85_u32.swap_bytes(),
    0x3c6e_f372_u32.swap_bytes(),
    0xa54f_f53a_u32.swap_bytes(),
    0x510e_527f_u32.swap_bytes(),
    0x9b05_688c_u32.swap_bytes(),
    0x1f83_d9ab_u32.swap_bytes(),
    0x5be0_cd19_u32.swap_bytes(),
];

/// The block that ends every message of 64 bytes.
const PADDING_OF_64: Block = {
    let mut block = [0; 16];
    block[0] = 0x80;
    block[15] = 512_u32.swap_bytes();
    block
};

/// Why no block came out of a hash. What follows from public data never leads here, only wrong advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// The padding or length of a message is not what SHA-256 puts there.
    #[error("a message is not padded as SHA-256 pads")]
    Padding,
    /// The message is longer than any that Bitcoin has.
    #[error("a message of {bits} bits is longer than a transaction can be")]
    Length {
        /// What the padding says.
        bits: u64,
    },
    /// The walk did not end in SHA-256's initial value.
    #[error("a message does not begin at the initial value of SHA-256")]
    InitialValue,
    /// A merkle tree has a shape that no list of transactions gives.
    #[error("malformed merkle tree: {0}")]
    Tree(&'static str),
    /// The block is not one that `L1Block::decode` accepts.
    #[error("malformed block: {0}")]
    Block(#[from] bitsect_vm::derive::bitcoin::DecodeError),
}

/// A message that was walked back to.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    blocks: Vec<Block>,
    len: usize,
}

impl Message {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        let bytes = block_bytes(&self.blocks);
        bytes.get(..self.len).unwrap_or_default()
    }

    /// Its words: two digests, when it is 64 bytes long.
    pub(crate) fn pair(&self) -> Option<(Digest, Digest)> {
        match self.blocks.as_slice() {
            [block, _] if self.len == BLOCK_SIZE => Some(halves(block)),
            _ => None,
        }
    }
}

/// The bytes of blocks: on the machine, and wherever else words are little-endian, those in memory.
#[allow(unsafe_code, reason = "a safe conversion would copy byte by byte")]
fn block_bytes(blocks: &[Block]) -> &[u8] {
    const {
        assert!(
            cfg!(target_endian = "little"),
            "words in memory are taken for bytes"
        )
    };
    let len = size_of_val(blocks);
    // SAFETY: the same memory; every byte of a word is initialised, and bytes need no alignment.
    unsafe { core::slice::from_raw_parts(blocks.as_ptr().cast(), len) }
}

/// Splits a block in two digests.
fn halves(block: &Block) -> (Digest, Digest) {
    let (mut left, mut right) = ([0; 8], [0; 8]);
    let (low, high) = block.split_at(8);
    left.copy_from_slice(low);
    right.copy_from_slice(high);
    (left, right)
}

/// Walks from the double hash of a message to the message.
pub(crate) fn message<O: Oracle>(oracle: &O, double: &Digest) -> Result<Message, WalkError> {
    select_inner(oracle, double)?;
    let last = oracle.compression();
    let bits = (u64::from(last[14].swap_bytes()) << 32) | u64::from(last[15].swap_bytes());
    let too_long = WalkError::Length { bits };
    let len = usize::try_from(bits >> 3).map_err(|_| too_long)?;
    if len > MAX_MESSAGE || bits & 7 != 0 {
        return Err(too_long);
    }
    let mut blocks = vec![[0_u32; 16]; len.saturating_add(MIN_PADDING).div_ceil(BLOCK_SIZE)];
    let (end, before) = blocks.split_last_mut().ok_or(too_long)?;
    *end = last;
    for block in before.iter_mut().rev() {
        *block = oracle.compression();
    }
    if oracle.selected() != IV {
        return Err(WalkError::InitialValue);
    }
    verify_padding(&blocks, len)?;
    Ok(Message { blocks, len })
}

/// Walks from the double hash of 64 bytes to both halves of them.
pub(crate) fn pair<O: Oracle>(oracle: &O, double: &Digest) -> Result<(Digest, Digest), WalkError> {
    select_inner(oracle, double)?;
    if oracle.compression() != PADDING_OF_64 {
        return Err(WalkError::Padding);
    }
    let block = oracle.compression();
    if oracle.selected() != IV {
        return Err(WalkError::InitialValue);
    }
    Ok(halves(&block))
}

/// Chooses the digest whose hash `double` is.
fn select_inner<O: Oracle>(oracle: &O, double: &Digest) -> Result<(), WalkError> {
    oracle.select(double);
    let block = oracle.compression();
    if oracle.selected() != IV {
        return Err(WalkError::InitialValue);
    }
    let (inner, padding) = halves(&block);
    if padding != [0x80, 0, 0, 0, 0, 0, 0, 256_u32.swap_bytes()] {
        return Err(WalkError::Padding);
    }
    oracle.select(&inner);
    Ok(())
}

/// Checks what stands between the message and its length: one bit and zeros.
fn verify_padding(blocks: &[Block], len: usize) -> Result<(), WalkError> {
    let padded = block_bytes(blocks);
    let length_at = padded.len().saturating_sub(8);
    match padded.get(len..length_at) {
        Some([0x80, zeros @ ..]) if zeros.iter().all(|byte| *byte == 0) => Ok(()),
        _ => Err(WalkError::Padding),
    }
}
