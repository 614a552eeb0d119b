//! kill -9 of the sequencer at random moments under load: it goes on, nothing acknowledged is lost, and no baton ever
//! gets a second batch (the verifier reads the same chain from Bitcoin).

use std::time::Duration;

use alloy_primitives::Address;
use bitsect_tests::{Network, NetworkOptions, Wallet, assert_same};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

const TO: Address = Address::repeat_byte(0xcc);
/// How often the process is killed, unless `BITSECT_KILLS` says otherwise.
const KILLS: usize = 100;
/// Longest life of the process once it answers, in milliseconds: long enough for blocks, batches and L1 blocks.
const LONGEST_LIFE: u64 = 900;
/// Transactions between two L1 blocks: few enough that the sequencing window passes some times in a run.
const TRANSACTIONS_A_BLOCK: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_random_moments_loses_nothing() {
    let kills = std::env::var("BITSECT_KILLS").map_or(KILLS, |text| text.parse().expect("a number of kills"));
    let network = Network::start(NetworkOptions::default()).await;
    let verifier = network.verifier("verifier").await;
    let mut alice = Wallet::funded(0);
    let mut acknowledged = Vec::new();
    let mut rng = StdRng::seed_from_u64(1);
    for kill in 0..kills {
        let sequencer = network.sequencer().await;
        let life = Duration::from_millis(rng.random_range(0..LONGEST_LIFE));
        let work = async {
            loop {
                let nonce = alice.nonce;
                let raw = alice.transfer(TO, 1);
                match sequencer.rpc.send(&raw).await {
                    Ok(hash) => acknowledged.push(hash),
                    // Sent before a kill but never acknowledged: it may be there or not, both are right.
                    Err(fault) if fault.to_string().contains("already known") => {}
                    Err(fault) if fault.to_string().contains("nonce too low") => {}
                    Err(fault) => {
                        alice.nonce = nonce;
                        let pool = sequencer.rpc.get("txpool_status", json!([])).await;
                        panic!("nonce {nonce} refused after {kill} kills: {fault}; pool {pool}");
                    }
                }
                if acknowledged.len() % TRANSACTIONS_A_BLOCK == 0 {
                    network.core.mine(1).await.expect("a block is mined");
                }
            }
        };
        // The work is cut off wherever it is.
        let before = tokio::time::timeout(life, work).await;
        assert!(before.is_err());
        sequencer.kill();
        // An unanswered transaction is sent again with its nonce: it must be known, included, or taken.
        alice.nonce = alice.nonce.saturating_sub(1);
    }
    let sequencer = network.sequencer().await;
    for hash in &acknowledged {
        sequencer.rpc.included(hash).await;
    }
    let latest = sequencer.rpc.height("latest").await;
    network.mine_until_safe(&sequencer.rpc, latest).await;
    network.mine_until_safe(&verifier.rpc, latest).await;
    assert_same(&sequencer.rpc, &verifier.rpc, latest).await;
    println!(
        "{kills} kills, {} acknowledged transactions, {latest} blocks",
        acknowledged.len()
    );
}
