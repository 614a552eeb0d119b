//! Amounts to the sat at each point, from the smallest deposit to a hundred bitcoin, through contracts on L2.

use alloy_primitives::{Address, Bytes, TxKind, U256, hex};
use bitcoin::Amount;
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use bitsect_tests::{Wallet, until};
use serde_json::{Value, json};

use crate::built::built;
use crate::steps::{BOUND, SAT, User, accepted, fee, spender, text, until_sums};

const BTC: u64 = 100_000_000;
const SMALLEST: u64 = 10_000;
const LARGEST: u64 = 100 * BTC;
/// What a deposit of one coin, with change, takes in vB: regtest asks 1 sat for each.
const DEPOSIT_VB: u64 = 222;
/// For gas on L2, and through the contract.
const MIDDLE: u64 = 1_234_567;

/// Code of a contract that passes what it is sent on to the address in its calldata.
const FORWARDER: &str = "695f5f5f5f345f355af1005f52600a6016f3";

/// Puts the forwarder on L2, from an account that has money there since genesis.
async fn forwarder(net: &BridgeNet) -> Address {
    let mut deployer = Wallet::funded(5);
    let sequencer = &net.sequencer.as_ref().expect("the sequencer runs").rpc;
    let code = Bytes::from(hex::decode(FORWARDER).expect("hexadecimal"));
    let hash = sequencer.sent(&deployer.create(code)).await;
    let receipt = sequencer.included(&hash).await;
    text(&receipt["contractAddress"]).parse().expect("an address")
}

/// Checks what a reimbursement pays: all of the vault output, to one script.
async fn reimbursed(net: &BridgeNet, deposit: &Value, sats: u64) {
    let (output, height) = accepted(deposit);
    let paid = until("the reimbursement's block", || async {
        let found = spender(net, output, height).await;
        found.ok_or_else(|| format!("{output} is not spent"))
    })
    .await;
    // With the small outputs that bind the end of the claim and the assignment.
    assert_eq!(paid.output[0].value, Amount::from_sat(sats + BOUND), "{paid:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_are_exact_from_the_smallest_to_a_hundred_bitcoin() {
    let options = BridgeOptions {
        money: Amount::from_int_btc(150),
        slots: 3,
        ..BridgeOptions::default()
    };
    let net = BridgeNet::start(&built(), &options)
        .await
        .expect("a bridge starts");
    let forwarder = forwarder(&net).await;
    let alice = User::new(&net, "alice", LARGEST + BTC).await;
    let bob = User::new(&net, "bob", 0).await;
    // Onto L2: to alice, and by a contract's call.
    let (mut spent, mut minted) = (0, 0);
    let mut deposits = Vec::new();
    let data = format!("0x{:0>64}", alice.account.trim_start_matches("0x"));
    let target = forwarder.to_string();
    let call = ["--call-target", target.as_str(), "--call-data", data.as_str()];
    for (sats, to, call) in [
        (SMALLEST, alice.account.as_str(), &[][..]),
        (LARGEST, alice.account.as_str(), &[][..]),
        // Nobody's money unless the call works.
        (MIDDLE, "0x00000000000000000000000000000000000000ff", &call[..]),
    ] {
        let deposit = alice.deposit(&net, to, sats, call);
        if call.is_empty() {
            assert_eq!(fee(&deposit), DEPOSIT_VB, "docs/bridge.md, What it costs");
        }
        spent += sats + fee(&deposit);
        minted += sats;
        assert_eq!(alice.bitcoin(&net), LARGEST + BTC - spent, "{deposit}");
        assert_eq!(alice.wei(&net).await, u128::from(minted) * SAT, "{deposit}");
        alice.holds(&net, u128::from(minted) * SAT).await;
        until_sums(&net, "the vault output", [minted, 0, 0, 0]).await;
        deposits.push(deposit);
    }
    // Another account gets some, and gives it back through the contract.
    let mut carol = Wallet::funded(1);
    let sequencer = &net.sequencer.as_ref().expect("the sequencer runs").rpc;
    let input = Bytes::from(hex::decode(&data).expect("hexadecimal"));
    let value = U256::from(SAT) * U256::from(777);
    let raw = carol.call(TxKind::Call(forwarder), value, input, 100_000);
    let receipt = sequencer.included(&sequencer.sent(&raw).await).await;
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    alice.holds(&net, u128::from(minted + 777) * SAT).await;
    // And off it: a hundred bitcoin, then the smallest amount.
    let (mut out, mut vault) = (0, minted);
    for (sats, fee, deposit) in [(LARGEST, 20_000, &deposits[1]), (SMALLEST, 800, &deposits[0])] {
        let before = alice.wei(&net).await;
        let id = alice.withdraw(&net, &bob.address, sats, fee);
        let status = alice.paid(&net, id).await;
        assert_eq!(status["amountSats"], json!(sats), "{status}");
        out += sats - fee;
        assert_eq!(bob.bitcoin(&net), out, "{status}");
        let gas = before - u128::from(sats) * SAT - alice.wei(&net).await;
        assert!(gas < u128::from(MIDDLE) * SAT, "the fee is {gas} wei");
        vault -= sats;
        until_sums(&net, "the reimbursement", [vault, 0, 0, 0]).await;
        reimbursed(&net, deposit, sats).await;
    }
    assert_eq!(vault, MIDDLE);
}
