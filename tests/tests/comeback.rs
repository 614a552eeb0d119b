//! A sequencer that was killed and stayed away for more than a sequencing window: it joins the chain that derivation made
//! meanwhile, sequences again what it had acknowledged, and gets batches counted on Bitcoin.

use alloy_primitives::{Address, keccak256};
use bitsect_node::convert;
use bitsect_tests::{Network, NetworkOptions, Node, Wallet, assert_same, number, until};
use serde_json::json;

const TO: Address = Address::repeat_byte(0xcb);
/// L1 blocks of the sequencing window.
const WINDOW: u32 = 8;
/// L1 blocks that the sequencer misses.
const AWAY: u32 = WINDOW + 6;
/// L1 blocks within which it has its transactions safe again: one or two batches, and as many in vain.
const RECOVERS_WITHIN: u32 = 8;
/// Seconds that blocks wait for a batch when none is to be posted: longer than a test.
const NO_BATCH: u32 = 3_600;

async fn start() -> Network {
    Network::start(NetworkOptions {
        sequencing_window: Some(WINDOW),
        ..NetworkOptions::default()
    })
    .await
}

/// Has a sequencer that posts nothing acknowledge and include transactions, and kills it; gives their hashes.
async fn acknowledge(network: &Network, transactions: &[Vec<u8>]) -> Vec<String> {
    let sequencer = network.sequencer_posting_after(NO_BATCH).await;
    let mut hashes = Vec::new();
    for raw in transactions {
        hashes.push(sequencer.rpc.sent(raw).await);
    }
    for hash in &hashes {
        sequencer.rpc.included(hash).await;
    }
    assert_eq!(sequencer.rpc.height("safe").await, 0);
    sequencer.kill();
    hashes
}

/// Gives the last block that has one of these transactions.
async fn newest(node: &Node, hashes: &[String]) -> u64 {
    let mut newest = 0;
    for hash in hashes {
        newest = newest.max(number(&node.rpc.included(hash).await["blockNumber"]));
    }
    newest
}

/// Starts the sequencer again; checks that it ends on one chain with the verifier, with these transactions, a new one, and
/// batches of its own.
async fn comes_back(network: &Network, verifier: &Node, hashes: &[String], new: &[u8]) {
    network.synced(&verifier.rpc).await;
    let derived = verifier.rpc.height("safe").await;
    assert!(derived > 0);
    let sequencer = network.sequencer().await;
    network.synced(&sequencer.rpc).await;
    assert_same(&sequencer.rpc, &verifier.rpc, derived).await;

    let mut hashes = hashes.to_vec();
    hashes.push(sequencer.rpc.sent(new).await);
    let back = network.core.tip().await.expect("Bitcoin has a tip").height;
    let mut latest = newest(&sequencer, &hashes).await;
    // While derivation still makes blocks, a batch that misses its L1 block is in vain, and its transactions may move up.
    while sequencer.rpc.height("safe").await < latest {
        network.mine_until_safe(&sequencer.rpc, latest).await;
        network.synced(&sequencer.rpc).await;
        latest = newest(&sequencer, &hashes).await;
        let tip = network.core.tip().await.expect("Bitcoin has a tip").height;
        assert!(tip <= back + RECOVERS_WITHIN, "{} L1 blocks", tip - back);
    }
    network.mine_until_safe(&verifier.rpc, latest).await;
    assert_same(&sequencer.rpc, &verifier.rpc, latest).await;
    for hash in &hashes {
        let receipt = verifier.rpc.included(hash).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        let at = number(&receipt["blockNumber"]);
        let batch = verifier.rpc.get("rollup_batchOf", json!([at])).await;
        assert!(at > derived && !batch.is_null(), "block {at} is not of a batch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_posted_is_sequenced_again() {
    let network = start().await;
    let verifier = network.verifier("verifier").await;
    let (mut alice, mut bob) = (Wallet::funded(0), Wallet::funded(1));
    let forced = bob.clone().transfer(TO, 41);
    let transactions = [
        bob.transfer(TO, 1),
        bob.transfer(TO, 2),
        alice.transfer(TO, 3),
        alice.transfer(TO, 4),
    ];
    let hashes = acknowledge(&network, &transactions).await;

    network.force(&forced).await;
    network.core.mine(AWAY).await.expect("blocks are mined");
    verifier.rpc.included(&keccak256(&forced).to_string()).await;
    // Of bob's first two, the forced transaction has taken the nonce of one.
    comes_back(&network, &verifier, &hashes[1..], &alice.transfer(TO, 5)).await;
    assert!(verifier.rpc.receipt(&hashes[0]).await.is_null());
}

/// Leaves a batch in Bitcoin Core's mempool while the window passes, with or without its commit mined.
async fn comes_back_to_a_batch(commit_mined: bool) {
    let network = start().await;
    let verifier = network.verifier("verifier").await;
    let mut alice = Wallet::funded(0);
    let hashes = acknowledge(&network, &[alice.transfer(TO, 1), alice.transfer(TO, 2)]).await;
    let client = network.core.client();
    let sequencer = network.sequencer().await;
    let txids = until("a commit and a reveal", || async {
        let txids = client.get_raw_mempool().await.expect("Bitcoin Core answers");
        if txids.len() < 2 {
            return Err(format!("{txids:?}"));
        }
        Ok(txids)
    })
    .await;
    sequencer.kill();
    let baton = convert::outpoint(&network.chain().params.derive.baton);
    let mut commits = Vec::new();
    for txid in &txids {
        let tx = client
            .get_raw_transaction(txid)
            .await
            .expect("Bitcoin Core answers");
        commits.extend(tx.filter(|tx| tx.input.iter().any(|input| input.previous_output == baton)));
    }
    assert_eq!(commits.len(), 1, "{txids:?}");
    for block in 0..AWAY {
        let commits: Vec<_> = commits.iter().filter(|_| commit_mined && block == 0).collect();
        network.core.mine_with(&commits).await.expect("a block is mined");
    }
    comes_back(&network, &verifier, &hashes, &alice.transfer(TO, 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_its_reveals_is_posted_anew() {
    comes_back_to_a_batch(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_comes_too_late_is_posted_anew() {
    comes_back_to_a_batch(false).await;
}
