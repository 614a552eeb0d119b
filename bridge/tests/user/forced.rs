//! A forced request that L2 leaves out: who waits for it is told.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bitcoin::{Transaction, Txid};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::ADDRESS;
use crate::world::{TO, World, serve};

/// The sequencing window of the world's chain.
const WINDOW: u32 = 50;
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a node says whose account has money and sends nothing.
pub fn answer(request: &Value, origin: u32) -> Value {
    match request["method"].as_str().unwrap() {
        "rollup_version" => json!({ "client": "test", "chainId": 77 }),
        "eth_getBalance" => json!("0xde0b6b3a7640000"),
        "eth_estimateGas" => json!("0x30d40"),
        "eth_maxPriorityFeePerGas" => json!("0x0"),
        "eth_getBlockByNumber" => json!({ "baseFeePerGas": "0x3b9aca00" }),
        "eth_getTransactionCount" => json!("0x0"),
        "rollup_estimateL1Fee" => json!({ "l1Fee": "0x0" }),
        "eth_getTransactionReceipt" => Value::Null,
        "rollup_syncStatus" => {
            let head = json!({ "number": 5, "l1Origin": { "height": origin } });
            json!({
                "latest": head, "safe": head, "finalized": head, "l1Processed": { "height": origin },
            })
        }
        method => panic!("the command asks for {method}"),
    }
}

/// Serves a node; tells the origin of each head that it has told.
async fn tell_origins(origin: Arc<AtomicU32>, told: UnboundedSender<u32>) -> String {
    serve(move |request| {
        let origin = origin.load(Ordering::SeqCst);
        if request["method"] == "rollup_syncStatus" {
            // Nobody may listen any more when the command ends.
            let _ = told.send(origin);
        }
        answer(request, origin)
    })
    .await
}

/// Waits until the command has seen an origin, and then asked again.
async fn until_seen(told: &mut UnboundedReceiver<u32>, origin: u32) {
    let seen = async {
        let mut times = 0;
        while times < 2 {
            times += u32::from(told.recv().await.unwrap() == origin);
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_request_that_does_not_come_is_given_up_a_window_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let (origin, (tell, mut told)) = (Arc::new(AtomicU32::new(1_000_000)), unbounded_channel());
    let node = tell_origins(Arc::clone(&origin), tell).await;
    let words = format!(
        "withdraw request --json --force --wait --to {ADDRESS} --amount 50000sats --fee 500sats --node-url {node}"
    );
    let child = Command::new(env!("CARGO_BIN_EXE_bitsect-bridge"))
        .args(world.arguments("ann", &words))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // While it is in no block, nothing is late.
    until_seen(&mut told, 1_000_000).await;
    let waiting = world.mempool().await;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let confirmed = world.core.tip().await.unwrap().height + 1;
    // The high origin is not seen together with the block: it would be late then.
    origin.store(confirmed, Ordering::SeqCst);
    until_seen(&mut told, confirmed).await;
    world.core.mine(1).await.unwrap();
    origin.store(confirmed + WINDOW - 1, Ordering::SeqCst);
    until_seen(&mut told, confirmed + WINDOW - 1).await;
    until_seen(&mut told, confirmed + WINDOW - 1).await;
    origin.store(confirmed + WINDOW, Ordering::SeqCst);
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let ended = tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap();
    let said: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(5), "{said}");
    let message = said["error"]["message"].as_str().unwrap();
    for words in [
        format!(
            "by L1 block {confirmed}, and L2 does not have it at origin {}",
            confirmed + WINDOW
        ),
        format!("Bitcoin transaction {} is lost", waiting[0]),
    ] {
        assert!(message.contains(&words), "{words:?} in {message}");
    }
}

impl World {
    /// Forces a request, and gives its Bitcoin transaction.
    async fn force(&self, node: &str) -> Transaction {
        let words = format!(
            "withdraw request --json --force --to {ADDRESS} --amount 50000sats --fee 500sats --node-url {node}"
        );
        let forced = self.run("ann", &words).ok().json();
        self.in_mempool(forced["forcedTxid"].as_str().unwrap().parse().unwrap())
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_request_that_core_lost_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    let node = serve(|request| answer(request, 1)).await;
    let forced = world.force(&node).await;
    let deposit = world.deposit("ann");
    assert_eq!(
        world.in_mempool(deposit.txid).await.input[0].previous_output.txid,
        forced.compute_txid()
    );
    world.lose_mempool(&[]).await;
    // The parent first: its child is taken at once, too.
    world.run("ann", "balance").ok();
    let mempool: BTreeSet<Txid> = world.mempool().await.into_iter().collect();
    assert_eq!(mempool, [forced.compute_txid(), deposit.txid].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_request_that_core_refuses_gives_its_coins_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    let node = serve(|request| answer(request, 1)).await;
    let forced = world.force(&node).await;
    // Nothing is sent below five sats a vbyte.
    world.lose_mempool(&["-minrelaytxfee=0.00005"]).await;
    let again = world.force(&node).await;
    assert_eq!(again.input[0].previous_output, forced.input[0].previous_output);
    assert_eq!(world.mempool().await, [again.compute_txid()]);
    // The same key on another machine spends the coin, in a block.
    world.lose_mempool(&[]).await;
    std::fs::copy(world.file("ann.key"), world.file("twin.key")).unwrap();
    world.deposit("twin");
    world.core.mine(1).await.unwrap();
    let deposit = world
        .run(
            "ann",
            &format!("deposit send --to {TO} --amount 50000sats --json"),
        )
        .ok()
        .json();
    assert_eq!(deposit["stage"], "mempool");
    assert_eq!(world.mempool().await.len(), 1);
}
