//! The sequencer is gone: after the window the chain goes on with forced transactions only, on every verifier alike.

use alloy_primitives::{Address, U256};
use bitsect_tests::{Network, NetworkOptions, Wallet, assert_same};

const TO: Address = Address::repeat_byte(0xbb);

#[tokio::test(flavor = "multi_thread")]
async fn forced_transactions_need_no_sequencer() {
    let network = Network::start(NetworkOptions {
        sequencing_window: Some(8),
        ..NetworkOptions::default()
    })
    .await;
    let sequencer = network.sequencer().await;
    let mut alice = Wallet::funded(0);
    let hash = sequencer.rpc.sent(&alice.transfer(TO, 1)).await;
    sequencer.rpc.included(&hash).await;
    let latest = sequencer.rpc.height("latest").await;
    network.mine_until_safe(&sequencer.rpc, latest).await;
    sequencer.kill();

    let forced = alice.transfer(TO, 41);
    network.force(&forced).await;
    network.core.mine(10).await.expect("blocks are mined");
    let first = network.verifier("first").await;
    let second = network.verifier("second").await;
    let hash = alloy_primitives::keccak256(&forced).to_string();
    first.rpc.included(&hash).await;
    first.rpc.holds(TO, U256::from(42)).await;
    network.synced(&first.rpc).await;
    network.synced(&second.rpc).await;
    let safe = first.rpc.height("safe").await;
    assert!(safe > latest);
    assert_same(&first.rpc, &second.rpc, safe).await;
}
