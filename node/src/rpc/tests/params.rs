//! Every method against missing, extra, mistyped, huge and out-of-range parameters.
//!
//! The rows are the OpenRPC table: a method that has none fails here, and so does a row without a method.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::chain::{self, address, deploy, poke, transfer};
use super::{Node, chain::Chain};
use crate::rpc::config::RpcConfig;
use crate::rpc::openrpc::METHODS;

/// Codes that bad parameters may be answered with. -32603 would be our own fault.
const ALLOWED: [i64; 7] = [3, -32000, -32002, -32005, -32008, -32602, 4];
/// No call of these may take longer.
const HANG: Duration = Duration::from_secs(20);

fn fill(chain: &Chain) -> Vec<bitsect_vm::chain::Transaction> {
    let contract = address(0).create(0);
    let first = vec![deploy(0, 0), transfer(1, 0)];
    let second = vec![poke(0, 1, contract, 7), transfer(1, 1)];
    chain.block(first.clone(), None);
    chain.block(second, Some(2));
    first
}

/// A value of a kind that the method accepts.
fn valid(kind: &str, method: &str, node: &Node) -> Value {
    let snapshot = node.chain.store.read().unwrap();
    let block_hash = json!(snapshot.block_hash(1).unwrap().unwrap());
    let tx_hash = json!(
        snapshot
            .transaction_at(1, 0)
            .unwrap()
            .unwrap()
            .transaction
            .tx_hash()
    );
    let transaction =
        json!({ "from": address(1), "to": address(0).create(0), "data": format!("0x{:064x}", 5) });
    match kind.trim_end_matches('?') {
        "hash" if method.contains("Block") || method.contains("Header") || method.contains("Uncle") => {
            block_hash
        }
        "hash" => tx_hash,
        "block" | "tag" => json!("0x1"),
        "transaction" | "transactionOrRaw" => transaction,
        "address" => json!(address(1)),
        "slot" => json!("0x0"),
        "slots" => json!(["0x0"]),
        "index" => json!("0x0"),
        "count" | "number" => json!(1),
        "timeoutMs" => json!(1),
        "full" => json!(true),
        "percentiles" => json!([10.0, 50.0]),
        "filter" => json!({ "fromBlock": "0x0", "toBlock": "latest" }),
        "raw" => json!(chain::raw(&transfer(3, 0))),
        "data" => json!("0x01"),
        "payload" => json!({ "blockStateCalls": [{ "calls": [transaction] }] }),
        "options" | "stateOverrides" | "blockOverrides" => json!({}),
        "filterId" | "subscriptionId" => json!("0x1"),
        "outpoint" => json!(format!("{}:1", "ab".repeat(32))),
        "ticket" => json!(format!("0x{}", "ab".repeat(24))),
        "txid" => json!("ab".repeat(32)),
        "kind" => json!("newHeads"),
        other => panic!("no valid value for a parameter of kind {other}"),
    }
}

/// Values that are wrong in one way or another for most kinds.
fn bad() -> Vec<Value> {
    let huge = format!("0x{}", "f".repeat(300));
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    vec![
        json!(true),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("0x"),
        json!("0xzz"),
        json!("0x1"),
        json!("x".repeat(100_000)),
        json!(huge),
        json!("0xffffffffffffffff"),
        json!(format!("0x{}", "f".repeat(64))),
        json!("latest"),
        json!("nonsense"),
        json!({}),
        json!([]),
        json!([null, 1, "0x"]),
        json!({ "to": 5, "gas": "0xffffffffffffffff", "blockHash": "0x1", "fromBlock": "0x9", "toBlock": "0x1" }),
        json!({ "gas": "0xffffffffffffffff", "gasPrice": "0xffffffffffffffffffffffffffffffff", "value": "0x1" }),
        json!({ "maxFeePerGas": "0xffffffffffffffffffffffffffffffff", "maxPriorityFeePerGas": "0x1", "nonce": "0x5" }),
        json!({ "fromBlock": "0x0", "toBlock": "0xffffffffffffffff" }),
        json!({ "blockNumber": "0x0", "tracer": "nothing", "timeout": "x", "time": "0xffffffffffffffff" }),
        json!({ "tracer": "callTracer", "tracerConfig": { "onlyTopCall": 3 } }),
        json!({ address(1).to_string(): { "state": {}, "stateDiff": {} } }),
        json!({ "blockStateCalls": [{ "blockOverrides": { "number": "0xffffffffffffffff" } }] }),
        json!({ "blockStateCalls": [{ "blockOverrides": { "time": "0x0" }, "calls": [{}] }], "validation": true }),
        deep,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_survives_every_parameter() {
    let node = Node::with(RpcConfig {
        call_timeout: Duration::from_secs(15),
        ..RpcConfig::default()
    });
    fill(&node.chain);
    let table: BTreeSet<&str> = METHODS.iter().map(|(name, ..)| *name).collect();
    let registered: BTreeSet<&str> = crate::rpc::methods(node.context.clone()).method_names().collect();
    assert_eq!(
        registered, table,
        "each method has a row in openrpc.rs, and each row a method"
    );
    for (method, params, _) in METHODS {
        // Over HTTP these two are refused before they look; transport.rs has them.
        if matches!(*method, "eth_subscribe" | "eth_unsubscribe") {
            continue;
        }
        let good: Vec<Value> = params.iter().map(|kind| valid(kind, method, &node)).collect();
        let required = params.iter().take_while(|kind| !kind.ends_with('?')).count();
        check_good(&node, method, &good).await;
        for count in 0..required {
            let (code, text) = node.error(method, json!(good[..count])).await;
            assert_eq!(code, -32602, "{method} with {count} parameters: {text}");
            assert!(
                text.starts_with(&format!("missing value for required argument {count}")),
                "{method}: {text}"
            );
        }
        let mut extra = good.clone();
        extra.push(json!(1));
        let (code, text) = node.error(method, json!(extra)).await;
        assert_eq!(code, -32602, "{method}: {text}");
        assert_eq!(
            text,
            format!("too many arguments, want at most {}", params.len()),
            "{method}"
        );
        for at in 0..good.len() {
            for value in bad() {
                let mut mistyped = good.clone();
                mistyped[at] = value;
                check_bad(&node, method, json!(mistyped)).await;
            }
        }
    }
}

/// A good call gives no error about its parameters.
async fn check_good(node: &Node, method: &str, params: &[Value]) {
    let response = node.response(method, json!(params)).await;
    // No filter has this id; nothing is mined in the millisecond that the sync call waits; Geth's words for a
    // transaction that is there twice.
    let expected = match method {
        "eth_getFilterChanges" | "eth_getFilterLogs" => Some("filter not found"),
        "eth_sendRawTransactionSync" => Some("already known"),
        _ => None,
    };
    match (expected, response["error"]["message"].as_str()) {
        (Some(expected), Some(got)) => assert_eq!(got, expected, "{method}"),
        (None, None) => {}
        (_, got) => panic!("{method} {params:?}: {got:?}"),
    }
}

async fn check_bad(node: &Node, method: &str, params: Value) {
    let answer = tokio::time::timeout(HANG, node.response(method, params.clone())).await;
    let short: String = params.to_string().chars().take(300).collect();
    let Ok(response) = answer else {
        panic!("{method} hangs on {short}")
    };
    let Some(code) = response["error"]["code"].as_i64() else {
        return;
    };
    let simulation = (-38_100..=-38_000).contains(&code) && method == "eth_simulateV1";
    assert!(
        ALLOWED.contains(&code) || simulation,
        "{method} on {short}: {response}"
    );
}
