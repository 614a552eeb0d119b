//! The way out when the sequencer is gone: a Bitcoin transaction asks, an operator pays, and is paid.

use bitsect_tests::bridge::{BridgeNet, BridgeOptions};

use crate::built::built;
use crate::steps::{FEE, User, run, text, until_sums};

const DEPOSIT: u64 = 2_000_000;
const WITHDRAWN: u64 = 1_900_000;

#[tokio::test(flavor = "multi_thread")]
async fn bitcoin_leave_l2_without_the_sequencer() {
    let net = BridgeNet::start(&built(), &BridgeOptions::default()).await;
    let mut net = net.expect("a bridge starts");
    let alice = User::new(&net, "alice", 5_000_000).await;
    // Two outputs of the vault: credit covers one.
    for sats in [DEPOSIT, WITHDRAWN] {
        alice.deposit(&net, &alice.account, sats, &[]);
    }
    let bob = User::new(&net, "bob", 0).await;
    drop(net.sequencer.take());
    net.links.sequencer = net.links.verifier.clone();
    let amount = format!("{WITHDRAWN}sats");
    let fee = format!("{FEE}sats");
    let asked = [
        "withdraw",
        "request",
        "--to",
        &bob.address,
        "--amount",
        &amount,
        "--fee",
        &fee,
    ];
    let forced = run(&net, "alice", &[&asked[..], &["--force"]].concat());
    assert_eq!(text(&forced["forcedTxid"]).len(), 64, "{forced}");
    // The window passes faster than hours here: its blocks are mined at once.
    let window = net.network.chain().params.derive.sequencing_window;
    net.network.core.mine(window).await.expect("blocks");
    let status = alice.paid(&net, 0).await;
    assert_eq!(status["transactionHash"], forced["transactionHash"], "{status}");
    assert_eq!(bob.bitcoin(&net), WITHDRAWN - FEE, "{status}");
    // So does the credit that the operator has for it, and what it takes for that.
    until_sums(&net, "the reimbursement", [DEPOSIT, 0, 0, 0]).await;
}
