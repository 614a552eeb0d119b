//! L1 reorgs of 1 to 6 blocks, a Bitcoin Core that stops, lags, or follows another branch: both nodes converge, and no
//! transaction that the sequencer took is lost.

use alloy_primitives::{Address, B256};
use bitcoin::Amount;
use bitsect_l1::regtest::{Bitcoind, RegtestConfig};
use bitsect_node::devnet::CHAIN_ID;
use bitsect_tests::{Network, NetworkOptions, Rpc, Wallet, assert_same};
use bitsect_vm::chain::sats_to_wei;
use serde_json::json;

const TO: Address = Address::repeat_byte(0xaa);

#[tokio::test(flavor = "multi_thread")]
async fn reorgs_lose_no_transaction() {
    let network = Network::start(NetworkOptions::default()).await;
    let sequencer = network.sequencer().await;
    let verifier = network.verifier("verifier").await;
    let mut alice = Wallet::funded(0);
    let mut hashes = Vec::new();
    for depth in 1..=6_u32 {
        for _ in 0..3 {
            let raw = alice.transfer(TO, u64::from(depth));
            hashes.push(sequencer.rpc.sent(&raw).await);
        }
        sequencer
            .rpc
            .included(hashes.last().expect("something was sent"))
            .await;
        let latest = sequencer.rpc.height("latest").await;
        network.mine_until_safe(&sequencer.rpc, latest).await;
        // The last blocks hold commits and reveals; another branch, one longer, does not.
        network.core.reorg(depth, depth + 1).await.expect("a reorg");
        network.synced(&sequencer.rpc).await;
        network.synced(&verifier.rpc).await;
    }
    for hash in &hashes {
        sequencer.rpc.included(hash).await;
    }
    let latest = sequencer.rpc.height("latest").await;
    network.mine_until_safe(&sequencer.rpc, latest).await;
    network.mine_until_safe(&verifier.rpc, latest).await;
    assert_same(&sequencer.rpc, &verifier.rpc, latest).await;
    for hash in &hashes {
        verifier.rpc.included(hash).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bitcoin_core_may_go_away_and_come_back() {
    let mut network = Network::start(NetworkOptions::default()).await;
    let sequencer = network.sequencer().await;
    let verifier = network.verifier("verifier").await;
    let mut alice = Wallet::funded(0);
    for round in 0..2 {
        if round == 0 {
            network.core.stop().await.expect("Bitcoin Core stops");
        } else {
            // Else it would lose the chain's first blocks, which no node survives.
            network.core.client().flush().await.expect("Bitcoin Core flushes");
            network.core.kill();
        }
        // The sequencer goes on meanwhile.
        let hash = sequencer.rpc.sent(&alice.transfer(TO, 1)).await;
        network.core.restart().await.expect("Bitcoin Core starts again");
        network.core.mine(1).await.expect("a block is mined");
        sequencer.rpc.included(&hash).await;
        let latest = sequencer.rpc.height("latest").await;
        network.mine_until_safe(&sequencer.rpc, latest).await;
        network.mine_until_safe(&verifier.rpc, latest).await;
        assert_same(&sequencer.rpc, &verifier.rpc, latest).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dropped_deposit_paid_for_comes_again_with_it() {
    let network = Network::start(NetworkOptions::default()).await;
    let sequencer = network.sequencer().await;
    let verifier = network.verifier("verifier").await;
    let mut alice = Wallet::funded(0);
    let mut carol = Wallet::new(&B256::repeat_byte(0xca), CHAIN_ID);
    let sats = 5_000_000;
    network.deposit(carol.address, Amount::from_sat(sats)).await;
    network.core.mine(1).await.expect("a block is mined");
    sequencer.rpc.holds(carol.address, sats_to_wei(sats)).await;
    // Everything of it depends on the deposit: what carol sends, and what bob sends of what he got.
    let mut bob = Wallet::new(&B256::repeat_byte(0xb0), CHAIN_ID);
    let ether = 10_000_000_000_000_000;
    let mut hashes = Vec::new();
    for raw in [
        carol.transfer(bob.address, ether),
        bob.transfer(TO, 1),
        alice.transfer(TO, 2),
    ] {
        let hash = sequencer.rpc.sent(&raw).await;
        sequencer.rpc.included(&hash).await;
        hashes.push(hash);
    }
    let latest = sequencer.rpc.height("latest").await;
    network.mine_until_safe(&sequencer.rpc, latest).await;
    let tip = network.core.tip().await.expect("Bitcoin has a tip").height;
    let origin = deposit_height(&sequencer.rpc).await;
    let depth = tip - origin + 1;
    network.core.reorg(depth, depth + 1).await.expect("a reorg");
    network.synced(&sequencer.rpc).await;
    let receipt = sequencer.rpc.receipt(&hashes[0]).await;
    assert!(
        receipt.is_null(),
        "without the deposit there is nothing to send: {receipt}"
    );
    let held = sequencer
        .rpc
        .get("eth_getTransactionByHash", json!([hashes[0]]))
        .await;
    assert!(
        held["blockHash"].is_null() && held["hash"] == hashes[0].as_str(),
        "{held}"
    );
    // Bitcoin Core holds the deposit again, and mines it.
    network.core.mine(2).await.expect("blocks are mined");
    for hash in &hashes {
        assert_eq!(sequencer.rpc.included(hash).await["status"], "0x1");
    }
    let latest = sequencer.rpc.height("latest").await;
    network.mine_until_safe(&sequencer.rpc, latest).await;
    network.mine_until_safe(&verifier.rpc, latest).await;
    assert_same(&sequencer.rpc, &verifier.rpc, latest).await;
}

/// Gives the height of the L1 block that the deposit came with: the origin of the block with a type 0x7e transaction.
async fn deposit_height(rpc: &Rpc) -> u32 {
    for number in 0..=rpc.height("latest").await {
        let block = rpc
            .get("eth_getBlockByNumber", json!([format!("{number:#x}"), true]))
            .await;
        let transactions = block["transactions"].as_array().expect("transactions");
        if transactions
            .iter()
            .any(|transaction| transaction["type"] == "0x7e")
        {
            let origin = rpc.get("rollup_l1OriginOf", json!([number])).await;
            return u32::try_from(origin["height"].as_u64().expect("a height")).expect("a height");
        }
    }
    panic!("no block has a deposit");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_bitcoin_cores_of_their_own_converge() {
    let network = Network::start(NetworkOptions {
        listen: true,
        ..NetworkOptions::default()
    })
    .await;
    let other = Bitcoind::start(RegtestConfig::new(network.dir().join("other-bitcoin")))
        .await
        .expect("Bitcoin Core starts");
    other.connect_to(&network.core).await.expect("the Cores meet");
    let sequencer = network.sequencer().await;
    let verifier = network.verifier_on("verifier", &other).await;
    let mut alice = Wallet::funded(0);
    let mut hashes = Vec::new();
    // The verifier's Core lags; it has a branch of its own that loses; one that wins.
    for branch in [0, 1, 12] {
        let client = other.client();
        client
            .set_network_active(false)
            .await
            .expect("Bitcoin Core answers");
        let raw = alice.transfer(TO, 1);
        let hash = sequencer.rpc.sent(&raw).await;
        sequencer.rpc.included(&hash).await;
        hashes.push(hash);
        let latest = sequencer.rpc.height("latest").await;
        network.mine_until_safe(&sequencer.rpc, latest).await;
        assert!(
            verifier.rpc.height("latest").await < latest,
            "it sees its own Core only"
        );
        // Two blocks at least: of two branches of one length each Core would keep its own.
        network.core.mine(1).await.expect("a block is mined");
        other.mine(branch).await.expect("blocks are mined");
        client
            .set_network_active(true)
            .await
            .expect("Bitcoin Core answers");
        other.connect_to(&network.core).await.expect("the Cores meet");
        network.synced(&sequencer.rpc).await;
        network.synced(&verifier.rpc).await;
        for hash in &hashes {
            sequencer.rpc.included(hash).await;
        }
        let latest = sequencer.rpc.height("latest").await;
        network.mine_until_safe(&sequencer.rpc, latest).await;
        network.mine_until_safe(&verifier.rpc, latest).await;
        assert_same(&sequencer.rpc, &verifier.rpc, latest).await;
    }
}
