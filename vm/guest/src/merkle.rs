//! Bitcoin's merkle trees, from the root down.
//!
//! An inner node and a transaction of 64 bytes look the same, so the depth has to be known before leaves are: the
//! leftmost leaf is a coinbase, and no inner node looks like one, which would need a hash with 27 zero bytes. It is
//! the rule by which `L1Block::decode` takes one list of transactions only.

use alloc::vec;
use alloc::vec::Vec;

use super::message::{Message, WalkError, message, pair};
use super::oracle::{Digest, Oracle};

/// Inner nodes on the way to a leaf, at most: a block has less than 2^17 transactions of 60 bytes.
const MAX_DEPTH: usize = 17;

/// Finds the first leaf: its depth and message.
pub(crate) fn first_leaf<O: Oracle>(oracle: &O, root: &Digest) -> Result<(usize, Message), WalkError> {
    let mut node = *root;
    for depth in 0..=MAX_DEPTH {
        let found = message(oracle, &node)?;
        match found.pair() {
            Some((left, _)) if !spends_nothing(found.bytes()) => node = left,
            _ => return Ok((depth, found)),
        }
    }
    Err(WalkError::Tree("too deep"))
}

/// Whether these bytes begin as a coinbase does: version, one input, the null outpoint.
fn spends_nothing(bytes: &[u8]) -> bool {
    let after_version = bytes.get(4..41).unwrap_or_default();
    match after_version {
        [1, txid @ .., 0xff, 0xff, 0xff, 0xff] => txid.iter().all(|byte| *byte == 0),
        _ => false,
    }
}

/// Lists the leaves at this depth. Two equal children stand for one, at the right end of a level; elsewhere they
/// make the list ambiguous (CVE-2012-2459).
pub(crate) fn leaves<O: Oracle>(oracle: &O, root: &Digest, depth: usize) -> Result<Vec<Digest>, WalkError> {
    let mut level = vec![*root];
    for _ in 0..depth {
        let mut below = Vec::with_capacity(level.len().saturating_mul(2));
        let count = level.len();
        for (index, node) in level.iter().enumerate() {
            let (left, right) = pair(oracle, node)?;
            below.push(left);
            if left != right {
                below.push(right);
            } else if index.saturating_add(1) < count || count == 1 {
                return Err(WalkError::Tree("equal neighbours"));
            }
        }
        level = below;
    }
    Ok(level)
}
