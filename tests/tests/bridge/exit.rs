//! The way out when the sequencer is gone: a Bitcoin transaction asks, an operator pays, and is paid.

use std::time::Duration;

use bitsect_l1::regtest::fresh_burn_address;
use bitsect_l1::rpc::Client;
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use tokio::task::JoinHandle;

use crate::built::built;
use crate::steps::{FEE, User, run, text, until_sums};

const BURST_EVERY: Duration = Duration::from_secs(2);
const DEPOSIT: u64 = 2_000_000;
const WITHDRAWN: u64 = 1_900_000;

/// Mines some blocks at once, and again when everybody has had time for them.
fn mine_in_bursts(core: Client, blocks: u32) -> JoinHandle<()> {
    tokio::spawn(async move {
        let nobody = fresh_burn_address();
        loop {
            let mined = core.generate_to_address(blocks, &nobody).await;
            mined.expect("blocks are mined");
            tokio::time::sleep(BURST_EVERY).await;
        }
    })
}

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
    // Without a sequencer the chain learns of each thing on Bitcoin a window later. Windows pass faster than days here.
    net.stand_still();
    let core = net.network.core.client().clone();
    let window = net.network.chain().params.derive.sequencing_window;
    let mining = mine_in_bursts(core, window / 8);
    let status = alice.paid(&net, 0).await;
    assert_eq!(status["transactionHash"], forced["transactionHash"], "{status}");
    assert_eq!(bob.bitcoin(&net), WITHDRAWN - FEE, "{status}");
    // So does the chain of the operator's credit, and of what it takes for that.
    until_sums(&net, "the reimbursement", [DEPOSIT, 0, 0, 0]).await;
    mining.abort();
}
