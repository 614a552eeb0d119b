//! An operator that takes what it has no credit for: to it its own node says that all is well. The chain gives nothing for its
//! assignment, and the challenger takes the bond of its claim.

use alloy_primitives::{B256, Bytes};
use bitsect_node::devnet::committee::Member;
use bitsect_node::unit::export::RecordAnswer;
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use bitsect_tests::lying_node::LyingNode;
use bitsect_tests::until;
use bitsect_vm::check::checked_state;
use bitsect_vm::record::UnitRecord;
use serde_json::{Value, json};

use crate::built::built;
use crate::steps::{User, until_sums};

const LARGE: u64 = 2_000_000;
const SMALL: u64 = 1_000_000;

/// Says that there is credit for everything, and that every check holds.
fn lie(method: &str, _: &Value, truth: Value) -> Value {
    match method {
        "rollup_credit" => json!(LARGE),
        "rollup_checkRecord" => holding(truth),
        _ => truth,
    }
}

/// Says of a check that it holds.
pub fn holding(truth: Value) -> Value {
    let Ok(answer) = serde_json::from_value::<RecordAnswer>(truth.clone()) else {
        return truth;
    };
    let mut record = UnitRecord::decode(&answer.record).expect("the node's record");
    if record.after == B256::ZERO {
        record.after = checked_state(&record.before, &record.advice);
    }
    let record = Bytes::from(record.encode());
    json!(RecordAnswer { record, ..answer })
}

/// Where a slot's bond is, as the challenger sees it.
pub async fn bond(net: &BridgeNet, slot: usize) -> String {
    let status = net.status(Member::CHALLENGER).await;
    let main = &status["disputes"]["slots"][slot]["main"];
    main.as_str().unwrap_or_default().to_owned()
}

/// How much was moved: the dispute goes on while that grows.
async fn moves(net: &BridgeNet, slot: usize) -> String {
    let status = net.status(Member::CHALLENGER).await;
    let moves = status["disputes"]["slots"][slot]["moves"]
        .as_array()
        .map_or(0, Vec::len);
    format!("{moves} moves")
}

/// Waits until the challenger has a slot's bond.
pub async fn until_slashed(net: &BridgeNet, slot: usize) {
    until("the bond to be taken", || async {
        match bond(net, slot).await.as_str() {
            "slashed by challenger" => Ok(()),
            other => Err(format!("{other}\n{}", moves(net, slot).await)),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_claims_without_credit_loses_its_bond() {
    let mut net = BridgeNet::start(&built(), &BridgeOptions::slow_disputes())
        .await
        .expect("a bridge starts");
    let alice = User::new(&net, "alice", 10_000_000).await;
    for sats in [LARGE, SMALL] {
        alice.deposit(&net, &alice.account, sats, &[]);
    }
    net.stop_member(Member::OPERATOR);
    let liar = LyingNode::start(net.rpc().clone(), lie).await;
    net.links.verifier = liar.url().to_owned();
    net.committee
        .configure(&net.links)
        .expect("the operator believes it");
    net.start_member(Member::OPERATOR).expect("the operator starts");
    // It has both outputs assigned, one to each slot, and claims them. It has paid nothing.
    for slot in 0..2 {
        until_slashed(&net, slot).await;
    }
    until_sums(&net, "the vault to be as it was", [LARGE + SMALL, 0, 0, 0]).await;
    let vault = net.rpc().get("rollup_vault", json!([])).await;
    let outputs = vault["outputs"].as_array().expect("outputs");
    assert!(
        outputs.iter().all(|output| output["assigned"].is_null()),
        "{vault}"
    );
}
