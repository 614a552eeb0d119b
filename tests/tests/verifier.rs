//! A verifier that sees only Bitcoin reaches the sequencer's chain: same hashes, roots, receipts and `S_k`, over every
//! kind of traffic.

use bitsect_tests::{Network, NetworkOptions, Wallet, assert_same, every_kind, number};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn verifier_rebuilds_every_kind_of_traffic() {
    let network = Network::start(NetworkOptions::default()).await;
    let sequencer = network.sequencer().await;
    let mut alice = Wallet::funded(0);
    let mut bob = Wallet::funded(1);

    let hashes = every_kind(&network, &sequencer, &mut alice, &mut bob).await;
    let latest = sequencer.rpc.height("latest").await;
    network.mine_until_safe(&sequencer.rpc, latest).await;

    let safe = sequencer.rpc.height("safe").await;
    let verifier = network.verifier("verifier").await;
    network.mine_until_safe(&verifier.rpc, safe).await;
    assert_same(&sequencer.rpc, &verifier.rpc, safe).await;
    for (hash, status) in &hashes {
        let receipt = verifier.rpc.included(hash).await;
        assert_eq!(receipt["status"], *status);
    }
    let block = verifier.rpc.get("rollup_batchOf", json!([safe])).await;
    assert_ne!(block, serde_json::Value::Null);
    assert!(number(&verifier.rpc.block(safe).await["number"]) == safe);
}
