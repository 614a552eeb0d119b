//! A node that fails behind a request: what it was given is kept and named.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::{SolEvent, sol};
use bitsect_vm::chain::predeploys::BRIDGE;
use serde_json::{Value, json};

use crate::ADDRESS;
use crate::forced::answer;
use crate::world::{Reply, World, serve_replies};

const NETWORK: i32 = 5;

sol! {
    event WithdrawalRequested(uint64 indexed id, address indexed sender, uint64 amount, uint64 fee, bytes scriptPubKey);
}

/// What a node says that has a request in its block 5, as withdrawal 7, which is paid.
fn accepting(request: &Value) -> Reply {
    let (sender, hash) = (Address::repeat_byte(2), B256::repeat_byte(3));
    Reply::Result(match request["method"].as_str().unwrap() {
        "eth_sendRawTransaction" => json!(hash),
        "eth_getTransactionReceipt" => {
            let event = WithdrawalRequested {
                id: 7,
                sender,
                amount: 50_000,
                fee: 500,
                scriptPubKey: Bytes::new(),
            };
            let log = event.encode_log_data();
            let log = json!({
                "address": BRIDGE, "topics": log.topics(), "data": log.data, "transactionHash": hash,
            });
            json!({ "status": "0x1", "blockNumber": "0x5", "logs": [log] })
        }
        "rollup_withdrawal" => json!({
            "id": 7, "sender": sender, "amountSats": 50_000, "feeSats": 500, "l1Height": 1, "scriptPubKey": "0x0014",
            "block": { "number": 5, "hash": hash, "transactionHash": hash },
            "paid": { "operator": "ab".repeat(32), "txid": "cd".repeat(32), "l1Height": 9 },
        }),
        "eth_getTransactionByHash" => Value::Null,
        "eth_getLogs" => json!([]),
        _ => answer(request, 1),
    })
}

fn request(node: &str) -> String {
    format!(
        "withdraw request --json --to {ADDRESS} --amount 50000sats --fee 500sats --node-url {node} --l1-poll-seconds 1"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_behind_a_request_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    for (failing, what) in [
        ("eth_getTransactionReceipt", "L2 transaction"),
        ("rollup_withdrawal", "withdrawal"),
    ] {
        let node = serve_replies(move |request| match request["method"] == failing {
            true => Reply::Down,
            false => accepting(request),
        })
        .await;
        let done = world.run("ann", &request(&node));
        let error = done.json()["error"].clone();
        let sent = error["sent"].as_str().unwrap();
        assert_eq!(error["kind"], "network");
        done.refused(NETWORK, &format!("{what} {sent} is on its way: node: "));
        let kept = world.session("ann").await.store().requests().unwrap();
        match what {
            "withdrawal" => assert_eq!((sent, kept.len()), ("7", 0)),
            _ => assert_eq!(sent, kept[0].0.to_string()),
        }
        // What is kept is told before another is asked for.
        let node = serve_replies(accepting).await;
        if !kept.is_empty() {
            world.run("ann", &request(&node)).refused(
                3,
                "request: expected no request of an interrupted command, got withdrawal 7",
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_for_a_moment_ends_no_wait() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let asked = Arc::new(AtomicU32::new(0));
    let node = serve_replies(move |request| {
        let is_away = request["method"] == "rollup_withdrawal" && asked.fetch_add(1, Ordering::SeqCst) < 2;
        match is_away {
            true => Reply::Down,
            false => accepting(request),
        }
    })
    .await;
    let done = world.run("ann", &format!("{} --wait", request(&node))).ok();
    assert_eq!(done.json()["stage"], "paid");
    assert!(
        done.err.contains("waiting for Bitcoin Core or the node"),
        "{done:?}"
    );
    // So does one that is forced.
    let asked = Arc::new(AtomicU32::new(0));
    let node = serve_replies(move |request| {
        let is_away = request["method"] == "rollup_syncStatus" && asked.fetch_add(1, Ordering::SeqCst) < 2;
        match is_away {
            true => Reply::Down,
            false => accepting(request),
        }
    })
    .await;
    let done = world
        .run("ann", &format!("{} --force --wait", request(&node)))
        .ok();
    assert_eq!(done.json()["stage"], "paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_sequencer_may_have_stays_kept() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let serve_refusing = |code, words| {
        serve_replies(move |request| match request["method"].as_str().unwrap() {
            "eth_sendRawTransaction" => Reply::Error(code, words),
            "eth_getTransactionReceipt" => Reply::Result(Value::Null),
            _ => accepting(request),
        })
    };
    // What is surely refused is over.
    let refusing = serve_refusing(-32000, "transaction underpriced").await;
    let done = world.run("ann", &request(&refusing));
    assert!(done.json()["error"]["sent"].is_null(), "{done:?}");
    done.refused(NETWORK, "node: eth_sendRawTransaction: transaction underpriced");
    assert!(world.session("ann").await.store().requests().unwrap().is_empty());
    let unsure = serve_refusing(-32007, "failed to reach the sequencer").await;
    let done = world.run("ann", &request(&unsure));
    let kept = world.session("ann").await.store().requests().unwrap();
    assert_eq!(done.json()["error"]["sent"], kept[0].0.to_string());
    done.refused(
        NETWORK,
        "is on its way: node: eth_sendRawTransaction: failed to reach the sequencer",
    );
    world
        .run("ann", &request(&unsure))
        .refused(3, "request: expected no request of an interrupted command");
    // Nothing that only shows something fails where the node does not take it.
    let status = format!("withdraw status --json --node-url {refusing}");
    let done = world.run("ann", &status).ok();
    assert!(
        done.err.contains("the node does not take a request that is kept"),
        "{done:?}"
    );
    assert_eq!(world.session("ann").await.store().requests().unwrap().len(), 1);
}
