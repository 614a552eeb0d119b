//! What a command sends and does not tell of: the next one says so, and nobody pays twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::SATS;
use crate::world::{TO, Way, World, request};

const RULE: i32 = 3;
const NETWORK: i32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_that_was_sent_and_not_told_of_is_told_before_another() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let request = request(SATS);
    let mut session = world.session("ann").await;
    let (deposit, _) = session.send_deposit(&request).await.unwrap();
    // As killed while it waited.
    drop(session);
    assert_eq!(world.mempool().await, [deposit.txid]);
    let send = format!("deposit send --to {TO} --amount 50000sats");
    let words =
        format!("deposit: expected no deposit of an interrupted command, got {deposit}, which is on its way");
    world.run("ann", &send).refused(RULE, &words);
    assert_eq!(world.mempool().await, [deposit.txid]);
    world.deposit("ann");
    assert_eq!(world.mempool().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_that_was_told_of_and_lost_by_core_refuses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    let first = world.deposit("ann");
    world.lose_mempool(&[]).await;
    let second = world.deposit("ann");
    let mempool = world.mempool().await;
    assert!(
        mempool.contains(&first.txid) && mempool.contains(&second.txid),
        "{mempool:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_behind_what_was_sent_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let send = format!("deposit send --json --to {TO} --amount 50000sats");
    // Core has it, and its answer is lost.
    let deaf = world
        .way(|method| match method {
            "sendrawtransaction" => Way::Unanswered,
            _ => Way::Open,
        })
        .await;
    let done = world.run_by(&deaf, "ann", &send);
    let sent = done.json()["error"]["sent"].as_str().unwrap().to_owned();
    let done = done.refused(NETWORK, &format!("deposit {sent} is on its way: Bitcoin Core: "));
    assert_eq!(done.json()["error"]["kind"], "network");
    assert_eq!(world.status("ann", sent.parse().unwrap())["stage"], "mempool");
    // It fails behind that, when the deposit is looked at.
    let is_sent = Arc::new(AtomicBool::new(false));
    let failing = world
        .way(
            move |method| match is_sent.fetch_or(method == "sendrawtransaction", Ordering::SeqCst) {
                true => Way::Lost,
                false => Way::Open,
            },
        )
        .await;
    let done = world.run_by(&failing, "ann", &send);
    let second = done.json()["error"]["sent"].as_str().unwrap().to_owned();
    assert_ne!(second, sent);
    done.refused(
        NETWORK,
        &format!("deposit {second} is on its way: Bitcoin Core: "),
    );
    assert_eq!(world.mempool().await.len(), 2);
    // Who asks again all the same is told of it.
    world
        .run("ann", &send)
        .refused(RULE, &format!("got {second}, which is on its way"));
    world.run("ann", &send).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_waited_for_may_fail_for_a_moment() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    // The look at the mempool fails once, and there is no other block.
    let failed = Arc::new(AtomicBool::new(false));
    let way = world
        .way(move |method| {
            let is_look = method == "gettxspendingprevout";
            match is_look && !failed.swap(true, Ordering::SeqCst) {
                true => Way::Lost,
                false => Way::Open,
            }
        })
        .await;
    world.run_by(&way, "ann", "balance").ok();
    // With `--wait`, a fault behind the deposit ends nothing.
    let deposit = world.deposit("ann");
    world.core.mine(crate::world::DELAY).await.unwrap();
    let looks = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let way = world
        .way(move |method| {
            // The second look is of the deposit's own.
            let is_look = method == "gettxspendingprevout";
            match is_look && [2, 3].contains(&looks.fetch_add(1, Ordering::SeqCst)) {
                true => Way::Lost,
                false => Way::Open,
            }
        })
        .await;
    let status = format!("deposit status --json --wait {deposit} --l1-poll-seconds 1");
    let done = world.run_by(&way, "ann", &status).ok();
    assert_eq!(done.json()["stage"], "refundable");
    assert!(
        done.err.contains("waiting for Bitcoin Core or the node"),
        "{done:?}"
    );
}
