//! The OpenRPC document of the public methods, served at `rollup_discover`.

use serde_json::{Value, json};

/// A method's name, its parameters (those with `?` may be left out), and what it gives.
pub(super) const METHODS: &[(&str, &[&str], &str)] = &[
    ("debug_getRawBlock", &["block"], "bytes"),
    ("debug_getRawHeader", &["block"], "bytes"),
    ("debug_getRawReceipts", &["block"], "array"),
    ("debug_getRawTransaction", &["hash"], "bytes"),
    ("debug_traceBlockByHash", &["hash", "options?"], "array"),
    ("debug_traceBlockByNumber", &["tag", "options?"], "array"),
    (
        "debug_traceCall",
        &["transaction", "block?", "options?"],
        "object",
    ),
    ("debug_traceTransaction", &["hash", "options?"], "object"),
    ("eth_accounts", &[], "array"),
    ("eth_baseFee", &[], "quantity"),
    ("eth_blobBaseFee", &[], "quantity"),
    ("eth_blockNumber", &[], "quantity"),
    (
        "eth_call",
        &["transaction", "block?", "stateOverrides?", "blockOverrides?"],
        "bytes",
    ),
    ("eth_chainId", &[], "quantity"),
    (
        "eth_createAccessList",
        &["transaction", "block?", "stateOverrides?"],
        "object",
    ),
    (
        "eth_estimateGas",
        &["transaction", "block?", "stateOverrides?", "blockOverrides?"],
        "quantity",
    ),
    ("eth_feeHistory", &["count", "tag", "percentiles?"], "object"),
    ("eth_gasPrice", &[], "quantity"),
    ("eth_getBalance", &["address", "block?"], "quantity"),
    ("eth_getBlockByHash", &["hash", "full?"], "object"),
    ("eth_getBlockByNumber", &["tag", "full?"], "object"),
    ("eth_getBlockReceipts", &["block"], "array"),
    ("eth_getBlockTransactionCountByHash", &["hash"], "quantity"),
    ("eth_getBlockTransactionCountByNumber", &["tag"], "quantity"),
    ("eth_getCode", &["address", "block?"], "bytes"),
    ("eth_getFilterChanges", &["filterId"], "array"),
    ("eth_getFilterLogs", &["filterId"], "array"),
    ("eth_getHeaderByHash", &["hash"], "object"),
    ("eth_getHeaderByNumber", &["tag"], "object"),
    ("eth_getLogs", &["filter"], "array"),
    ("eth_getProof", &["address", "slots", "block?"], "object"),
    (
        "eth_getRawTransactionByBlockHashAndIndex",
        &["hash", "index"],
        "bytes",
    ),
    (
        "eth_getRawTransactionByBlockNumberAndIndex",
        &["tag", "index"],
        "bytes",
    ),
    ("eth_getRawTransactionByHash", &["hash"], "bytes"),
    ("eth_getStorageAt", &["address", "slot", "block?"], "hash"),
    (
        "eth_getTransactionByBlockHashAndIndex",
        &["hash", "index"],
        "object",
    ),
    (
        "eth_getTransactionByBlockNumberAndIndex",
        &["tag", "index"],
        "object",
    ),
    ("eth_getTransactionByHash", &["hash"], "object"),
    ("eth_getTransactionCount", &["address", "block?"], "quantity"),
    ("eth_getTransactionReceipt", &["hash"], "object"),
    ("eth_getUncleByBlockHashAndIndex", &["hash", "index"], "object"),
    ("eth_getUncleByBlockNumberAndIndex", &["tag", "index"], "object"),
    ("eth_getUncleCountByBlockHash", &["hash"], "quantity"),
    ("eth_getUncleCountByBlockNumber", &["tag"], "quantity"),
    ("eth_hashrate", &[], "quantity"),
    ("eth_maxPriorityFeePerGas", &[], "quantity"),
    ("eth_mining", &[], "boolean"),
    ("eth_newBlockFilter", &[], "quantity"),
    ("eth_newFilter", &["filter"], "quantity"),
    ("eth_newPendingTransactionFilter", &["full?"], "quantity"),
    ("eth_sendRawTransaction", &["raw"], "hash"),
    ("eth_sendRawTransactionSync", &["raw", "timeoutMs?"], "object"),
    ("eth_simulateV1", &["payload", "block?"], "array"),
    ("eth_subscribe", &["kind", "options?"], "string"),
    ("eth_syncing", &[], "object"),
    ("eth_uninstallFilter", &["filterId"], "boolean"),
    ("eth_unsubscribe", &["subscriptionId"], "boolean"),
    ("net_listening", &[], "boolean"),
    ("net_peerCount", &[], "quantity"),
    ("net_version", &[], "string"),
    ("rollup_batchOf", &["number"], "object"),
    ("rollup_chainStateAt", &["number"], "object"),
    ("rollup_checkRecord", &["number", "ticket"], "object"),
    ("rollup_deposit", &["outpoint"], "object"),
    ("rollup_discover", &[], "object"),
    ("rollup_estimateL1Fee", &["transactionOrRaw"], "object"),
    ("rollup_l1OriginOf", &["number"], "object"),
    ("rollup_syncStatus", &[], "object"),
    ("rollup_unitOf", &["number"], "number"),
    ("rollup_unitRecord", &["number"], "object"),
    ("rollup_credit", &["txid", "block?"], "number"),
    ("rollup_vault", &["block?"], "object"),
    ("rollup_version", &[], "object"),
    ("rollup_withdrawal", &["number", "block?"], "object"),
    ("rollup_withdrawals", &["number", "count", "block?"], "array"),
    ("rpc_discover", &[], "object"),
    ("rpc_modules", &[], "object"),
    ("txpool_content", &[], "object"),
    ("txpool_contentFrom", &["address"], "object"),
    ("txpool_inspect", &[], "object"),
    ("txpool_status", &[], "object"),
    ("web3_clientVersion", &[], "string"),
    ("web3_sha3", &["data"], "hash"),
];

/// The schema of a parameter or result by its kind.
fn schema(kind: &str) -> Value {
    match kind {
        "hash" => json!({ "type": "string", "pattern": "^0x[0-9a-fA-F]{64}$" }),
        "address" => json!({ "type": "string", "pattern": "^0x[0-9a-fA-F]{40}$" }),
        "bytes" | "raw" | "data" => json!({ "type": "string", "pattern": "^0x([0-9a-fA-F]{2})*$" }),
        "quantity" | "index" | "filterId" | "slot" => {
            json!({ "type": "string", "pattern": "^0x[0-9a-fA-F]{1,64}$" })
        }
        "tag" => json!({ "oneOf": [
            { "type": "string", "enum": ["earliest", "finalized", "safe", "latest", "pending"] },
            { "type": "string", "pattern": "^0x(0|[1-9a-f][0-9a-f]*)$" },
        ] }),
        "block" => json!({ "oneOf": [schema("tag"), { "type": "object", "description": "EIP-1898" }] }),
        "boolean" | "full" => json!({ "type": "boolean" }),
        "number" | "count" | "timeoutMs" => json!({ "oneOf": [{ "type": "integer" }, schema("quantity")] }),
        "outpoint" => json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}:[0-9]+$" }),
        "string" | "kind" | "subscriptionId" => json!({ "type": "string" }),
        "array" | "slots" | "percentiles" => json!({ "type": "array" }),
        "transactionOrRaw" => json!({ "oneOf": [{ "type": "object" }, schema("bytes")] }),
        _ => json!({ "type": "object" }),
    }
}

/// Makes the document.
pub(super) fn document() -> Value {
    let methods: Vec<Value> = METHODS
        .iter()
        .map(|(name, params, result)| method(name, params, result))
        .collect();
    json!({
        "openrpc": "1.3.2",
        "info": { "title": "Bitsect", "version": env!("CARGO_PKG_VERSION"), "description": "docs/json-rpc.md" },
        "methods": methods,
    })
}

fn method(name: &str, params: &[&str], result: &str) -> Value {
    let param = |param: &&str| {
        let kind = param.trim_end_matches('?');
        json!({ "name": kind, "required": !param.ends_with('?'), "schema": schema(kind) })
    };
    json!({
        "name": name,
        "paramStructure": "by-position",
        "params": params.iter().map(param).collect::<Vec<_>>(),
        "result": { "name": "result", "schema": schema(result) },
    })
}
