//! A member that signs a move and keeps its part back until an operator has had the output assigned: the operator loses a ticket,
//! and no sat.

use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::schnorr;
use bitcoin::taproot::Signature;
use bitcoin::{Amount, Network, OutPoint, TapSighashType, Transaction, XOnlyPublicKey};
use bitsect_bridge::committee::{Deployment, MemberKeys, Role};
use bitsect_bridge::connector::{Funds, key_witness};
use bitsect_bridge::params::VaultParams;
use bitsect_bridge::setup::payout_address;
use bitsect_bridge::transaction::{Spent, vault_spend};
use bitsect_bridge::vault::ABANDONED_BLOCKS;
use bitsect_node::devnet::committee::Member;
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use bitsect_tests::withholding::Withholding;
use serde_json::json;

use crate::built::built;
use crate::lies::bond;
use crate::refund::stage_is;
use crate::steps::{BOUND, FEE, User, logged, spender, text, until_spent, until_sums};

const OPERATOR: Member = Member::OPERATOR;
const LARGE: u64 = 1_500_000;
/// What the large one is split into.
const PART: u64 = 750_000;
/// Too small for a claim: it is there for the fees on L2.
const SMALL: u64 = 100_000;

/// The large one is split, and its parts are claimed.
const SPLIT_ABOVE: u64 = 1_000_000;
const LEAST_CLAIM: u32 = 500_000;

/// Has the operator find the challenger behind what keeps its part back.
async fn withholding(net: &mut BridgeNet) -> Withholding {
    let path = net.committee.deployment();
    let mut deployment = Deployment::read(&path).expect("the deployment");
    let mut members = deployment.members.iter_mut();
    let challenger = members.find(|member| member.role == Role::Challenger);
    let challenger = challenger.expect("a challenger");
    let withholding = Withholding::start(&challenger.url).await;
    challenger.url = withholding.url().to_owned();
    net.stop_member(OPERATOR);
    std::fs::write(&path, deployment.to_toml().expect("a file")).expect("the file is written");
    net.start_member(OPERATOR).expect("the operator starts");
    withholding
}

/// Makes the move of the large output with the signature that only one member has.
fn split(net: &BridgeNet, output: OutPoint, signature: &[u8]) -> Transaction {
    let key = net.network.chain().params.derive.vault_key;
    let key = XOnlyPublicKey::from_slice(key.as_slice()).expect("a key");
    let funds = Funds::new(&Secp256k1::new(), key);
    let spent = Spent::new(output, funds.output(Amount::from_sat(LARGE)));
    let made = vault_spend(vec![spent], &[Amount::from_sat(PART); 2], &funds).expect("it balances");
    let signature = Signature {
        signature: schnorr::Signature::from_slice(signature).expect("a signature"),
        sighash_type: TapSighashType::Default,
    };
    made.finalize(vec![key_witness(&signature)])
}

/// Checks that the operator was paid all that the move made.
async fn parts_are_paid(net: &BridgeNet, split: &Transaction, above: u32) {
    let keys = MemberKeys::read(&net.committee.key(OPERATOR)).expect("the operator's keys");
    let paid = payout_address(&keys, Network::Regtest).script_pubkey();
    for vout in 0..2 {
        let taken = until_spent(net, OutPoint::new(split.compute_txid(), vout), above).await;
        let output = &taken.output[0];
        assert_eq!(
            (output.value, &output.script_pubkey),
            (Amount::from_sat(PART + BOUND), &paid)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_behind_an_assignment_costs_a_ticket_and_no_sat() {
    let options = BridgeOptions {
        slots: 3,
        least_claim_sats: LEAST_CLAIM,
        vault: VaultParams {
            split_above_sats: Some(SPLIT_ABOVE),
            ..VaultParams::default()
        },
        ..BridgeOptions::default()
    };
    let net = BridgeNet::start(&built(), &options).await;
    let mut net = net.expect("a bridge starts");
    let withholding = withholding(&mut net).await;
    let alice = User::new(&net, "alice", 10_000_000).await;
    let bob = User::new(&net, "bob", 0).await;
    alice.deposit(&net, &alice.account, SMALL, &[]);
    net.stand_still();
    let deposit = text(&alice.send(&net, &alice.account, LARGE, &[])["outpoint"]);
    net.network.core.mine(2).await.expect("blocks");
    let accepting = stage_is(&net, &deposit, "acceptInMempool").await;
    let accept = text(&accepting["acceptTxid"]).parse().expect("a txid");
    let large = OutPoint::new(accept, 0);
    // Both sign the move; only the challenger ever has both parts.
    withholding.keep_next();
    net.network.core.mine(2).await.expect("blocks");
    let height = net.network.core.tip().await.expect("a tip").height;
    let signature = withholding.signature().await;
    net.stop_member(Member::CHALLENGER);
    // The operator waits for it in vain, and then has the output assigned.
    net.go_on();
    until_sums(&net, "the deposits", [LARGE + SMALL, 0, 0, 0]).await;
    let id = alice.withdraw(&net, &bob.address, LARGE, FEE);
    until_sums(&net, "the assignment", [LARGE + SMALL, 0, 0, LARGE]).await;
    net.stand_still();
    let assigned = net.network.core.tip().await.expect("a tip").height;
    assert!(assigned > height + ABANDONED_BLOCKS, "{assigned}, from {height}");
    assert!(
        spender(&net, large, height).await.is_none(),
        "{}",
        net.all_logged()
    );
    alice.paid(&net, id).await;
    // Now the move comes after all.
    let split = split(&net, large, &signature);
    let mined = net.network.core.mine_with(&[&split]).await;
    mined.expect("all members have signed it");
    net.start_member(Member::CHALLENGER)
        .expect("the challenger starts");
    net.go_on();
    until_sums(&net, "both parts to be taken", [SMALL, 0, 0, 0]).await;
    assert_eq!(
        logged(&net, "Unassigned(bytes32,bytes32,uint32,uint64)")
            .await
            .len(),
        1
    );
    assert!(
        logged(&net, "VaultBroken(bytes32,uint64,uint64)")
            .await
            .is_empty()
    );
    parts_are_paid(&net, &split, height).await;
    assert_eq!(bob.bitcoin(&net), LARGE - FEE);
    // The ticket is spent, and its bond has backed nothing.
    assert_eq!(bond(&net, 0).await, "bonded");
    let vault = net.rpc().get("rollup_vault", json!([])).await;
    assert_eq!(vault["outputs"].as_array().map(Vec::len), Some(1), "{vault}");
}
