//! How tree nodes are read, and what an update of the tree gives.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, U256};

use super::{Node, NodePath};

/// Reads nodes of one version of the tree.
///
/// A database answers by the path, the machine's oracle by the hash. A reader that can do neither for a node
/// that is in the tree gives an error: a missing node never reads as an empty one.
pub trait NodeReader {
    /// Why a read failed: the medium's fault, never the chain's.
    type Error: core::error::Error + 'static;

    /// Reads the node at `path`, which is the preimage of `hash`.
    fn node(&self, path: &NodePath, hash: &B256) -> Result<Node, Self::Error>;
}

/// The new root, and the nodes that differ from the version before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeUpdate {
    /// The root of the new version; zero for an empty tree.
    pub root: B256,
    /// Each changed path once, in no particular but deterministic order; `None` where a node is gone.
    pub nodes: Vec<(NodePath, Option<Node>)>,
}

/// Why an update was not made. Nothing is changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError<E> {
    /// A node could not be read.
    #[error("failed to read a tree node: {0}")]
    Read(E),
    /// A node was read that no tree has at its path.
    #[error("malformed tree node at {path:?}")]
    Malformed {
        /// Where it was read.
        path: NodePath,
    },
    /// A balance does not fit the 16 bytes the tree has for it.
    #[error("balance of {address} does not fit 16 bytes: {balance}")]
    BalanceTooLarge {
        /// The account.
        address: Address,
        /// Wei.
        balance: U256,
    },
    /// An account got other code, and the changes do not hold it.
    #[error("code {code_hash} of {address} is missing from the changes")]
    CodeMissing {
        /// The account.
        address: Address,
        /// keccak256 of the code.
        code_hash: B256,
    },
    /// An account's code size is not that of its code.
    #[error("code of {address}: expected {expected} bytes, got {got}")]
    CodeSize {
        /// The account.
        address: Address,
        /// Bytes, as the account has it.
        expected: u32,
        /// Bytes of the code.
        got: usize,
    },
}
