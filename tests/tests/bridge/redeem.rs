//! Credit that no vault output is small enough for becomes BTC on L2 again, to the sat; and its operator goes on as before.

use bitcoin::Amount;
use bitsect_node::devnet::committee::Member;
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use bitsect_tests::{number, until};
use serde_json::json;

use crate::built::built;
use crate::steps::{BOUND, FEE, SAT, User, accepted, logged, until_spent, until_sums};

const OPERATOR: Member = Member::OPERATOR;
/// What the operator claims at last.
const CLAIMED: u64 = 1_000_000;
const REST: u64 = 3_000_000;
/// Less than any output of the vault.
const EARNED: u64 = 300_000;

#[tokio::test(flavor = "multi_thread")]
async fn credit_is_redeemed_and_the_operator_goes_on() {
    let net = BridgeNet::start(&built(), &BridgeOptions::default()).await;
    let mut net = net.expect("a bridge starts");
    let alice = User::new(&net, "alice", 10_000_000).await;
    let bob = User::new(&net, "bob", 0).await;
    let carol = User::new(&net, "carol", 0).await;
    let deposit = alice.deposit(&net, &alice.account, CLAIMED, &[]);
    alice.deposit(&net, &alice.account, REST, &[]);
    let id = alice.withdraw(&net, &bob.address, EARNED, FEE);
    let operator = alice.paid(&net, id).await["operator"].clone();
    until("the credit to be final", || async {
        let credit = net
            .rpc()
            .get("rollup_credit", json!([operator, "finalized"]))
            .await;
        match credit == json!(EARNED) {
            true => Ok(()),
            false => Err(credit.to_string()),
        }
    })
    .await;
    until_sums(&net, "the credit", [CLAIMED + REST, 0, EARNED, 0]).await;
    let redeem = ["operator", "redeem", "--to", &carol.account];
    let refused = |net: &BridgeNet, code: u8, why: &str| {
        let error = net.member(OPERATOR, &redeem).expect_err("nothing is redeemed");
        let error = format!("{error:#}");
        let code = format!("exit code Some({code})");
        assert!(error.contains(&code) && error.contains(why), "{error}");
    };
    refused(&net, 1, "one process at a time");
    net.stop_member(OPERATOR);
    let sent = net.member(OPERATOR, &redeem).expect("the credit is redeemed");
    assert_eq!(
        (&sent["creditSats"], &sent["left"]),
        (&json!(EARNED), &json!(1)),
        "{sent}"
    );
    net.start_member(OPERATOR).expect("the operator starts");
    carol.holds(&net, u128::from(EARNED) * SAT).await;
    until_sums(&net, "the credit to be redeemed", [CLAIMED + REST, 0, 0, 0]).await;
    let redeemed = logged(&net, "Redeemed(bytes32,address,uint64)").await;
    assert_eq!(redeemed.len(), 1, "{redeemed:?}");
    assert_eq!(number(&redeemed[0]["data"]), EARNED, "{redeemed:?}");
    net.stop_member(OPERATOR);
    refused(&net, 3, "credit: expected at least 1 sat, got 0 sats");
    net.start_member(OPERATOR).expect("the operator starts");
    // What is earned next is claimed as ever.
    let id = alice.withdraw(&net, &bob.address, CLAIMED, FEE);
    alice.paid(&net, id).await;
    until_sums(&net, "the reimbursement", [REST, 0, 0, 0]).await;
    let (output, height) = accepted(&deposit);
    let paid = until_spent(&net, output, height).await;
    assert_eq!(paid.output[0].value, Amount::from_sat(CLAIMED + BOUND));
    assert_eq!(bob.bitcoin(&net), EARNED + CLAIMED - 2 * FEE);
    assert_eq!(carol.wei(&net).await, u128::from(EARNED) * SAT);
}
