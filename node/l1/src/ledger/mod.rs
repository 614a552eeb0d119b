//! What the sender and the carrier share: jobs in a file, and the blocks that were looked at.

mod blocks;
mod file;

use std::collections::BTreeMap;

use bitcoin::{Block, OutPoint, Transaction, Txid};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    blocks::{Blocks, Gap, Place},
    file::{Change, JobFile, Stored},
};
use crate::BlockRef;

/// Names a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// A confirmed transaction that is not ours and spends what ours spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The block.
    pub at: BlockRef,
    /// The transaction.
    pub txid: Txid,
}

/// Returns whether a block has `depth` confirmations below a tip.
pub(crate) fn is_deep(at: BlockRef, tip: u32, depth: u32) -> bool {
    at.height.saturating_add(depth) <= tip.saturating_add(1)
}

/// Returns the outputs that a transaction spends.
pub(crate) fn inputs(tx: &Transaction) -> impl Iterator<Item = OutPoint> {
    tx.input.iter().map(|input| input.previous_output)
}

/// Returns what a block spends, and by which transaction.
pub(crate) fn spenders(block: &Block) -> BTreeMap<OutPoint, Txid> {
    let mut spent = BTreeMap::new();
    for tx in &block.txdata {
        let txid = tx.compute_txid();
        spent.extend(inputs(tx).map(|input| (input, txid)));
    }
    spent
}

/// Writes a transaction as hex, for `#[serde(with)]`.
pub(crate) mod tx_hex {
    use bitcoin::{
        Transaction,
        consensus::encode::{deserialize_hex, serialize_hex},
    };
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(tx: &Transaction, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&serialize_hex(tx))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Transaction, D::Error> {
        deserialize_hex(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}
