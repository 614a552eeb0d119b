//! Operators beside each other: each withdrawal is paid once, by whoever is there; payments of another amount or script, or of
//! what nobody asked for, earn nothing.

use alloy_primitives::B256;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, ScriptBuf, TxOut};
use bitsect_node::devnet::committee::{Member, Role, paying};
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use bitsect_tests::until;
use bitsect_vm::derive::payout_script;
use serde_json::{Value, json};

use crate::built::built;
use crate::steps::{FEE, User, run, sums, text, until_sums};

pub const FIRST: Member = Member::OPERATOR;
pub const SECOND: Member = Member {
    name: "second",
    role: Role::Operator,
};
const ASKED: u64 = 100_000;

async fn start(members: Vec<Member>) -> BridgeNet {
    let options = BridgeOptions {
        members,
        ..BridgeOptions::default()
    };
    BridgeNet::start(&built(), &options)
        .await
        .expect("a bridge starts")
}

async fn credit(net: &BridgeNet, operator: &Value) -> u64 {
    let credit = net.rpc().get("rollup_credit", json!([operator])).await;
    credit.as_u64().unwrap_or_else(|| panic!("{credit}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_withdrawal_is_paid_once_by_whoever_is_there() {
    let mut net = start(vec![FIRST, SECOND, Member::CHALLENGER]).await;
    let alice = User::new(&net, "alice", 20_000_000).await;
    // Larger than all credit: nothing is claimed here.
    for _ in 0..4 {
        alice.deposit(&net, &alice.account, 3_000_000, &[]);
    }
    let bob = User::new(&net, "bob", 0).await;
    let mut ids: Vec<u64> = (0..10)
        .map(|_| alice.withdraw(&net, &bob.address, ASKED, FEE))
        .collect();
    let mut operators = std::collections::BTreeMap::<String, u64>::new();
    let mut waited = Vec::new();
    for id in &ids {
        let paid = alice.paid(&net, *id).await;
        waited.push(blocks(&paid));
        *operators.entry(text(&paid["operator"])).or_default() += ASKED;
    }
    waited.sort_unstable();
    println!(
        "L1 blocks from a request to its payout, of {}: {waited:?}",
        waited.len()
    );
    assert_eq!(operators.len(), 2, "both pay in their turn: {operators:?}");
    until_sums(&net, "all credit", [12_000_000, 0, ids.len() as u64 * ASKED, 0]).await;
    for (operator, earned) in &operators {
        assert_eq!(credit(&net, &json!(operator)).await, *earned);
    }
    // One is gone: the other one pays what would have been its turn.
    net.stop_member(FIRST);
    ids.extend((0..4).map(|_| alice.withdraw(&net, &bob.address, ASKED, FEE)));
    for id in &ids[10..] {
        alice.paid(&net, *id).await;
    }
    // Nobody was paid twice, on Bitcoin or in the chain.
    let asked = ids.len() as u64;
    assert_eq!(bob.bitcoin(&net), asked * (ASKED - FEE), "{}", net.all_logged());
    until_sums(&net, "all credit", [12_000_000, 0, asked * ASKED, 0]).await;
}

/// L1 blocks from a request to its payout.
fn blocks(paid: &Value) -> u64 {
    let height = |name: &str| paid[name].as_u64().unwrap_or_else(|| panic!("{paid}"));
    height("paidL1Height") - height("l1Height")
}

/// Pays these outputs from somebody's wallet, as a payout of withdrawals by an operator.
async fn pay_as(net: &BridgeNet, operator: &B256, ids: &[u64], mut outputs: Vec<TxOut>) {
    outputs.push(TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(payout_script(operator, ids)),
    });
    net.pay(outputs).await.expect("Bitcoin takes it");
    net.network.synced(net.rpc()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_asked_for_earns_nothing() {
    let mut net = start(Member::PAIR.to_vec()).await;
    let alice = User::new(&net, "alice", 10_000_000).await;
    alice.deposit(&net, &alice.account, 3_000_000, &[]);
    let bob = User::new(&net, "bob", 0).await;
    net.stop_member(FIRST);
    let id = alice.withdraw(&net, &bob.address, ASKED, FEE);
    // A made-up operator: what counts for it would be seen in the sums.
    let operator = B256::repeat_byte(7);
    let right = Amount::from_sat(ASKED - FEE);
    let to = |address: &str, value: Amount| vec![paying(address, value).expect("an address")];
    let carol = User::new(&net, "carol", 0).await;
    until("the request on Bitcoin", || async {
        let status = run(&net, "alice", &["withdraw", "status", &id.to_string()]);
        match status["blockState"].as_str() {
            Some("finalized") => Ok(()),
            _ => Err(format!("{status}")),
        }
    })
    .await;
    for (ids, outputs) in [
        (vec![id], to(&bob.address, right - Amount::ONE_SAT)),
        (vec![id], to(&bob.address, right + Amount::ONE_SAT)),
        (vec![id], to(&carol.address, right)),
        (vec![id + 1], to(&bob.address, right)),
        // The right output in another place.
        (
            vec![id],
            [to(&carol.address, right), to(&bob.address, right)].concat(),
        ),
    ] {
        pay_as(&net, &operator, &ids, outputs).await;
    }
    // The last of them are in a block of L2 once this one is.
    pay_as(
        &net,
        &operator,
        &[id, id],
        [to(&bob.address, right), to(&bob.address, right)].concat(),
    )
    .await;
    let txid = bitcoin::Txid::from_byte_array(operator.0).to_string();
    until("what was paid right to count", || async {
        match credit(&net, &json!(txid)).await {
            ASKED => Ok(()),
            other => Err(format!("{other} sats")),
        }
    })
    .await;
    // Twice in one transaction is once.
    assert_eq!(sums(&net).await, [3_000_000, 0, ASKED, 0]);
    let status = run(&net, "alice", &["withdraw", "status", &id.to_string()]);
    assert_eq!(status["stage"], "paid", "{status}");
    assert_eq!(text(&status["operator"]), txid, "{status}");
    // An operator that comes later does not pay again.
    net.start_member(FIRST).expect("the operator starts");
    let next = alice.withdraw(&net, &carol.address, ASKED, FEE);
    alice.paid(&net, next).await;
    until_sums(&net, "the credit of both", [3_000_000, 0, 2 * ASKED, 0]).await;
    let bobs = 5 * right.to_sat();
    assert_eq!(bob.bitcoin(&net), bobs + right.to_sat());
}
