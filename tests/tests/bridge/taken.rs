//! An operator that claims what is assigned already, because its node lies to it: an output that its own first slot has, and one
//! that another operator has. The chain refuses the assignment, the challenger takes the bond of the claim, and whose output it
//! is gets it.

use std::sync::{Arc, OnceLock};

use alloy_primitives::{B256, U256, hex};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, Network, OutPoint, Txid};
use bitsect_bridge::committee::MemberKeys;
use bitsect_bridge::setup::payout_address;
use bitsect_node::convert::chain_outpoint;
use bitsect_node::devnet::committee::Member;
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use bitsect_tests::lying_node::LyingNode;
use bitsect_vm::chain::bridge::output_id;
use serde_json::{Value, json};

use crate::built::built;
use crate::lies::{bond, holding, until_slashed};
use crate::operators::{FIRST, SECOND};
use crate::steps::{BOUND, FEE, User, accepted, logged, spender, text, until_spent, until_sums};

const SATS: u64 = 1_000_000;
/// An output that nobody has credit for.
const REST: u64 = 3_000_000;
/// The slot that an output is assigned to, and the one that claims it, too.
const SLOTS: [usize; 2] = [0, 1];
/// Why `Bridge` refuses an assignment: `Refusal.AssignedBefore`.
const ASSIGNED_BEFORE: u64 = 5;

fn ticket(assigned: &Value) -> OutPoint {
    let vout = assigned["ticketVout"].as_u64().expect("an output's number");
    let operator: Txid = text(&assigned["operator"]).parse().expect("a txid");
    OutPoint::new(operator, u32::try_from(vout).expect("an output's number"))
}

/// Says, from the first assignment on, that there is none, and that there is credit for it. `first` gets its ticket: about that
/// one nothing else is said than what is.
fn lie(first: &OnceLock<OutPoint>, method: &str, params: &Value, mut truth: Value) -> Value {
    match method {
        "rollup_vault" => {
            for output in truth["outputs"].as_array_mut().expect("outputs") {
                let assigned = output["assigned"].take();
                if !assigned.is_null() {
                    first.get_or_init(|| ticket(&assigned));
                }
            }
            truth
        }
        "rollup_credit" if first.get().is_some() => json!(SATS),
        "rollup_checkRecord" => match first.get() {
            Some(first) if params[1] != json!(output_id(&chain_outpoint(first))) => holding(truth),
            _ => truth,
        },
        _ => truth,
    }
}

/// An assignment that `Bridge` refused.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    ticket: OutPoint,
    output: OutPoint,
    reason: u64,
}

async fn refused(net: &BridgeNet) -> Vec<Refused> {
    let logs = logged(net, "AssignmentRefused(bytes32,uint32,bytes32,uint32,uint8)").await;
    let read = |log: &Value| {
        let data = hex::decode(text(&log["data"])).expect("hexadecimal");
        let word = |at: usize| B256::from_slice(&data[32 * at..32 * (at + 1)]);
        let number = |at: usize| U256::from_be_bytes(word(at).0).to::<u64>();
        let outpoint = |txid: B256, vout: u64| {
            let vout = u32::try_from(vout).expect("an output's number");
            OutPoint::new(Txid::from_byte_array(txid.0), vout)
        };
        let operator = text(&log["topics"][1]).parse().expect("a topic");
        Refused {
            ticket: outpoint(operator, number(0)),
            output: outpoint(word(1), number(2)),
            reason: number(3),
        }
    };
    logs.iter().map(read).collect()
}

/// Has an operator claim in the second slot what is assigned to the first one.
async fn a_second_claim_fails(members: Vec<Member>, slots: u32, liar: Member) {
    let options = BridgeOptions {
        members,
        slots,
        ..BridgeOptions::slow_disputes()
    };
    let mut net = BridgeNet::start(&built(), &options)
        .await
        .expect("a bridge starts");
    let alice = User::new(&net, "alice", 10_000_000).await;
    let deposit = alice.deposit(&net, &alice.account, SATS, &[]);
    alice.deposit(&net, &alice.account, REST, &[]);
    let (wanted, height) = accepted(&deposit);
    let first = Arc::new(OnceLock::new());
    let noted = Arc::clone(&first);
    let lies = move |method: &str, params: &Value, truth| lie(&noted, method, params, truth);
    let node = LyingNode::start(net.rpc().clone(), lies).await;
    net.stop_member(liar);
    net.links.verifier = node.url().to_owned();
    net.committee
        .configure(&net.links)
        .expect("the operator believes it");
    net.start_member(liar).expect("the operator starts");
    // The first operator pays, and has the output assigned for it. Then the other claim begins.
    let id = alice.withdraw(&net, &alice.address, SATS, FEE);
    alice.paid(&net, id).await;
    until_slashed(&net, SLOTS[1]).await;
    until_sums(&net, "the reimbursement", [REST, 0, 0, 0]).await;
    let first = *first.get().expect("the output was assigned");
    let refused = refused(&net).await;
    let [one] = refused.as_slice() else {
        panic!("one assignment is refused: {refused:?}")
    };
    assert_eq!((one.output, one.reason), (wanted, ASSIGNED_BEFORE), "{one:?}");
    assert_ne!(one.ticket, first);
    // On Bitcoin the second ticket is spent for it, too, and the first one's right takes it.
    spender(&net, one.ticket, height)
        .await
        .expect("a ticket is spent");
    let assigned = spender(&net, first, height).await.expect("a ticket is spent");
    let taken = until_spent(&net, wanted, height).await;
    assert_eq!(taken.input[1].previous_output.txid, assigned.compute_txid());
    let keys = MemberKeys::read(&net.committee.key(FIRST)).expect("the operator's keys");
    let paid = payout_address(&keys, Network::Regtest).script_pubkey();
    assert_eq!(
        (taken.output[0].value, &taken.output[0].script_pubkey),
        (Amount::from_sat(SATS + BOUND), &paid)
    );
    assert!(bond(&net, SLOTS[0]).await.starts_with("finalised"), "{taken:?}");
    let vault = net.rpc().get("rollup_vault", json!([])).await;
    let left = vault["outputs"].as_array().expect("outputs");
    assert_eq!(left.len(), 1, "{vault}");
    assert!(left[0]["assigned"].is_null(), "{vault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_claims_an_output_twice_loses_a_bond() {
    a_second_claim_fails(Member::PAIR.to_vec(), 2, FIRST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_claims_anothers_output_loses_its_bond() {
    a_second_claim_fails(vec![FIRST, SECOND, Member::CHALLENGER], 1, SECOND).await;
}
