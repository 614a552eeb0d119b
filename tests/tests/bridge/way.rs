//! The whole way, past members that are away for a while.

use bitsect_node::devnet::committee::Member;
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use serde_json::{Value, json};

use crate::built::built;
use crate::steps::{FEE, User, run, sums, text, until_sums};

/// Two deposits: the credit of what is withdrawn covers the smaller one.
const DEPOSITS: [u64; 2] = [3_000_000, 1_000_000];
const WITHDRAWN: u64 = 2_900_000;

/// Asks how a withdrawal is until it is paid: its stages, each once.
async fn stages(net: &BridgeNet, user: &User, id: u64) -> Vec<String> {
    let seen = std::cell::RefCell::new(Vec::new());
    bitsect_tests::until("the payout", || async {
        let status = run(net, user.name, &["withdraw", "status", &id.to_string()]);
        let stage = text(&status["stage"]);
        let mut seen = seen.borrow_mut();
        if seen.last() != Some(&stage) {
            seen.push(stage.clone());
        }
        match stage.as_str() {
            "paid" => Ok(()),
            _ => Err(format!("{status}")),
        }
    })
    .await;
    seen.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn bitcoin_goes_to_l2_and_back() {
    let net = BridgeNet::start(&built(), &BridgeOptions::default()).await;
    let mut net = net.expect("a bridge starts");
    let alice = User::new(&net, "alice", 10_000_000).await;
    for sats in DEPOSITS {
        alice.deposit(&net, &alice.account, sats, &[]);
    }
    let deposited: u64 = DEPOSITS.iter().sum();
    let balance = run(&net, "alice", &["balance"]);
    assert_eq!(balance["l2Sats"], json!(deposited), "{balance}");
    // And back: an operator pays all but its fee. Members that are away only delay.
    let bob = User::new(&net, "bob", 0).await;
    Member::PAIR.iter().for_each(|member| net.stop_member(*member));
    let id = alice.withdraw(&net, &bob.address, WITHDRAWN, FEE);
    let status: Value = run(&net, "alice", &["withdraw", "status", &id.to_string()]);
    assert_eq!(status["stage"], "waitingForPayout", "{status}");
    for member in Member::PAIR {
        net.start_member(member).expect("a member starts");
    }
    let stages = stages(&net, &alice, id).await;
    assert_eq!(
        stages.first().map(String::as_str),
        Some("waitingForPayout"),
        "{stages:?}"
    );
    assert_eq!(stages.last().map(String::as_str), Some("paid"), "{stages:?}");
    assert_eq!(bob.bitcoin(&net), WITHDRAWN - FEE);
    // The operator has the vault output assigned that its credit covers, claims, and takes it.
    let left = [DEPOSITS[0], 0, WITHDRAWN - DEPOSITS[1], 0];
    until_sums(&net, "the reimbursement", left).await;
    assert_eq!(sums(&net).await, left);
}
