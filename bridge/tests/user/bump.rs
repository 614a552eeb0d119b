//! Paying more for a deposit, or its refund, that waits for a block.

use bitcoin::{OutPoint, Txid};
use serde_json::Value;

use crate::world::{DELAY, TO, World};

const RULE: i32 = 3;

fn outpoint(view: &Value) -> OutPoint {
    view["outpoint"].as_str().unwrap().parse().unwrap()
}

fn sats(view: &Value) -> u64 {
    view["feeSats"].as_u64().unwrap()
}

impl World {
    fn bump(&self, name: &str, deposit: OutPoint) -> Value {
        self.run(name, &format!("deposit bump --json {deposit}"))
            .ok()
            .json()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_that_pays_more_takes_the_place_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let send = format!("deposit send --json --to {TO} --amount 50000sats");
    let sent = world.run("ann", &send).ok().json();
    let first = outpoint(&sent);
    let old = world.in_mempool(first.txid).await;
    let bumped = world.bump("ann", first);
    let second = outpoint(&bumped);
    assert_eq!(world.mempool().await, [second.txid]);
    assert_eq!(bumped["replacedTxid"], first.txid.to_string());
    assert_eq!(bumped["stage"], "mempool");
    // The same deposit, by the same coins; the change pays.
    let new = world.in_mempool(second.txid).await;
    assert_eq!(new.output[..2], old.output[..2]);
    assert_eq!(new.input[0].previous_output, old.input[0].previous_output);
    assert_eq!(bumped["refundKey"], sent["refundKey"]);
    let more = (old.output[2].value - new.output[2].value).to_sat();
    assert_eq!(sats(&bumped) - sats(&sent), more);
    assert!(2 * sats(&bumped) >= 3 * sats(&sent), "{bumped}");
    // There is one, wherever it is looked for.
    world
        .run("ann", &format!("deposit status {first}"))
        .refused(RULE, "found none");
    let held = world.run("ann", "balance --json").ok().json();
    assert_eq!(held["openDeposits"].as_array().unwrap().len(), 1);
    // Again, and at the rate that is asked for.
    let asked = format!("deposit bump --json {second} --min-fee-rate-sat-per-kvb 20000");
    let third = world.run("ann", &asked).ok().json();
    let size = world.in_mempool(outpoint(&third).txid).await.vsize() as u64;
    assert!((20 * size..=20 * size + 20).contains(&sats(&third)), "{third}");
    assert_eq!(world.mempool().await, [outpoint(&third).txid]);
    world.core.mine(1).await.unwrap();
    assert_eq!(world.status("ann", outpoint(&third))["stage"], "confirming");
    world
        .run("ann", &format!("deposit bump {}", outpoint(&third)))
        .refused(
            RULE,
            "deposit: expected one that is in no block, or whose refund is in none, got one in the block at",
        );
    // What is left is all there.
    let held = world.run("ann", "balance --json").ok().json();
    assert_eq!(held["confirmedSats"], 5_000_000_000 - 50_000 - sats(&third));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_may_have_the_first_one_after_all() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let first = world.deposit("ann");
    let old = world.in_mempool(first.txid).await;
    let second = outpoint(&world.bump("ann", first));
    world.core.mine_with(&[&old]).await.unwrap();
    assert_eq!(world.status("ann", first)["stage"], "confirming");
    assert_eq!(world.status("ann", second)["stage"], "lost");
    // Its change can be spent.
    world.core.mine(1).await.unwrap();
    let third = world.deposit("ann");
    assert_eq!(world.mempool().await, [third.txid]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_keeping_and_sending_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let first = world.deposit("ann");
    let mut session = world.session("ann").await;
    let kept = session.keep_bump(first).await.unwrap();
    drop(session);
    assert_eq!(world.mempool().await, [first.txid]);
    assert_eq!(world.status("ann", kept.deposit)["stage"], "mempool");
    assert_eq!(world.mempool().await, [kept.deposit.txid]);
    // The folder is lost, and the coins lead to it.
    std::fs::remove_dir_all(world.file("ann")).unwrap();
    assert_eq!(world.status("ann", kept.deposit)["stage"], "mempool");
    let last = outpoint(&world.bump("ann", kept.deposit));
    assert_eq!(world.mempool().await, [last.txid]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_pays_more_takes_the_place_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let deposit = world.deposit("ann");
    world.core.mine(DELAY).await.unwrap();
    world
        .run("ann", &format!("deposit bump {deposit}"))
        .refused(RULE, "without a refund");
    let refunded = world
        .run("ann", &format!("deposit refund --json {deposit}"))
        .ok()
        .json();
    let bumped = world.bump("ann", deposit);
    assert_eq!(outpoint(&bumped), deposit);
    assert_eq!(bumped["stage"], "refundInMempool");
    assert_eq!(bumped["replacedTxid"], refunded["refundTxid"]);
    let txid: Txid = bumped["refundTxid"].as_str().unwrap().parse().unwrap();
    assert_eq!(world.mempool().await, [txid]);
    let tx = world.in_mempool(txid).await;
    assert_eq!(tx.output[0].value.to_sat() + sats(&bumped), 50_000);
    assert!(2 * sats(&bumped) >= 3 * sats(&refunded), "{bumped}");
    world.core.mine(1).await.unwrap();
    let status = world.status("ann", deposit);
    assert_eq!(
        (&status["stage"], &status["refundTxid"]),
        (&"refunded".into(), &bumped["refundTxid"])
    );
    world
        .run("ann", &format!("deposit bump {deposit}"))
        .refused(RULE, &format!("one that is unspent, got refunded by {txid}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_pay_more_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let first = world.deposit("ann");
    let bump = format!("deposit bump {first}");
    for (options, words) in [
        (
            "--max-fee 230",
            "fee: expected at most max_fee_sats, 0.00000230 BTC",
        ),
        (
            "--max-fee-rate-sat-per-kvb 1000",
            "fee rate: expected one that may be raised, max_fee_rate_sat_per_kvb is 1000, got 1000",
        ),
    ] {
        world
            .run("ann", &format!("{bump} {options}"))
            .refused(RULE, words);
    }
    // Another one is built on it.
    let second = world.deposit("ann");
    world.run("ann", &bump).refused(
        RULE,
        &format!(
            "transaction: expected one whose change nothing spends, got {}, whose change {} spends",
            first.txid, second.txid
        ),
    );
    let third = outpoint(&world.bump("ann", second));
    let mut mempool = world.mempool().await;
    mempool.sort();
    let mut expected = [first.txid, third.txid];
    expected.sort();
    assert_eq!(mempool, expected);
    // Somebody else's, and one that is none.
    world.run("bob", "key new --network regtest").ok();
    world
        .run("bob", &bump)
        .refused(RULE, "refund key: expected a refund key of this key file");
    let none = OutPoint::new(first.txid, 7);
    world
        .run("ann", &format!("deposit bump {none}"))
        .refused(RULE, "found none");
}
