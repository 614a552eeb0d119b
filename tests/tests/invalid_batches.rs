//! Batches that break the rules, put on Bitcoin by hand with the sequencer's own key: they derive to nothing, or to their
//! blocks before the invalid one, on every verifier alike; and the sequencer goes on after them.

use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, keccak256};
use bitsect_node::convert;
use bitsect_tests::{HandPoster, Network, NetworkOptions, Rpc, Wallet, assert_same, number, until};
use bitsect_vm::chain::Transaction;
use bitsect_vm::derive::payload::{Batch, BatchBlock, encode};
use serde_json::json;

const TO: Address = Address::repeat_byte(0xdd);

/// Makes a batch on a node's safe block, with the same origin: a block for each list of transactions.
async fn batch_on(network: &Network, rpc: &Rpc, blocks: &[Vec<Vec<u8>>]) -> Batch {
    let tip = rpc.get("eth_getBlockByNumber", json!(["safe", false])).await;
    let origin = rpc
        .get("rollup_l1OriginOf", json!([number(&tip["number"])]))
        .await;
    let height = u32::try_from(origin["height"].as_u64().expect("a height")).expect("a height");
    let client = network.core.client();
    let hash = client.get_block_hash(height).await.expect("Bitcoin Core answers");
    let timestamp = number(&tip["timestamp"]);
    let decode = |raw: &Vec<u8>| Transaction::decode_2718(&mut raw.as_slice()).expect("a transaction");
    Batch {
        first_block: number(&tip["number"]) + 1,
        parent_hash: tip["hash"].as_str().expect("a hash").parse().expect("a hash"),
        first_origin: height,
        last_origin_hash: convert::block_hash(&hash.expect("the origin is in the chain")),
        blocks: blocks
            .iter()
            .map(|transactions| BatchBlock {
                timestamp,
                advances_origin: false,
                transactions: transactions.iter().map(decode).collect(),
            })
            .collect(),
    }
}

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

    // Not a payload; a payload cut off; one on another parent; one at another number.
    let first = alice.transfer(TO, 1);
    let valid = batch_on(&network, &verifier.rpc, &[vec![first.clone()]]).await;
    let encoded = encode(&valid).expect("a valid batch");
    let mut elsewhere = valid.clone();
    elsewhere.parent_hash = B256::repeat_byte(1);
    let mut later = valid.clone();
    later.first_block += 1;
    let mut reorged = valid.clone();
    reorged.last_origin_hash = B256::repeat_byte(2);
    let nothing = [
        vec![0xff; 100],
        encoded[..encoded.len() - 1].to_vec(),
        encode(&elsewhere).expect("a batch"),
        encode(&later).expect("a batch"),
        encode(&reorged).expect("a batch"),
    ];
    for (count, payload) in (1..).zip(&nothing) {
        poster.post(&network.core, payload).await;
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
