//! The methods of Bitcoin Core that are used, with types.

use std::time::Duration;

use bitcoin::{
    Address, Block, BlockHash, OutPoint, Transaction, Txid,
    block::Header,
    consensus::encode::{deserialize_hex, serialize_hex},
    hex::FromHex,
};
use serde_json::{Value, json};

use super::{
    BlockchainInfo, Client, EstimatedFee, HeaderInfo, MempoolAccept, MempoolEntry, MempoolInfo, NetworkInfo,
    PackageResult, Repeat, RpcError, SpendingPrevout, TxOutInfo, types::WaitedBlock,
};
use crate::BlockRef;

/// What the HTTP call may take longer than the wait that it asks Core for.
const WAIT_MARGIN: Duration = Duration::from_secs(10);
/// Core's default guard against high fees, in BTC/kvB: it has to be named before the next parameter can be.
const MAX_FEE_RATE: f64 = 0.1;
/// What a transaction may burn, in BTC: all.
const MAX_BURN: u64 = 21_000_000;

fn not_hex(method: &'static str, error: impl ToString) -> RpcError {
    RpcError::Malformed {
        method,
        reason: error.to_string(),
    }
}

/// The methods. Each fails with [`RpcError`], which names the method.
#[allow(clippy::missing_errors_doc, reason = "said once for all of them above")]
impl Client {
    /// Calls `getblockchaininfo`.
    pub async fn get_blockchain_info(&self) -> Result<BlockchainInfo, RpcError> {
        self.call("getblockchaininfo", &[]).await
    }

    /// Calls `getnetworkinfo`.
    pub async fn get_network_info(&self) -> Result<NetworkInfo, RpcError> {
        self.call("getnetworkinfo", &[]).await
    }

    /// Calls `getbestblockhash`.
    pub async fn get_best_block_hash(&self) -> Result<BlockHash, RpcError> {
        self.call("getbestblockhash", &[]).await
    }

    /// Returns the hash at a height of the best chain, none above its tip.
    pub async fn get_block_hash(&self, height: u32) -> Result<Option<BlockHash>, RpcError> {
        match self.call("getblockhash", &[json!(height)]).await {
            Err(e) if e.code() == Some(super::code::INVALID_PARAMETER) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Returns a block's header and place, none when Core does not know the block.
    pub async fn get_header_info(&self, hash: &BlockHash) -> Result<Option<HeaderInfo>, RpcError> {
        match self.call("getblockheader", &[json!(hash), json!(true)]).await {
            Err(e) if e.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Returns a block's header.
    pub async fn get_header(&self, hash: &BlockHash) -> Result<Header, RpcError> {
        const METHOD: &str = "getblockheader";
        let text: String = self.call(METHOD, &[json!(hash), json!(false)]).await?;
        deserialize_hex(&text).map_err(|e| not_hex(METHOD, e))
    }

    /// Returns a block's bytes as serialised on the network.
    pub async fn get_block_bytes(&self, hash: &BlockHash) -> Result<Vec<u8>, RpcError> {
        const METHOD: &str = "getblock";
        let text: String = self.call(METHOD, &[json!(hash), json!(0)]).await?;
        Vec::from_hex(&text).map_err(|e| not_hex(METHOD, e))
    }

    /// Returns a block.
    pub async fn get_block(&self, hash: &BlockHash) -> Result<Block, RpcError> {
        let bytes = self.get_block_bytes(hash).await?;
        bitcoin::consensus::deserialize(&bytes).map_err(|e| not_hex("getblock", e))
    }

    /// Returns a transaction of the mempool (of any block, when Core has a transaction index), none when
    /// Core does not find it.
    pub async fn get_raw_transaction(&self, txid: &Txid) -> Result<Option<Transaction>, RpcError> {
        self.raw_transaction(&[json!(txid), json!(0)]).await
    }

    /// Returns a transaction of a given block, none when it is not there.
    pub async fn get_raw_transaction_in(
        &self,
        txid: &Txid,
        block: &BlockHash,
    ) -> Result<Option<Transaction>, RpcError> {
        self.raw_transaction(&[json!(txid), json!(0), json!(block)]).await
    }

    async fn raw_transaction(&self, params: &[Value]) -> Result<Option<Transaction>, RpcError> {
        const METHOD: &str = "getrawtransaction";
        match self.call::<String>(METHOD, params).await {
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
            Ok(text) => deserialize_hex(&text).map(Some).map_err(|e| not_hex(METHOD, e)),
        }
    }

    /// Returns an output when it is unspent, in the chain alone or after the mempool too.
    pub async fn get_tx_out(
        &self,
        outpoint: &OutPoint,
        include_mempool: bool,
    ) -> Result<Option<TxOutInfo>, RpcError> {
        let params = [json!(outpoint.txid), json!(outpoint.vout), json!(include_mempool)];
        self.call("gettxout", &params).await
    }

    /// Calls `sendrawtransaction`. Core's default guard against high fees (0.1 BTC/kvB) stays; that against burning does
    /// not, because who burns here means to.
    pub async fn send_raw_transaction(&self, tx: &Transaction) -> Result<Txid, RpcError> {
        let params = [json!(serialize_hex(tx)), json!(MAX_FEE_RATE), json!(MAX_BURN)];
        self.call("sendrawtransaction", &params).await
    }

    /// Calls `submitpackage`: parents first, the child last.
    ///
    /// Without Core's guard against high fees, which looks at each transaction alone: a small child that pays for a large
    /// parent has a rate that is high by itself. Nor with that against burning.
    pub async fn submit_package(&self, txs: &[&Transaction]) -> Result<PackageResult, RpcError> {
        let hex: Vec<String> = txs.iter().map(|tx| serialize_hex(*tx)).collect();
        let params = [json!(hex), json!(0), json!(MAX_BURN)];
        self.call("submitpackage", &params).await
    }

    /// Calls `testmempoolaccept`.
    pub async fn test_mempool_accept(&self, txs: &[&Transaction]) -> Result<Vec<MempoolAccept>, RpcError> {
        let hex: Vec<String> = txs.iter().map(|tx| serialize_hex(*tx)).collect();
        self.call("testmempoolaccept", &[json!(hex)]).await
    }

    /// Returns a transaction's place in the mempool, none when it is not there.
    pub async fn get_mempool_entry(&self, txid: &Txid) -> Result<Option<MempoolEntry>, RpcError> {
        match self.call("getmempoolentry", &[json!(txid)]).await {
            Err(e) if e.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Calls `getmempoolinfo`.
    pub async fn get_mempool_info(&self) -> Result<MempoolInfo, RpcError> {
        self.call("getmempoolinfo", &[]).await
    }

    /// Returns the ids of all transactions in the mempool.
    pub async fn get_raw_mempool(&self) -> Result<Vec<Txid>, RpcError> {
        self.call("getrawmempool", &[]).await
    }

    /// Returns which mempool transactions spend the outputs, in the order of the outputs.
    pub async fn get_tx_spending_prevout(
        &self,
        outpoints: &[OutPoint],
    ) -> Result<Vec<SpendingPrevout>, RpcError> {
        let outputs: Vec<Value> = outpoints
            .iter()
            .map(|o| json!({ "txid": o.txid, "vout": o.vout }))
            .collect();
        self.call("gettxspendingprevout", &[json!(outputs)]).await
    }

    /// Calls `estimatesmartfee` for confirmation within `blocks`.
    pub async fn estimate_smart_fee(&self, blocks: u16) -> Result<EstimatedFee, RpcError> {
        self.call("estimatesmartfee", &[json!(blocks)]).await
    }

    /// Waits until Core's tip is not `known` any more, or the time is over, and returns the tip.
    ///
    /// # Errors
    /// [`RpcError`]; Core before 30 does not know the parameter and answers with code -1.
    pub async fn wait_for_new_block(
        &self,
        known: &BlockHash,
        longest: Duration,
    ) -> Result<BlockRef, RpcError> {
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        let params = [json!(millis), json!(known)];
        let timeout = longest.saturating_add(WAIT_MARGIN);
        let tip: WaitedBlock = self
            .call_with("waitfornewblock", &params, timeout, Repeat::OnlyUnsent)
            .await?;
        Ok(BlockRef::new(tip.height, tip.hash))
    }

    /// Mines blocks with the mempool's transactions (regtest).
    pub async fn generate_to_address(
        &self,
        count: u32,
        address: &Address,
    ) -> Result<Vec<BlockHash>, RpcError> {
        let params = [json!(count), json!(address.to_string())];
        self.call_with(
            "generatetoaddress",
            &params,
            self.config().timeout,
            Repeat::OnlyUnsent,
        )
        .await
    }

    /// Mines one block with exactly these transactions (regtest).
    pub async fn generate_block(
        &self,
        address: &Address,
        txs: &[&Transaction],
    ) -> Result<BlockHash, RpcError> {
        #[derive(serde::Deserialize)]
        struct Generated {
            hash: BlockHash,
        }
        let hex: Vec<String> = txs.iter().map(|tx| serialize_hex(*tx)).collect();
        let params = [json!(address.to_string()), json!(hex)];
        let timeout = self.config().timeout;
        let done: Generated = self
            .call_with("generateblock", &params, timeout, Repeat::OnlyUnsent)
            .await?;
        Ok(done.hash)
    }

    /// Makes Core treat a block as invalid (tests).
    pub async fn invalidate_block(&self, hash: &BlockHash) -> Result<(), RpcError> {
        self.call("invalidateblock", &[json!(hash)]).await
    }

    /// Undoes [`Self::invalidate_block`].
    pub async fn reconsider_block(&self, hash: &BlockHash) -> Result<(), RpcError> {
        self.call("reconsiderblock", &[json!(hash)]).await
    }

    /// Sets Core's clock, in seconds since 1970; 0 gives it back (regtest).
    pub async fn set_mock_time(&self, time: u64) -> Result<(), RpcError> {
        self.call("setmocktime", &[json!(time)]).await
    }

    /// Changes how much a transaction counts for mining (tests).
    pub async fn prioritise_transaction(&self, txid: &Txid, fee_delta: i64) -> Result<bool, RpcError> {
        self.call(
            "prioritisetransaction",
            &[json!(txid), Value::Null, json!(fee_delta)],
        )
        .await
    }

    /// Connects to another node once (tests).
    pub async fn connect_node(&self, address: &str) -> Result<(), RpcError> {
        self.call("addnode", &[json!(address), json!("onetry")]).await
    }

    /// Makes Core write everything to disk, so that a kill loses nothing before this.
    pub async fn flush(&self) -> Result<(), RpcError> {
        // It flushes before it looks at the coins, and is the only call that does so at any time.
        self.call::<Value>("gettxoutsetinfo", &[json!("none")])
            .await
            .map(drop)
    }

    /// Switches peer connections on and off (tests).
    pub async fn set_network_active(&self, active: bool) -> Result<bool, RpcError> {
        self.call("setnetworkactive", &[json!(active)]).await
    }

    /// Asks Core to stop. It answers before it is down.
    pub async fn stop(&self) -> Result<(), RpcError> {
        let timeout = self.config().timeout;
        self.call_with::<String>("stop", &[], timeout, Repeat::OnlyUnsent)
            .await
            .map(drop)
    }
}
