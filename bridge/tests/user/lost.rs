//! What never will be in a block: it is forgotten, or called lost, and stands in the way of nothing.

use bitcoin::OutPoint;
use bitsect_bridge::user::Order;

use crate::SATS;
use crate::world::{DELAY, NEEDED, TO, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_of_another_wallet_that_left_the_mempool_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    world.add_user("bob").await;
    let address = format!("deposit address --json --to {TO}");
    let shown = world.run("ann", &address).ok().json();
    let paid = world.pay("bob", &shown).await;
    let deposit = OutPoint::new(paid.compute_txid(), 1);
    assert_eq!(world.status("ann", deposit)["stage"], "mempool");
    world.lose_mempool(&[]).await;
    let all = world.run("ann", "deposit status --json").ok().json();
    assert_eq!(all["deposits"].as_array().unwrap().len(), 0, "{all}");
    // A block has it after all.
    world.core.mine_with(&[&paid]).await.unwrap();
    let all = world.run("ann", "deposit status --json").ok().json();
    assert_eq!(all["deposits"][0]["outpoint"], deposit.to_string());
    assert_eq!(all["deposits"][0]["stage"], "confirming");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_lost_to_the_accept_is_no_money() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let deposit = world.deposit("ann");
    world.core.mine(DELAY + NEEDED).await.unwrap();
    let session = world.session("ann").await;
    let kept = session.store().deposits().unwrap().remove(&deposit).unwrap();
    let accept = world.accept(deposit, &Order::of_script(&kept.tag).unwrap(), SATS);
    drop(session);
    world.run("ann", &format!("deposit refund {deposit}")).ok();
    let held = world.run("ann", "balance --json").ok().json();
    assert!(held["unconfirmedSats"].as_u64().unwrap() > 0, "{held}");
    world.core.mine_with(&[&accept]).await.unwrap();
    assert_eq!(world.status("ann", deposit)["stage"], "accepted");
    let held = world.run("ann", "balance --json").ok().json();
    assert_eq!(held["unconfirmedSats"], 0, "{held}");
    // A reorg drops the accept, and the refund is there again.
    world.core.reorg(1, 2).await.unwrap();
    let status = world.status("ann", deposit);
    assert_eq!(status["stage"], "refundInMempool", "{status}");
    let held = world.run("ann", "balance --json").ok().json();
    assert!(held["unconfirmedSats"].as_u64().unwrap() > 0, "{held}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_in_the_mempool_is_found_again_without_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let deposit = world.deposit("ann");
    world.core.mine(DELAY).await.unwrap();
    let refund = format!("deposit refund --json {deposit}");
    let refunded = world.run("ann", &refund).ok().json();
    std::fs::remove_dir_all(world.file("ann")).unwrap();
    let again = world.run("ann", &refund).ok().json();
    assert_eq!(again["refundTxid"], refunded["refundTxid"]);
    assert_eq!(again["feeSats"], refunded["feeSats"]);
    std::fs::remove_dir_all(world.file("ann")).unwrap();
    let bumped = world
        .run("ann", &format!("deposit bump --json {deposit}"))
        .ok()
        .json();
    assert_eq!(bumped["replacedTxid"], refunded["refundTxid"]);
    assert_eq!(bumped["stage"], "refundInMempool");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_built_on_a_replaced_deposit_is_lost_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let first = world.deposit("ann");
    let old = world.in_mempool(first.txid).await;
    let bumped = world
        .run("ann", &format!("deposit bump --json {first}"))
        .ok()
        .json();
    let bumped: OutPoint = bumped["outpoint"].as_str().unwrap().parse().unwrap();
    let second = world.deposit("ann");
    let built = world.in_mempool(second.txid).await;
    assert_eq!(built.input[0].previous_output.txid, bumped.txid);
    world.core.mine_with(&[&old]).await.unwrap();
    assert_eq!(world.status("ann", first)["stage"], "confirming");
    for deposit in [bumped, second] {
        assert_eq!(world.status("ann", deposit)["stage"], "lost");
        world.run("ann", &format!("deposit bump {deposit}")).refused(
            3,
            &format!(
                "deposit: expected one whose coins nothing else has spent, got {deposit}, which is lost"
            ),
        );
    }
    let third = world.deposit("ann");
    assert_eq!(world.mempool().await, [third.txid]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_pays_more_whose_child_is_in_no_mempool_either() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    let first = world.deposit("ann");
    let second = world.deposit("ann");
    world.lose_mempool(&["-minrelaytxfee=0.00005"]).await;
    for deposit in [first, second] {
        assert_eq!(world.status("ann", deposit)["stage"], "unsent");
    }
    let bumped = world
        .run("ann", &format!("deposit bump --json {first}"))
        .ok()
        .json();
    assert_eq!(bumped["stage"], "mempool");
    assert_eq!(world.status("ann", second)["stage"], "lost");
    let third = world.deposit("ann");
    let built = world.in_mempool(third.txid).await;
    let bumped: OutPoint = bumped["outpoint"].as_str().unwrap().parse().unwrap();
    assert_eq!(built.input[0].previous_output.txid, bumped.txid);
    assert_eq!(world.mempool().await.len(), 2);
}
