//! Members that care for the vault while operators use it: a large output is split, small ones are merged, a deposit that does not
//! fit waits for room or is refunded, and withdrawals are paid back with what the moves made. Sums to the sat on both layers.

use std::collections::BTreeMap;

use bitcoin::{Amount, OutPoint};
use bitsect_bridge::params::VaultParams;
use bitsect_node::devnet::committee::Member;
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use bitsect_tests::until;
use serde_json::{Value, json};

use crate::built::built;
use crate::steps::{BOUND, FEE, SAT, User, accepted, logged, run, spender, text, until_spent, until_sums};

const CARE: VaultParams = VaultParams {
    split_above_sats: Some(1_000_000),
    merge_below_sats: Some(100_000),
    max_vault_sats: Some(3_000_000),
};
const LARGE: u64 = 2_500_000;
/// What the large one is split into.
const PARTS: [u64; 3] = [833_334, 833_333, 833_333];
const SMALL: u64 = 20_000;
/// What eight small ones become.
const MERGED: u64 = 8 * SMALL;
/// Fits when a part is gone.
const LATE: u64 = 500_000;
/// Never fits.
const TOO_LARGE: u64 = 3_000_001;
/// Credit for one part, and then for what was merged.
const WITHDRAWN: [u64; 2] = [900_000, 100_000];

/// Reads outputs, each with its sats.
fn read(vault: &Value, sats: &str) -> Vec<(OutPoint, u64)> {
    let outputs = vault["outputs"].as_array().expect("outputs").iter();
    let read = |output: &Value| {
        let outpoint = text(&output["outpoint"]).parse().expect("an outpoint");
        (outpoint, output[sats].as_u64().expect("an amount"))
    };
    outputs.map(read).collect()
}

/// Gives the vault as Bitcoin shows it.
fn shown(net: &BridgeNet) -> Value {
    let vault = net.member(Member::CHALLENGER, &["vault"]);
    vault.unwrap_or_else(|error| panic!("{error:#}\n{}", net.all_logged()))
}

/// Waits until the vault's outputs have these amounts, and gives them, the oldest first.
async fn until_outputs(net: &BridgeNet, what: &str, expected: &[u64]) -> Vec<(OutPoint, u64)> {
    until(what, || async {
        let outputs = read(&shown(net), "sats");
        let sats: Vec<u64> = outputs.iter().map(|(_, sats)| *sats).collect();
        match sats == expected {
            true => Ok(outputs),
            false => Err(format!("{sats:?}")),
        }
    })
    .await
}

/// Waits until an output that a move made is taken for a withdrawal.
async fn taken(net: &BridgeNet, (output, sats): (OutPoint, u64), above: u32) {
    let paid = until_spent(net, output, above).await;
    assert_eq!(paid.output[0].value, Amount::from_sat(sats + BOUND), "{paid:?}");
}

/// Gives the vault's outputs as the chain has them.
async fn counted(net: &BridgeNet) -> BTreeMap<OutPoint, u64> {
    let vault = net.rpc().get("rollup_vault", json!([])).await;
    assert_eq!(
        (&vault["holds"], &vault["left"]),
        (&json!(true), &json!([])),
        "{vault}"
    );
    read(&vault, "amountSats").into_iter().collect()
}

/// Checks that Bitcoin Core, members and chain have the same outputs in the vault.
async fn agreed(net: &BridgeNet, expected: u64) {
    let vault = shown(net);
    assert_eq!(vault["heldSats"], json!(expected), "{vault}");
    let outputs: BTreeMap<OutPoint, u64> = read(&vault, "sats").into_iter().collect();
    for (output, sats) in &outputs {
        let there = net.client().get_tx_out(output, false).await;
        let there = there.expect("Bitcoin Core answers").expect("it is there");
        assert_eq!(there.tx_out().value, Amount::from_sat(*sats));
    }
    until("the chain to have the same outputs", || async {
        match counted(net).await {
            counted if counted == outputs => Ok(()),
            counted => Err(format!("{counted:?} instead of {outputs:?}")),
        }
    })
    .await;
    assert_eq!(outputs.values().sum::<u64>(), expected);
    assert!(
        logged(net, "VaultBroken(bytes32,uint64,uint64)").await.is_empty(),
        "what is moved is of the same sum"
    );
    let node = net.sequencer.as_ref().expect("the sequencer runs");
    let metrics = reqwest::get(&node.metrics).await.expect("the node answers");
    let metrics = metrics.text().await.expect("text");
    assert!(
        metrics.contains("\nbitsect_bridge_violations_total 0\n"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vault_is_cared_for_while_it_is_used() {
    let options = BridgeOptions {
        vault: CARE,
        ..BridgeOptions::default()
    };
    let mut net = BridgeNet::start(&built(), &options)
        .await
        .expect("a bridge starts");
    let alice = User::new(&net, "alice", 20_000_000).await;
    let large = alice.deposit(&net, &alice.account, LARGE, &[]);
    let too_large = text(&alice.send(&net, &alice.account, TOO_LARGE, &[])["outpoint"]);
    let parts = until_outputs(&net, "the split", &PARTS).await;
    let (accept, height) = accepted(&large);
    let split = spender(&net, accept, height).await.expect("the split");
    assert_eq!(split.compute_txid(), parts[0].0.txid);
    for _ in 0..8 {
        alice.send(&net, &alice.account, SMALL, &[]);
    }
    let [a, b, c] = PARTS;
    let moved = until_outputs(&net, "the merge", &[a, b, c, MERGED]).await;
    let mut vault = LARGE + MERGED;
    until_sums(&net, "what was moved", [vault, 0, 0, 0]).await;
    alice.holds(&net, u128::from(vault) * SAT).await;
    agreed(&net, vault).await;
    // A part is taken for a withdrawal; only then there is room for another deposit.
    let bob = User::new(&net, "bob", 0).await;
    let id = alice.withdraw(&net, &bob.address, WITHDRAWN[0], FEE);
    alice.paid(&net, id).await;
    let late = alice.send(&net, &alice.account, LATE, &["--wait"]);
    assert_eq!(late["stage"], "minted", "{late}\n{}", net.all_logged());
    let (_, accepted_at) = accepted(&late);
    taken(&net, moved[0], height).await;
    assert!(
        spender(&net, moved[0].0, accepted_at - 1).await.is_none(),
        "the vault was too full: {late}"
    );
    vault = vault - PARTS[0] + LATE;
    until_sums(
        &net,
        "the part to be taken",
        [vault, 0, WITHDRAWN[0] - PARTS[0], 0],
    )
    .await;
    agreed(&net, vault).await;
    // What was merged is taken for the next one.
    let id = alice.withdraw(&net, &bob.address, WITHDRAWN[1], FEE);
    alice.paid(&net, id).await;
    vault -= MERGED;
    let credit = WITHDRAWN.iter().sum::<u64>() - PARTS[0] - MERGED;
    until_sums(&net, "what was merged to be taken", [vault, 0, credit, 0]).await;
    taken(&net, moved[3], height).await;
    assert_eq!(bob.bitcoin(&net), WITHDRAWN.iter().sum::<u64>() - 2 * FEE);
    // The one that never fits is its owner's again.
    net.stand_still();
    let delay = u32::from(net.network.chain().params.derive.refund_delay);
    net.network.core.mine(delay).await.expect("blocks");
    let refund = run(&net, "alice", &["deposit", "refund", &too_large]);
    assert_eq!(refund["stage"], "refundInMempool", "{refund}");
    net.network.core.mine(1).await.expect("a block");
    let status = run(&net, "alice", &["deposit", "status", &too_large]);
    assert_eq!(status["stage"], "refunded", "{status}");
    net.network.synced(net.rpc()).await;
    until_sums(&net, "the sums to stay", [vault, 0, credit, 0]).await;
    agreed(&net, vault).await;
}
