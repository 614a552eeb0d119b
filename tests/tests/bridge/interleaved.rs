//! A hundred deposits and a hundred withdrawals, with reorgs and crashes in between: at the end every sat is accounted for.

use bitcoin::{Amount, OutPoint};
use bitsect_node::devnet::committee::paying;
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use bitsect_tests::until;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::built::built;
use crate::steps::{User, fee, run, sums, text};

/// Pairs of a deposit and a withdrawal.
const PAIRS: usize = 100;
/// Outputs of the vault that are worth a claim, before the others.
const LARGE: u64 = 1_000_000;
const SLOTS: u32 = 8;
/// Coins of the user's: one for each deposit that waits for a block.
const COINS: u64 = 60;

/// Sends a deposit to itself, and gives what the user has spent.
fn send(net: &BridgeNet, user: &User, sats: u64) -> u64 {
    sats + fee(&user.send(net, &user.account, sats, &[]))
}

/// Drops up to three blocks, and mines one more than these without what waits.
async fn reorg(net: &mut BridgeNet, random: &mut StdRng) {
    net.stand_still();
    let depth = random.random_range(1..=3);
    net.network.core.reorg(depth, depth + 1).await.expect("a reorg");
    net.go_on();
}

/// Waits until all deposits are minted and all withdrawals paid; checks each one's sats.
async fn settled(net: &BridgeNet, alice: &User, deposited: u64, withdrawn: u64) {
    until("all deposits and withdrawals", || async {
        let balance = run(net, alice.name, &["balance"]);
        let (open, pending) = (&balance["openDeposits"], &balance["pendingWithdrawals"]);
        let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
        match is_empty(open) && is_empty(pending) {
            true => Ok(()),
            false => Err(format!(
                "{} open deposits, {} pending withdrawals",
                count(open),
                count(pending)
            )),
        }
    })
    .await;
    // The verifier comes behind the sequencer, which the commands ask.
    until("the verifier to have all of it", || async {
        let [vault, pending, credit, in_flight] = sums(net).await;
        let is_all = pending == 0 && vault + withdrawn == deposited + credit + in_flight;
        match is_all {
            true => Ok(()),
            false => Err(format!("{:?}", [vault, pending, credit, in_flight])),
        }
    })
    .await;
}

fn count(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

/// Checks that what the chain calls the vault is there on Bitcoin, to the sat.
async fn vault_is_on_bitcoin(net: &BridgeNet) {
    let vault = net.rpc().get("rollup_vault", json!([])).await;
    let outputs = vault["outputs"].as_array().expect("outputs");
    let mut sum = 0;
    for output in outputs {
        let outpoint: OutPoint = text(&output["outpoint"]).parse().expect("an outpoint");
        let found = net
            .client()
            .get_tx_out(&outpoint, true)
            .await
            .expect("Bitcoin Core answers");
        let found = found.unwrap_or_else(|| panic!("{outpoint} is spent: {output}"));
        assert_eq!(output["amountSats"], json!(found.value.to_sat()), "{output}");
        sum += found.value.to_sat();
    }
    assert_eq!(vault["vaultSats"], json!(sum), "{vault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sat_is_accounted_for_past_reorgs_and_crashes() {
    let options = BridgeOptions {
        slots: SLOTS,
        // No slot for the small ones.
        least_claim_sats: LARGE as u32,
        ..BridgeOptions::default()
    };
    let mut net = BridgeNet::start(&built(), &options)
        .await
        .expect("a bridge starts");
    let mut random = StdRng::seed_from_u64(6);
    let alice = User::new(&net, "alice", 0).await;
    let coin = paying(&alice.address, Amount::from_sat(LARGE / 5)).expect("an address");
    net.pay(vec![coin; COINS as usize]).await.expect("coins");
    let large = paying(&alice.address, Amount::from_sat(2 * LARGE)).expect("an address");
    net.pay(vec![large; SLOTS as usize]).await.expect("coins");
    let money = COINS * (LARGE / 5) + 2 * LARGE * u64::from(SLOTS);
    let bob = User::new(&net, "bob", 0).await;
    let (mut deposited, mut withdrawn, mut paid, mut spent) = (0, 0, 0, 0);
    for _ in 0..SLOTS {
        spent += send(&net, &alice, LARGE);
        deposited += LARGE;
    }
    until("the first money on L2", || async {
        match alice.wei(&net).await {
            0 => Err("there is none".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    for pair in 0..PAIRS {
        let sats = random.random_range(10_000..=60_000);
        spent += send(&net, &alice, sats);
        deposited += sats;
        let (sats, fee) = (
            random.random_range(20_000..=60_000),
            random.random_range(500..=2_000),
        );
        alice.withdraw(&net, &bob.address, sats, fee);
        withdrawn += sats;
        paid += sats - fee;
        match pair % 25 {
            6 | 12 | 18 => reorg(&mut net, &mut random).await,
            24 => net.crash().await.expect("everything starts again"),
            _ => {}
        }
    }
    settled(&net, &alice, deposited, withdrawn).await;
    vault_is_on_bitcoin(&net).await;
    assert_eq!(alice.bitcoin(&net), money - spent);
    assert_eq!(bob.bitcoin(&net), paid);
    let [vault, _, credit, _] = sums(&net).await;
    assert!(
        vault < deposited && credit < withdrawn,
        "the operator has taken some: {vault}, {credit}"
    );
}
