//! Every kind of traffic, for tests that compare what different readers make of it.

use alloy_primitives::{Address, Bytes, TxKind, U256, hex};
use bitcoin::Amount;
use bitsect_vm::chain::sats_to_wei;
use serde_json::json;

use crate::{Network, Node, Wallet, every_precompile};

/// Who gets what is sent.
const TO: Address = Address::repeat_byte(0xaa);
/// Runtime code that stores its input's first word in slot 0, logs it, and reverts when it is zero:
/// `CALLDATALOAD(0) DUP1 DUP1 SSTORE(0) LOG1(0, 0, word)`, or `REVERT(0, 0)`.
const STORE_AND_LOG: &[u8] = &hex!("5f3580156010575f81905560005fa1005b5f5ffd");
/// Runtime code that destroys itself in favour of its caller.
const SELF_DESTRUCT: &[u8] = &hex!("33ff");
/// Runtime code that loops until its gas is gone.
const BURN: &[u8] = &hex!("5b5f56");
/// Runtime code that is an invalid instruction, which takes all gas.
const GIVE_UP: &[u8] = &hex!("fe");

/// Wraps runtime code in code that deploys it.
fn deploying(runtime: &[u8]) -> Bytes {
    let size = u8::try_from(runtime.len()).expect("short code");
    [
        &[0x60, size, 0x60, 0x0a, 0x5f, 0x39, 0x60, size, 0x5f, 0xf3][..],
        runtime,
    ]
    .concat()
    .into()
}

async fn deploy(node: &Node, wallet: &mut Wallet, runtime: &[u8]) -> Address {
    let raw = wallet.create(deploying(runtime));
    let hash = node.rpc.sent(&raw).await;
    let receipt = node.rpc.included(&hash).await;
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    let address: Address = receipt["contractAddress"]
        .as_str()
        .expect("an address")
        .parse()
        .expect("an address");
    let code = node.rpc.get("eth_getCode", json!([address, "latest"])).await;
    assert_eq!(code, hex::encode_prefixed(runtime));
    address
}

/// Fills two blocks to the last gas: four transactions are a block's. Three of them give up their gas at once, for a
/// sequencer in a hurry ends a block early when transactions take their time. The one that all others wait for comes
/// last, so that no block is made of the first alone.
async fn full_blocks(sequencer: &Node, wallet: &mut Wallet) -> Vec<(String, &'static str)> {
    let burn = deploy(sequencer, wallet, BURN).await;
    let give_up = deploy(sequencer, wallet, GIVE_UP).await;
    let block = [give_up, give_up, give_up, burn];
    let transactions: Vec<Vec<u8>> = [block, block]
        .as_flattened()
        .iter()
        .map(|to| wallet.call(TxKind::Call(*to), U256::ZERO, Bytes::new(), 15_000_000))
        .collect();
    let mut hashes = Vec::new();
    for raw in transactions.iter().rev() {
        hashes.push((sequencer.rpc.sent(raw).await, "0x0"));
    }
    for (hash, status) in &hashes {
        let receipt = sequencer.rpc.included(hash).await;
        assert_eq!(receipt["status"], *status, "{receipt}");
    }
    hashes
}

/// Sends every kind of transaction from two accounts, and through Bitcoin a deposit and a forced transaction, and waits
/// until blocks have them. Gives the hashes and statuses of what was sent to the sequencer.
///
/// # Panics
/// When one is not taken, or has another status.
pub async fn every_kind(
    network: &Network,
    sequencer: &Node,
    alice: &mut Wallet,
    bob: &mut Wallet,
) -> Vec<(String, &'static str)> {
    let store = deploy(sequencer, alice, STORE_AND_LOG).await;
    let destruct = deploy(sequencer, alice, SELF_DESTRUCT).await;
    let word = |value: u8| Bytes::from(U256::from(value).to_be_bytes_vec());
    let mut sent = vec![
        (alice.transfer(TO, 1), "0x1"),
        (alice.legacy(TO, 2), "0x1"),
        (
            alice.call(TxKind::Call(store), U256::ZERO, word(7), 100_000),
            "0x1",
        ),
        (
            alice.call(TxKind::Call(store), U256::ZERO, word(0), 100_000),
            "0x0",
        ),
        (alice.with_access_list(store, word(9)), "0x1"),
        (
            alice.call(TxKind::Call(destruct), U256::from(5), Bytes::new(), 100_000),
            "0x1",
        ),
        // The delegation stays, though the call that it comes with reverts.
        (alice.delegate(store), "0x0"),
        (
            bob.call(TxKind::Call(alice.address), U256::ZERO, word(3), 100_000),
            "0x1",
        ),
    ];
    for (address, input) in every_precompile() {
        let call = json!([{"to": address, "input": input}, "latest"]);
        let output = sequencer.rpc.get("eth_call", call).await;
        assert_ne!(output, "0x", "precompile {address}");
        let call = alice.call(TxKind::Call(address), U256::ZERO, input, 250_000);
        sent.push((call, "0x1"));
    }
    let mut hashes = Vec::new();
    for (raw, status) in &sent {
        hashes.push((sequencer.rpc.sent(raw).await, *status));
    }
    for (hash, status) in &hashes {
        let receipt = sequencer.rpc.included(hash).await;
        assert_eq!(receipt["status"], *status, "{receipt}");
    }
    hashes.extend(full_blocks(sequencer, bob).await);

    // From Bitcoin: a deposit, a forced transaction, empty stretches. Invalid batches are posted by hand (`HandPoster`).
    let carol = Address::repeat_byte(0xca);
    network.deposit(carol, Amount::from_sat(123_456)).await;
    let forced = bob.transfer(TO, 1_000);
    network.force(&forced).await;
    network.core.mine(4).await.expect("blocks are mined");
    sequencer.rpc.holds(carol, sats_to_wei(123_456)).await;
    hashes
}
