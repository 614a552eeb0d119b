//! Proofs that a value is in the tree, or is absent: the nodes on the walk to it.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, U256};

use super::walk::{account_of, value_of, walk};
use super::{
    Account, BASIC_DATA, MAX_DEPTH, Node, NodeReader, SUBTREE_LEVELS, TreeError, TreeKey, hash_node,
};
use super::{header_key, slot_key};

/// Nodes of the longest proof: the trunk, both nodes of the stem (its outer one is in the trunk), the subtree.
pub const MAX_PROOF_NODES: usize = MAX_DEPTH as usize + 2 + SUBTREE_LEVELS as usize;

/// The nodes from the root to a pair of values, or to where the walk to it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Each node's hash is the root, or half of the node before.
    pub nodes: Vec<Node>,
}

/// Why a proof is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The walk goes on where the proof ends.
    #[error("proof ends after {got} nodes")]
    Short {
        /// Nodes in the proof.
        got: usize,
    },
    /// The walk ends before the proof does.
    #[error("proof has {got} nodes, {expected} are used")]
    Long {
        /// Nodes that the walk used.
        expected: usize,
        /// Nodes in the proof.
        got: usize,
    },
    /// A node is not the preimage of the hash above it.
    #[error("proof node {index}: expected hash {expected}, got {got}")]
    Hash {
        /// Which node of the proof.
        index: usize,
        /// The root, or half of the node before.
        expected: B256,
        /// The node's hash.
        got: B256,
    },
    /// A node is one that no tree has there.
    #[error("proof node {index} is malformed")]
    Malformed {
        /// Which node of the proof.
        index: usize,
    },
    /// The proof is good but shows another value.
    #[error("proof does not show what is claimed of {address}")]
    Claim {
        /// The account.
        address: Address,
    },
}

/// Collects the proof of a value or of its absence.
///
/// # Errors
/// When a node cannot be read or is malformed.
pub fn prove<R: NodeReader>(root: B256, key: &TreeKey, reader: &R) -> Result<Proof, TreeError<R::Error>> {
    prove_pair(root, key, reader).map(|(proof, _)| proof)
}

type Pair = Option<(B256, B256)>;

fn prove_pair<R: NodeReader>(
    root: B256,
    key: &TreeKey,
    reader: &R,
) -> Result<(Proof, Pair), TreeError<R::Error>> {
    let mut proof = Proof::default();
    let pair = walk(root, key, |path, hash| {
        let node = reader.node(path, hash)?;
        proof.nodes.push(node);
        Ok(node)
    })?;
    Ok((proof, pair))
}

/// Checks a proof. Gives the value; `None` when the proof shows that it is absent.
///
/// # Errors
/// When the proof is not exactly the nodes on the walk from `root` to `key`.
pub fn verify_proof(root: B256, key: &TreeKey, proof: &Proof) -> Result<Option<B256>, ProofError> {
    Ok(value_of(key, verify_pair(root, key, proof)?))
}

fn verify_pair(root: B256, key: &TreeKey, proof: &Proof) -> Result<Pair, ProofError> {
    let mut used = 0usize;
    let pair = walk(root, key, |_, hash| {
        let node = proof.nodes.get(used).ok_or(ProofError::Short { got: used })?;
        let got = hash_node(node);
        if got != *hash {
            return Err(ProofError::Hash {
                index: used,
                expected: *hash,
                got,
            });
        }
        used = used.saturating_add(1);
        Ok(*node)
    });
    let pair = pair.map_err(|error| match error {
        TreeError::Read(error) => error,
        _ => ProofError::Malformed {
            index: used.saturating_sub(1),
        },
    })?;
    let got = proof.nodes.len();
    if used == got {
        Ok(pair)
    } else {
        Err(ProofError::Long { expected: used, got })
    }
}

/// A slot's value with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotProof {
    /// The slot.
    pub slot: U256,
    /// Its value; zero is proven by absence.
    pub value: U256,
    /// The proof of the value.
    pub proof: Proof,
}

/// What `eth_getProof` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// The account's address.
    pub address: Address,
    /// The account; `None` when it does not exist.
    pub account: Option<Account>,
    /// The proof of the pair of basic data and code hash.
    pub proof: Proof,
    /// The slots that were asked for, in the order they were.
    pub slots: Vec<SlotProof>,
}

/// Collects the proofs of an account and of slots of its storage. The caller limits how many slots.
///
/// # Errors
/// When a node cannot be read or is malformed.
pub fn prove_account<R: NodeReader>(
    root: B256,
    address: Address,
    slots: &[U256],
    reader: &R,
) -> Result<AccountProof, TreeError<R::Error>> {
    let (proof, pair) = prove_pair(root, &header_key(address, BASIC_DATA), reader)?;
    let account = account_of(address, pair)?;
    let prove_slot = |slot: &U256| {
        let key = slot_key(address, *slot);
        let (proof, pair) = prove_pair(root, &key, reader)?;
        Ok(SlotProof {
            slot: *slot,
            value: value_of(&key, pair).unwrap_or_default().into(),
            proof,
        })
    };
    Ok(AccountProof {
        address,
        account,
        proof,
        slots: slots.iter().map(prove_slot).collect::<Result<_, _>>()?,
    })
}

/// Checks that the state with this root has the account and the slots as `claim` says.
///
/// # Errors
/// When a proof is refused, or shows something else than is claimed.
pub fn verify_account(root: B256, claim: &AccountProof) -> Result<(), ProofError> {
    let address = claim.address;
    let pair = verify_pair(root, &header_key(address, BASIC_DATA), &claim.proof)?;
    let account = account_of::<ProofError>(address, pair).map_err(|_| ProofError::Claim { address })?;
    if account != claim.account {
        return Err(ProofError::Claim { address });
    }
    for slot in &claim.slots {
        let value = verify_proof(root, &slot_key(address, slot.slot), &slot.proof)?;
        if U256::from_be_bytes(value.unwrap_or_default().0) != slot.value {
            return Err(ProofError::Claim { address });
        }
    }
    Ok(())
}
