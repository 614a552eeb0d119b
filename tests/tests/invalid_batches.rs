//! Batches that break the rules, put on Bitcoin by hand with the sequencer's own key: they derive to nothing, or to their
//! blocks before the invalid one, on every verifier alike; and the sequencer goes on after them.

use alloy_primitives::{Address, keccak256};
use bitsect_node::convert;
use bitsect_tests::{HandPoster, Network, NetworkOptions, Wallet, assert_same, batch_on, underivable, until};
use bitsect_vm::derive::payload::encode;

const TO: Address = Address::repeat_byte(0xdd);

async fn dropped_batches(metrics: &str) -> String {
    let text = reqwest::get(metrics)
        .await
        .expect("metrics")
        .text()
        .await
        .expect("metrics");
    let line = text
        .lines()
        .find(|line| line.starts_with("bitsect_dropped_batches "));
    line.expect("the metric").to_owned()
}

/// Waits for the metric: it follows the store, which the RPC reads.
async fn counted(metrics: &str, expected: &str) {
    until(expected, || async {
        let got = dropped_batches(metrics).await;
        if got == expected { Ok(()) } else { Err(got) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_batches_derive_to_nothing() {
    let network = Network::start(NetworkOptions::default()).await;
    let chain = network.chain();
    let verifier = network.verifier("verifier").await;
    let (mut alice, mut bob) = (Wallet::funded(0), Wallet::funded(1));
    let mut poster = HandPoster::new(&network, convert::outpoint(&chain.params.derive.baton)).await;

    let first = alice.transfer(TO, 1);
    let valid = batch_on(&network, &verifier.rpc, &[vec![first.clone()]]).await;
    let nothing = underivable(&valid);
    for (count, payload) in (1..).zip(nothing) {
        poster.post(&network.core, &payload).await;
        network.synced(&verifier.rpc).await;
        assert_eq!(verifier.rpc.height("safe").await, 0, "batch {count}");
        let expected = format!("bitsect_dropped_batches {count}");
        counted(&verifier.metrics, &expected).await;
    }

    // The first block stands, the second has a gap before its nonce.
    let mut gap = alice.clone();
    gap.nonce += 4;
    let never = gap.transfer(TO, 2);
    let blocks = [
        vec![first.clone()],
        vec![never.clone()],
        vec![alice.transfer(TO, 3)],
    ];
    let partly = batch_on(&network, &verifier.rpc, &blocks).await;
    poster
        .post(&network.core, &encode(&partly).expect("a batch"))
        .await;
    network.synced(&verifier.rpc).await;
    assert_eq!(verifier.rpc.height("safe").await, 1);

    // A commit that is never revealed holds up the next batch until the timeout, and no longer.
    let hidden =
        encode(&batch_on(&network, &verifier.rpc, &[vec![alice.legacy(TO, 4)]]).await).expect("a batch");
    poster.commit(&network.core, &hidden).await;
    let second = bob.transfer(TO, 5);
    let next = batch_on(&network, &verifier.rpc, &[vec![second.clone()]]).await;
    poster.post(&network.core, &encode(&next).expect("a batch")).await;
    network.synced(&verifier.rpc).await;
    assert_eq!(verifier.rpc.height("safe").await, 1);
    network
        .core
        .mine(chain.params.derive.reveal_timeout)
        .await
        .expect("blocks are mined");
    network.synced(&verifier.rpc).await;
    assert_eq!(verifier.rpc.height("safe").await, 2);
    drop(poster);

    // The sequencer builds and posts on what is left, with a baton that it did not move itself.
    let sequencer = network.sequencer().await;
    let mut alice = Wallet::funded(0);
    alice.nonce = 1;
    let hash = until("the sequencer to take a transaction", || {
        let raw = alice.clone().transfer(TO, 6);
        let rpc = sequencer.rpc.clone();
        async move { rpc.send(&raw).await.map_err(|fault| fault.to_string()) }
    })
    .await;
    sequencer.rpc.included(&hash).await;
    let latest = sequencer.rpc.height("latest").await;
    network.mine_until_safe(&sequencer.rpc, latest).await;
    network.mine_until_safe(&verifier.rpc, latest).await;
    let fresh = network.verifier("fresh").await;
    network.mine_until_safe(&fresh.rpc, latest).await;
    assert_same(&sequencer.rpc, &verifier.rpc, latest).await;
    assert_same(&sequencer.rpc, &fresh.rpc, latest).await;
    for (raw, expected) in [(&first, true), (&second, true), (&never, false)] {
        let receipt = fresh.rpc.receipt(&keccak256(raw).to_string()).await;
        assert_eq!(receipt["status"] == "0x1", expected, "{receipt}");
    }
}
