//! Answers of Bitcoin Core, with the fields that are used here.

use std::collections::BTreeMap;

use bitcoin::{Amount, BlockHash, FeeRate, ScriptBuf, TxOut, Txid, Wtxid};
use serde::{Deserialize, Deserializer, de::Error as _};

/// Answer of `getblockchaininfo`.
#[derive(Clone, Debug, Deserialize)]
pub struct BlockchainInfo {
    /// The network as Core names it: `main`, `test`, `testnet4`, `signet`, `regtest`.
    pub chain: String,
    /// The height of the best chain.
    pub blocks: u32,
    /// The height of the best header chain.
    pub headers: u32,
    /// The hash of the tip.
    #[serde(rename = "bestblockhash")]
    pub best_block_hash: BlockHash,
    /// The median of the last eleven block times, in seconds since 1970.
    #[serde(rename = "mediantime")]
    pub median_time: u64,
    /// Whether Core believes it is far behind. On regtest this may stay true.
    #[serde(rename = "initialblockdownload")]
    pub initial_block_download: bool,
    /// The work in the best chain, as hex.
    #[serde(rename = "chainwork")]
    pub chain_work: String,
    /// Whether old blocks are deleted.
    pub pruned: bool,
    /// The lowest block kept, when pruning.
    #[serde(rename = "pruneheight")]
    pub prune_height: Option<u32>,
}

/// Answer of `getblockheader`.
#[derive(Clone, Debug, Deserialize)]
pub struct HeaderInfo {
    /// The hash.
    pub hash: BlockHash,
    /// The height.
    pub height: u32,
    /// 1 at the tip; -1 when the block is not in the best chain.
    pub confirmations: i64,
    /// The previous block; none for the genesis block.
    #[serde(rename = "previousblockhash")]
    pub previous: Option<BlockHash>,
    /// The next block in the best chain; none at the tip and off the best chain.
    #[serde(rename = "nextblockhash")]
    pub next: Option<BlockHash>,
    /// The block's time, in seconds since 1970.
    pub time: u32,
    /// The median of the eleven block times up to this one, in seconds since 1970.
    #[serde(rename = "mediantime")]
    pub median_time: u32,
}

/// Answer of `gettxout`: an output that is unspent.
#[derive(Clone, Debug, Deserialize)]
pub struct TxOutInfo {
    /// The tip that the answer holds for.
    #[serde(rename = "bestblock")]
    pub best_block: BlockHash,
    /// 0 when the transaction is in the mempool.
    pub confirmations: u32,
    /// The value.
    #[serde(with = "bitcoin::amount::serde::as_btc")]
    pub value: Amount,
    /// The locking script.
    #[serde(rename = "scriptPubKey", deserialize_with = "script_hex")]
    pub script_pubkey: ScriptBuf,
    /// Whether a block's subsidy pays it, which makes it spendable after 100 blocks only.
    pub coinbase: bool,
}

impl TxOutInfo {
    /// Returns the output.
    pub fn tx_out(&self) -> TxOut {
        TxOut {
            value: self.value,
            script_pubkey: self.script_pubkey.clone(),
        }
    }
}

/// One answer of `testmempoolaccept`.
#[derive(Clone, Debug, Deserialize)]
pub struct MempoolAccept {
    /// The transaction.
    pub txid: Txid,
    /// Whether it would be accepted; none when it was not looked at because another one failed.
    pub allowed: Option<bool>,
    /// The size in vB as the mempool counts it.
    pub vsize: Option<u64>,
    /// Why not.
    #[serde(rename = "reject-reason")]
    pub reject_reason: Option<String>,
    /// Why not, in more words; since Core 29.
    #[serde(rename = "reject-details")]
    pub reject_details: Option<String>,
}

/// Answer of `getmempoolentry`.
#[derive(Clone, Debug, Deserialize)]
pub struct MempoolEntry {
    /// The size, in vB.
    pub vsize: u64,
    /// When it came in, in seconds since 1970.
    pub time: u64,
    /// The number of descendants, itself included.
    #[serde(rename = "descendantcount")]
    pub descendant_count: u64,
    /// Their size, in vB.
    #[serde(rename = "descendantsize")]
    pub descendant_size: u64,
    /// The number of ancestors, itself included.
    #[serde(rename = "ancestorcount")]
    pub ancestor_count: u64,
    /// Their size, in vB.
    #[serde(rename = "ancestorsize")]
    pub ancestor_size: u64,
    /// The witness transaction id.
    pub wtxid: Wtxid,
    /// The weight of the chunk that it is mined with; since Core 31.
    #[serde(rename = "chunkweight")]
    pub chunk_weight: Option<u64>,
    /// The fees.
    pub fees: MempoolFees,
    /// Its parents in the mempool.
    pub depends: Vec<Txid>,
    /// Its children in the mempool.
    #[serde(rename = "spentby")]
    pub spent_by: Vec<Txid>,
}

impl MempoolEntry {
    /// Returns the rate that it is mined for, with what pays for it: its chunk's. Core before 31 does not tell it; the rate
    /// of the transaction with all its descendants stands in then.
    pub fn mining_rate(&self) -> FeeRate {
        let of = |fee: Amount, weight: u64| {
            FeeRate::from_sat_per_kwu(fee.to_sat().saturating_mul(1000) / weight.max(1))
        };
        match (self.fees.chunk, self.chunk_weight) {
            (Some(fee), Some(weight)) => of(fee, weight),
            _ => of(self.fees.descendant, self.descendant_size.saturating_mul(4)),
        }
    }
}

/// The fees in an answer of `getmempoolentry`.
#[derive(Clone, Debug, Deserialize)]
pub struct MempoolFees {
    /// The fee of the transaction alone.
    #[serde(with = "bitcoin::amount::serde::as_btc")]
    pub base: Amount,
    /// The fees of it and its ancestors.
    #[serde(with = "bitcoin::amount::serde::as_btc")]
    pub ancestor: Amount,
    /// The fees of it and its descendants.
    #[serde(with = "bitcoin::amount::serde::as_btc")]
    pub descendant: Amount,
    /// The fees of its chunk; since Core 31.
    #[serde(default, with = "bitcoin::amount::serde::as_btc::opt")]
    pub chunk: Option<Amount>,
}

/// Answer of `getmempoolinfo`.
#[derive(Clone, Debug, Deserialize)]
pub struct MempoolInfo {
    /// Whether the mempool of the last run is read in.
    pub loaded: bool,
    /// The number of transactions.
    pub size: u64,
    /// The lowest rate accepted now.
    #[serde(rename = "mempoolminfee", deserialize_with = "btc_per_kvb")]
    pub mempool_min_fee: FeeRate,
    /// The lowest rate relayed ever.
    #[serde(rename = "minrelaytxfee", deserialize_with = "btc_per_kvb")]
    pub min_relay_fee: FeeRate,
    /// What a replacement pays on top, per size.
    #[serde(rename = "incrementalrelayfee", deserialize_with = "btc_per_kvb")]
    pub incremental_relay_fee: FeeRate,
    /// The most transactions in a cluster; since Core 31.
    #[serde(rename = "limitclustercount")]
    pub cluster_count: Option<u64>,
    /// The most vB in a cluster; since Core 31.
    #[serde(rename = "limitclustersize")]
    pub cluster_size: Option<u64>,
}

impl MempoolInfo {
    /// Returns the lowest rate that the mempool takes now.
    pub fn lowest_rate(&self) -> FeeRate {
        self.mempool_min_fee.max(self.min_relay_fee)
    }
}

/// Answer of `estimatesmartfee`.
#[derive(Clone, Debug, Deserialize)]
pub struct EstimatedFee {
    /// The rate; none when Core has not seen enough.
    #[serde(default, rename = "feerate", deserialize_with = "opt_btc_per_kvb")]
    pub fee_rate: Option<FeeRate>,
    /// Why there is no rate.
    #[serde(default)]
    pub errors: Vec<String>,
    /// The number of blocks that the rate is for.
    pub blocks: u32,
}

/// Answer of `getnetworkinfo`.
#[derive(Clone, Debug, Deserialize)]
pub struct NetworkInfo {
    /// The version, 290100 for 29.1.
    pub version: u32,
    /// The name and version as told to peers.
    pub subversion: String,
    /// The number of peers.
    pub connections: u32,
}

/// Answer of `submitpackage`.
#[derive(Clone, Debug, Deserialize)]
pub struct PackageResult {
    /// `success`, or why not.
    #[serde(rename = "package_msg")]
    pub message: String,
    /// What became of each transaction.
    #[serde(rename = "tx-results")]
    pub results: BTreeMap<Wtxid, PackageTxResult>,
    /// What they replaced.
    #[serde(default, rename = "replaced-transactions")]
    pub replaced: Vec<Txid>,
}

/// What became of one transaction of a package.
#[derive(Clone, Debug, Deserialize)]
pub struct PackageTxResult {
    /// The transaction.
    pub txid: Txid,
    /// Why it was refused.
    pub error: Option<String>,
}

/// One answer of `gettxspendingprevout`.
#[derive(Clone, Debug, Deserialize)]
pub struct SpendingPrevout {
    /// The transaction of the output.
    pub txid: Txid,
    /// Its index.
    pub vout: u32,
    /// The mempool transaction that spends it.
    #[serde(rename = "spendingtxid")]
    pub spending_txid: Option<Txid>,
}

/// Answer of `waitfornewblock`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct WaitedBlock {
    pub(crate) hash: BlockHash,
    pub(crate) height: u32,
}

fn script_hex<'de, D: Deserializer<'de>>(d: D) -> Result<ScriptBuf, D::Error> {
    #[derive(Deserialize)]
    struct Object {
        hex: String,
    }
    ScriptBuf::from_hex(&Object::deserialize(d)?.hex).map_err(D::Error::custom)
}

fn btc_per_kvb<'de, D: Deserializer<'de>>(d: D) -> Result<FeeRate, D::Error> {
    let btc = f64::deserialize(d)?;
    let sat_per_kvb = Amount::from_btc(btc).map_err(D::Error::custom)?.to_sat();
    // Rounded up: a floor that is rounded down is not met.
    Ok(FeeRate::from_sat_per_kwu(sat_per_kvb.div_ceil(4)))
}

fn opt_btc_per_kvb<'de, D: Deserializer<'de>>(d: D) -> Result<Option<FeeRate>, D::Error> {
    btc_per_kvb(d).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fee_rates_round_up() {
        let fee: EstimatedFee = serde_json::from_str(r#"{"feerate":0.00001001,"blocks":2}"#).unwrap();
        assert_eq!(fee.fee_rate, Some(FeeRate::from_sat_per_kwu(251)));
        let none: EstimatedFee = serde_json::from_str(r#"{"errors":["x"],"blocks":2}"#).unwrap();
        assert_eq!(none.fee_rate, None);
        let negative = serde_json::from_str::<EstimatedFee>(r#"{"feerate":-1.0,"blocks":2}"#);
        assert!(negative.is_err());
    }
}
