//! What is kept of deposits and withdrawals.

use alloy_primitives::{Address as L2Address, Bytes};
use bitcoin::{Amount, ScriptBuf, Transaction, Txid};
use serde::{Deserialize, Serialize};

/// What spent a deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SpendKind {
    /// The members' accept; the vault output's index.
    Accept {
        /// The index.
        vout: u32,
    },
    /// The refund by the leaf.
    Refund,
    /// All members together, for something else.
    Other,
}

/// What spent a deposit, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    /// The transaction.
    pub txid: Txid,
    /// What it is.
    pub kind: SpendKind,
    /// The height of its block.
    pub height: u32,
}

/// A deposit whose refund key is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// The tag output's script.
    pub tag: ScriptBuf,
    /// The index of the refund key.
    pub key: u16,
    /// The amount, in sats.
    pub amount: Amount,
    /// Whether it is the output of its transaction that counts.
    pub counts: bool,
    /// The height of its block.
    pub height: Option<u32>,
    /// What spent it in a block.
    pub spend: Option<Spend>,
    /// The transaction, where we made it or saw it.
    #[serde(with = "hex_transaction")]
    pub transaction: Option<Transaction>,
    /// The refund that we made.
    #[serde(with = "hex_transaction")]
    pub refund: Option<Transaction>,
    /// Whether we made it, and no command has told of it yet.
    #[serde(default)]
    pub untold: bool,
}

/// A withdrawal that we asked for, or were about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The signed L2 transaction.
    pub raw: Bytes,
    /// Who asks.
    pub account: L2Address,
    /// The account's nonce that it uses.
    pub nonce: u64,
    /// The amount, in sats.
    pub amount: Amount,
}

mod hex_transaction {
    use bitcoin::Transaction;
    use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        tx: &Option<Transaction>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        tx.as_ref().map(serialize_hex).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Transaction>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let read = text.map(|text| deserialize_hex(&text));
        read.transpose().map_err(serde::de::Error::custom)
    }
}
