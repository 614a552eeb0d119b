//! What a run of a unit starts from.

use alloy_primitives::B256;
use bitsect_machine::Preimages;
use bitsect_vm::check::checked_ticket;
use bitsect_vm::derive::bitcoin::DecodeError;
use bitsect_vm::record::{UnitRecord, hashed_messages};
use bitsect_vm::state::Node;

use super::{Chain, ChainError};

/// Bytes that the oracle keeps for a byte of a record, about: a leaf of 64 bytes takes 96 with its hash, and as much
/// again in the nodes above it; a compression of SHA-256 takes 128 for 64.
const KEPT_PER_BYTE: usize = 3;

/// The input leaf of a run, and everything that its oracle knows.
#[derive(Clone, Debug)]
pub struct UnitInput {
    leaf: Node,
    preimages: Preimages,
    fingerprint: B256,
    bytes: usize,
}

impl UnitInput {
    /// Makes the input of a run. The leaf need not be the record's: a liar's run reads what is known, and lacks the rest.
    /// `other_block` is the L1 block that the leaf's advice names, in network format, where it is not the recorded one.
    ///
    /// # Errors
    /// Where a block is no block.
    pub fn new(leaf: Node, record: &UnitRecord, other_block: Option<&[u8]>) -> Result<Self, DecodeError> {
        let mut preimages = Preimages::default();
        preimages.insert_unit(record)?;
        for message in other_block.map(hashed_messages).transpose()?.unwrap_or_default() {
            preimages.insert_sha256d(&message);
        }
        let encoded = record.encode();
        let other = other_block.unwrap_or_default();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&leaf).update(blake3::hash(&encoded).as_bytes());
        hasher.update(blake3::hash(other).as_bytes());
        Ok(Self {
            leaf,
            preimages,
            fingerprint: B256::new(*hasher.finalize().as_bytes()),
            bytes: (encoded.len() + other.len()) * KEPT_PER_BYTE,
        })
    }

    /// Gives the input leaf.
    pub const fn leaf(&self) -> &Node {
        &self.leaf
    }

    /// Gives what the oracle knows.
    pub const fn preimages(&self) -> &Preimages {
        &self.preimages
    }

    /// Gives a hash of leaf and knowledge: two runs with the same one are the same.
    pub const fn fingerprint(&self) -> B256 {
        self.fingerprint
    }

    /// Gives about how many bytes it takes in memory.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Gathers what is known for a run of a unit from an input leaf: `S_unit`, then the advice. `None` stands for the true
/// leaf. Gives `None` where the unit is not done.
///
/// # Errors
/// Where the chain fails.
pub async fn unit_input(
    chain: &dyn Chain,
    unit: u64,
    leaf: Option<Node>,
) -> Result<Option<UnitInput>, ChainError> {
    let advice = leaf.map(|leaf| B256::from_slice(&leaf[32..]));
    let record = match advice.as_ref().and_then(checked_ticket) {
        Some(ticket) => chain.check(unit, ticket).await?,
        None => chain.record(unit).await?,
    };
    let Some(record) = record else {
        return Ok(None);
    };
    let leaf = leaf.unwrap_or_else(|| record.input());
    let advice = advice.unwrap_or(record.advice);
    let other = if advice == record.advice || advice == B256::ZERO {
        None
    } else {
        chain.l1_block(advice).await?
    };
    let input = UnitInput::new(leaf, &record, other.as_deref());
    input.map(Some).map_err(|error| ChainError::Malformed {
        what: "l1 block",
        rule: error.to_string(),
    })
}
