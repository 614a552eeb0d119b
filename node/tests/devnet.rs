//! The devnet from outside: a verifier that knows only Bitcoin has the sequencer's blocks; stops, `kill -9`, deposits and forced
//! transactions. Each test runs the real binary with a real Bitcoin Core.

mod common;

use std::process::Command;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use bitsect_node::devnet::ACCOUNTS;
use bitsect_vm::chain::sats_to_wei;
use common::{Devnet, assert_same, quantity, sign};
use rand::Rng;
use serde_json::json;

/// How often the node is killed; a long run sets `BITSECT_KILLS`.
const KILLS: u32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn verifier_follows_through_bitcoin_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("devnet");
    let net = Devnet::start(&data, &["--fresh"]);
    let to = Address::repeat_byte(0x77);
    let mut last = 0;
    for nonce in 0..5 {
        let raw = net.sequencer.transfer(0, nonce, to, 1_000).await;
        last = net.sequencer.included(net.sequencer.send(&raw).await).await;
    }
    // A transaction given to the verifier gets there too.
    let raw = net.verifier.transfer(0, 5, to, 1_000).await;
    last = last.max(net.sequencer.included(net.verifier.send(&raw).await).await);
    net.verifier.reaches("safe", last).await;
    net.sequencer.reaches("safe", last).await;
    assert_same(&net, 0, last).await;
    assert_eq!(net.verifier.balance(to).await, U256::from(6_000));
    net.verifier.reaches("finalized", 1).await;
    let metrics = reqwest::get(&net.metrics).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("bitsect_safe_block"), "{metrics}");
    let genesis = net.sequencer.block(0).await["hash"].clone();

    assert_eq!(net.stop(), Some(0));
    let net = Devnet::start(&data, &[]);
    assert_eq!(net.sequencer.block(0).await["hash"], genesis);
    assert_eq!(net.sequencer.nonce(0).await, 6);
    let raw = net.sequencer.transfer(0, 6, to, 1_000).await;
    let block = net.sequencer.included(net.sequencer.send(&raw).await).await;
    assert!(block > last);
    net.verifier.reaches("safe", block).await;
    assert_same(&net, last, block).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_and_forced_transactions_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("devnet");
    let net = Devnet::start(&data, &["--fresh"]);
    let run = |args: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_bitsect-node"))
            .args(args)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let (folder, to) = (data.to_str().unwrap(), Address::repeat_byte(0x55));
    run(&[
        "devnet-deposit",
        "--devnet-dir",
        folder,
        "--to",
        &to.to_string(),
        "--sats",
        "50000",
    ]);
    let arrived = net.verifier.wait("the deposit", async || {
        (net.verifier.balance(to).await == sats_to_wei(50_000)).then_some(())
    });
    arrived.await;
    for node in [&net.sequencer, &net.verifier] {
        let vault = node.get("rollup_vault", json!([])).await;
        assert_eq!(
            (&vault["holds"], &vault["vaultSats"]),
            (&json!(true), &json!(50_000))
        );
    }

    let raw = sign(1, 0, Address::repeat_byte(0x56), 9, 1_000_000_000);
    let url = std::fs::read_to_string(data.join("bitcoin.url")).unwrap();
    let cookie = data.join("bitcoin").join("regtest").join(".cookie");
    let (chain, user) = (data.join("bitsect.chain.toml"), data.join("user"));
    run(&[
        "force",
        "--raw",
        &raw.to_string(),
        "--wallet-dir",
        user.to_str().unwrap(),
        "--chain-file",
        chain.to_str().unwrap(),
        "--l1-url",
        &url,
        "--l1-cookie-file",
        cookie.to_str().unwrap(),
    ]);
    let forced = net.verifier.wait("the forced transaction", async || {
        (net.verifier.balance(Address::repeat_byte(0x56)).await == U256::from(9)).then_some(())
    });
    forced.await;
    let last = net.verifier.head("safe").await;
    net.sequencer.reaches("safe", last).await;
    assert_same(&net, 0, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("devnet");
    let kills = std::env::var("BITSECT_KILLS")
        .ok()
        .map_or(KILLS, |text| text.parse().unwrap());
    let mut net = Devnet::start(&data, &["--fresh"]);
    let mut acknowledged: Vec<B256> = Vec::new();
    let to = Address::repeat_byte(0x99);
    for _ in 0..kills {
        let first = net.sequencer.nonce(2).await;
        assert_eq!(first, acknowledged.len() as u64, "{}", ACCOUNTS[2].address);
        for nonce in first..first + 5 {
            let raw = net.sequencer.transfer(2, nonce, to, 1).await;
            acknowledged.push(net.sequencer.send(&raw).await);
        }
        let pause = rand::rng().random_range(0..3_000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        net.kill();
        net = Devnet::start(&data, &[]);
    }
    let mut last = 0;
    for hash in &acknowledged {
        last = last.max(net.sequencer.included(*hash).await);
    }
    net.verifier.reaches("safe", last).await;
    net.sequencer.reaches("safe", last).await;
    assert_same(&net, 0, last).await;
    assert_eq!(net.verifier.balance(to).await, U256::from(acknowledged.len()));
    let dropped = net.verifier.get("rollup_syncStatus", json!([])).await;
    assert!(dropped.is_object(), "{dropped}");
    assert!(quantity(&net.verifier.block(last).await["number"]) == last);
}
