//! A node's JSON-RPC, as far as users need it.

use alloy_primitives::{Address as L2Address, B256, Bytes, U64, U256};
use bitcoin::{OutPoint, ScriptBuf, Txid};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Terms, UserError};
use crate::chain::{ChainError, RpcChain};

/// L2 blocks that one question about logs covers; the node's limit.
pub(super) const LOG_BLOCKS: u64 = 100_000;

/// Codes of a node that may have taken what it was given (docs/json-rpc.md): the sequencer did not answer it, or it took too long.
pub(super) const UNSURE: [i64; 2] = [-32_007, -32_002];

/// A node.
#[derive(Clone, Debug)]
pub struct Node(RpcChain);

/// An L2 block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct L2Block {
    /// Its number.
    pub number: u64,
}

/// The L2 transaction of an accepted deposit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MintedDeposit {
    /// Its block.
    pub block: L2Block,
    /// Its hash.
    pub transaction_hash: B256,
    /// Whether it succeeded.
    pub success: Option<bool>,
}

/// Where a withdrawal was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestedIn {
    /// The L2 block's number.
    pub number: u64,
    /// The L2 transaction.
    pub transaction_hash: B256,
}

/// The payout of a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payout {
    /// The id of the operator's first transaction, by which the chain knows it.
    pub operator: String,
    /// The transaction that paid.
    pub txid: Txid,
    /// The height of its block.
    pub l1_height: u32,
}

/// What `Bridge` holds of a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WithdrawalAnswer {
    /// Its id.
    pub id: u64,
    /// Who asked.
    pub sender: L2Address,
    /// What was given, in sats.
    pub amount_sats: u64,
    /// What of it the operator keeps, in sats.
    #[serde(default)]
    pub fee_sats: u64,
    /// The origin's height when it was asked for.
    pub l1_height: u32,
    /// The script to pay.
    pub script_pub_key: Bytes,
    /// Where it was asked for.
    pub block: Option<RequestedIn>,
    /// Its payout.
    #[serde(default)]
    pub paid: Option<Payout>,
}

impl WithdrawalAnswer {
    /// Gives the script to pay.
    pub fn script(&self) -> ScriptBuf {
        ScriptBuf::from_bytes(self.script_pub_key.to_vec())
    }
}

/// The node's heads, by number, and its place on Bitcoin.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Heads {
    pub(super) latest: LatestBlock,
    pub(super) safe: L2Block,
    pub(super) finalized: L2Block,
    pub(super) l1_processed: Height,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LatestBlock {
    pub(super) number: u64,
    pub(super) l1_origin: Height,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Height {
    pub(super) height: u32,
}

/// A receipt, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipt {
    pub(super) status: U64,
    pub(super) block_number: U64,
    pub(super) logs: Vec<Log>,
}

/// A log, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Log {
    pub(super) address: L2Address,
    pub(super) topics: Vec<B256>,
    pub(super) data: Bytes,
    pub(super) transaction_hash: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    chain_id: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct L1Fee {
    l1_fee: U256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    base_fee_per_gas: U256,
}

impl Node {
    /// Makes the client of the node at a URL, and checks that it is of the chain.
    ///
    /// # Errors
    /// [`UserError::Refused`] where it is of another chain; where it cannot be asked.
    pub async fn connect(url: &str, terms: &Terms) -> Result<Self, UserError> {
        let node = Self(RpcChain::new(url, None)?);
        let version: Version = node.ask("rollup_version", json!([])).await?;
        if version.chain_id != terms.chain_id {
            let rule = format!("{}, as the chain file has it", terms.chain_id);
            return Err(UserError::refused("chain id of the node", rule, version.chain_id));
        }
        Ok(node)
    }

    /// Gives the chain behind it.
    pub const fn chain(&self) -> &RpcChain {
        &self.0
    }

    async fn ask<T: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<T, UserError> {
        let answer = self.0.call(method, params).await?;
        let value = answer.map_err(|fault| UserError::NodeRefuses {
            method,
            code: fault.code,
            reason: fault.message,
        })?;
        let read = serde_json::from_value(value);
        Ok(read.map_err(|error| ChainError::Malformed {
            what: method,
            rule: error.to_string(),
        })?)
    }

    /// Gives the L2 transaction of the deposit that a vault output was made of; none while no block has it.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn deposit(&self, vault_output: OutPoint) -> Result<Option<MintedDeposit>, UserError> {
        self.ask("rollup_deposit", json!([vault_output.to_string()]))
            .await
    }

    /// Gives a withdrawal; none where there is none with this id.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn withdrawal(&self, id: u64) -> Result<Option<WithdrawalAnswer>, UserError> {
        self.ask("rollup_withdrawal", json!([id])).await
    }

    /// Gives an account's balance in wei.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn balance(&self, account: L2Address) -> Result<U256, UserError> {
        self.ask("eth_getBalance", json!([account, "latest"])).await
    }

    pub(super) async fn heads(&self) -> Result<Heads, UserError> {
        self.ask("rollup_syncStatus", json!([])).await
    }

    /// Gives the nonce that an account uses next, or has used up to a block.
    pub(super) async fn nonce(&self, account: L2Address, block: &'static str) -> Result<u64, UserError> {
        let nonce: U64 = self
            .ask("eth_getTransactionCount", json!([account, block]))
            .await?;
        Ok(nonce.to())
    }

    pub(super) async fn estimate_gas(&self, request: Value) -> Result<u64, UserError> {
        let gas: U64 = self.ask("eth_estimateGas", json!([request])).await?;
        Ok(gas.to())
    }

    pub(super) async fn base_fee(&self) -> Result<U256, UserError> {
        let header: Header = self.ask("eth_getBlockByNumber", json!(["latest", false])).await?;
        Ok(header.base_fee_per_gas)
    }

    pub(super) async fn priority_fee(&self) -> Result<U256, UserError> {
        self.ask("eth_maxPriorityFeePerGas", json!([])).await
    }

    pub(super) async fn l1_fee(&self, raw: &Bytes) -> Result<U256, UserError> {
        let fee: L1Fee = self.ask("rollup_estimateL1Fee", json!([raw])).await?;
        Ok(fee.l1_fee)
    }

    pub(super) async fn send(&self, raw: &Bytes) -> Result<B256, UserError> {
        self.ask("eth_sendRawTransaction", json!([raw])).await
    }

    pub(super) async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, UserError> {
        self.ask("eth_getTransactionReceipt", json!([hash])).await
    }

    pub(super) async fn has_transaction(&self, hash: B256) -> Result<bool, UserError> {
        let found: Option<Value> = self.ask("eth_getTransactionByHash", json!([hash])).await?;
        Ok(found.is_some())
    }

    pub(super) async fn logs(
        &self,
        blocks: std::ops::RangeInclusive<u64>,
        address: L2Address,
        topics: Value,
    ) -> Result<Vec<Log>, UserError> {
        let filter = json!({
            "fromBlock": U64::from(*blocks.start()),
            "toBlock": U64::from(*blocks.end()),
            "address": address,
            "topics": topics,
        });
        self.ask("eth_getLogs", json!([filter])).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn withdrawals_are_read_with_and_without_new_fields() {
        let mut answer = json!({
            "id": 3, "sender": L2Address::repeat_byte(1), "amountSats": 10_000, "l1Height": 7,
            "scriptPubKey": "0x0014", "block": null,
        });
        let read = |answer: &Value| serde_json::from_value::<WithdrawalAnswer>(answer.clone()).unwrap();
        assert_eq!(read(&answer).fee_sats, 0);
        assert_eq!(read(&answer).paid, None);
        answer["feeSats"] = json!(500);
        answer["paid"] = json!({ "operator": "ab".repeat(32), "txid": "cd".repeat(32), "l1Height": 9 });
        answer["block"] = json!({ "number": 5, "hash": B256::ZERO, "transactionHash": B256::ZERO });
        assert_eq!(read(&answer).fee_sats, 500);
        assert_eq!(read(&answer).paid.unwrap().l1_height, 9);
    }
}
