//! L1 reorgs of 1 to 6 blocks, Bitcoin Core stopped and started again: both nodes converge, and no transaction that the
//! sequencer took is lost.

use alloy_primitives::Address;
use bitsect_tests::{Network, NetworkOptions, Wallet, assert_same};

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
            let hash = sequencer
                .rpc
                .send(&raw)
                .await
                .expect("a valid transaction is taken");
            hashes.push(hash.as_str().expect("a hash").to_owned());
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
        let hash = sequencer
            .rpc
            .send(&alice.transfer(TO, 1))
            .await
            .expect("the sequencer goes on meanwhile");
        network.core.restart().await.expect("Bitcoin Core starts again");
        network.core.mine(1).await.expect("a block is mined");
        sequencer.rpc.included(hash.as_str().expect("a hash")).await;
        let latest = sequencer.rpc.height("latest").await;
        network.mine_until_safe(&sequencer.rpc, latest).await;
        network.mine_until_safe(&verifier.rpc, latest).await;
        assert_same(&sequencer.rpc, &verifier.rpc, latest).await;
    }
}
