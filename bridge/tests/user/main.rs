//! A user's money on Bitcoin, by the command line, on a real Bitcoin Core with its default policy: deposits at every stage,
//! refunds at their block, crashes, lost folders, and what is refused before anything is sent. Needs bitcoind
//! (`.ci/setup bitcoind`).

mod bump;
mod forced;
mod lost;
mod node;
#[path = "../setup/process.rs"]
#[allow(dead_code, reason = "shared with the tests of set-up")]
mod process;
mod refused;
mod told;
mod world;

use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint};
use bitsect_bridge::user::Order;
use bitsect_l1::wallet::{Foreign, Funding};
use process::Daemon;
use world::{DELAY, NEEDED, TO, World};

const SATS: Amount = Amount::from_sat(50_000);
const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/// Gives the accept to Core together with a child of Ann's that pays.
async fn send_accept(world: &World, deposit: OutPoint) -> bitcoin::Txid {
    let session = world.session("ann").await;
    let kept = session.store().deposits().unwrap().remove(&deposit).unwrap();
    let accept = world.accept(deposit, &Order::of_script(&kept.tag).unwrap(), SATS);
    let txid = accept.compute_txid();
    let anchor = OutPoint::new(txid, 1);
    let mut request = Funding::new(bitcoin::FeeRate::from_sat_per_vb_u32(10), Vec::new());
    request.foreign.push(Foreign::anchor(anchor, Amount::ZERO));
    request.version = Version(3);
    request.need_change = true;
    request.unconfirmed = false;
    let child = session.wallet().fund(&request).unwrap();
    let child = session.wallet().finish(child).unwrap();
    let result = world
        .core
        .client()
        .submit_package(&[&accept, &child.tx])
        .await
        .unwrap();
    assert_eq!(result.message, "success", "{result:?}");
    txid
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_shown_at_every_stage() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let before = world.run("ann", "balance --json").ok().json();
    assert_eq!(before["confirmedSats"], 5_000_000_000_u64);
    let sent = world
        .run(
            "ann",
            &format!("deposit send --json --to {TO} --amount 0.0005BTC"),
        )
        .ok()
        .json();
    let deposit: OutPoint = sent["outpoint"].as_str().unwrap().parse().unwrap();
    assert_eq!(sent["stage"], "mempool");
    assert_eq!(sent["amountSats"], 50_000);
    assert!(sent["feeSats"].as_u64().unwrap() > 0);
    assert_eq!(world.mempool().await, [deposit.txid]);
    let shown = world.run("ann", "balance --json").ok().json();
    assert_eq!(shown["openDeposits"][0]["outpoint"], deposit.to_string());
    world.core.mine(1).await.unwrap();
    let height = world.core.tip().await.unwrap().height;
    let status = world.status("ann", deposit);
    assert_eq!(status["stage"], "confirming");
    assert_eq!(
        (&status["confirmations"], &status["needed"]),
        (&1.into(), &NEEDED.into())
    );
    assert_eq!(status["blocksLeft"], NEEDED - 1);
    // A reorg drops it, and it comes back.
    world.core.reorg(1, 2).await.unwrap();
    assert_eq!(world.status("ann", deposit)["stage"], "mempool");
    world.core.mine(NEEDED).await.unwrap();
    let height = height + 2;
    let status = world.status("ann", deposit);
    assert_eq!(status["stage"], "waitingForAccept", "{status}");
    assert_eq!(status["height"], height);
    assert_eq!(status["blocksLeft"], DELAY / 2 - (NEEDED - 1));
    assert_eq!(status["membersSignUntilHeight"], height + DELAY / 2);
    let accept = send_accept(&world, deposit).await;
    assert_eq!(status["acceptTxid"], accept.to_string());
    let status = world.status("ann", deposit);
    assert_eq!(status["stage"], "acceptInMempool");
    assert_eq!(status["acceptTxid"], accept.to_string());
    world.core.mine(1).await.unwrap();
    let status = world.status("ann", deposit);
    assert_eq!(
        (&status["stage"], &status["nodeAsked"]),
        (&"accepted".into(), &false.into())
    );
    assert_eq!(status["acceptTxid"], accept.to_string());
    // What is accepted is not taken back, at any time.
    world.core.mine(DELAY).await.unwrap();
    let words = format!("deposit: expected one that is unspent, got accepted by {accept}");
    world
        .run("ann", &format!("deposit refund {deposit}"))
        .refused(3, &words);
    assert!(world.mempool().await.is_empty());
    let text = world.run("ann", "deposit status").ok().out;
    assert!(
        text.contains("deposits: 1") && text.contains("accepted by"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_refused_a_block_early_and_taken_at_its_block() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let deposit = world.deposit("ann");
    let refund = format!("deposit refund --json {deposit}");
    world
        .run("ann", &refund)
        .refused(3, "a deposit that is in no block yet");
    world.core.mine(1).await.unwrap();
    let height = world.core.tip().await.unwrap().height;
    world.core.mine(DELAY / 2 + 1).await.unwrap();
    let status = world.status("ann", deposit);
    assert_eq!(status["stage"], "expired");
    assert_eq!(status["refundHeight"], height + DELAY);
    world.core.mine(DELAY / 2 - 3).await.unwrap();
    let words = format!(
        "height {}, got {} as the next height: 1 blocks left",
        height + DELAY,
        height + DELAY - 1
    );
    let early = world.run("ann", &refund).refused(3, &words);
    assert_eq!(early.json()["error"]["kind"], "refused");
    assert!(
        early.json()["error"]["rule"]
            .as_str()
            .unwrap()
            .starts_with("refund_delay, 20 blocks")
    );
    assert!(world.mempool().await.is_empty());
    let mut waiting = Daemon::start(&world.arguments("ann", &format!("deposit status --wait {deposit}")));
    world.core.mine(1).await.unwrap();
    waiting.wait("refundable since height");
    waiting.ended();
    // Of somebody else, it is somebody else's.
    world
        .run(
            "ann",
            &format!("deposit refund {}", OutPoint::new(deposit.txid, 7)),
        )
        .refused(3, "found none");
    world.run("bob", "key new --network regtest").ok();
    world
        .run("bob", &refund)
        .refused(3, "refund key: expected a refund key of this key file");
    let bad = format!("{refund} --to bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr");
    world
        .run("ann", &bad)
        .refused(3, "to: expected an address of the network regtest");
    world
        .run("ann", &format!("{refund} --max-fee 5"))
        .refused(3, "fee: expected at most max_fee_sats, 0.00000005 BTC");
    let refunded = world.run("ann", &refund).ok().json();
    assert_eq!(refunded["stage"], "refundInMempool");
    let txid = refunded["refundTxid"].as_str().unwrap().to_owned();
    // Asked twice, it is the same one, or refused.
    let elsewhere = format!("{refund} --to bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080");
    world
        .run("ann", &elsewhere)
        .refused(3, &format!("which the refund {txid} in the mempool pays, got"));
    assert_eq!(world.run("ann", &refund).ok().json()["refundTxid"], txid.as_str());
    let tx = world
        .core
        .client()
        .get_raw_transaction(&txid.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    let fee = refunded["feeSats"].as_u64().unwrap();
    assert_eq!(tx.output[0].value.to_sat() + fee, 50_000);
    assert!(
        (tx.vsize() as u64..=tx.vsize() as u64 + 1).contains(&fee),
        "1 sat/vB: {fee}"
    );
    // Consensus refuses it in the block before.
    let last = world.core.roll_back(1).await.unwrap();
    let answers = world.core.client().test_mempool_accept(&[&tx]).await.unwrap();
    assert_eq!(answers[0].reject_reason.as_deref(), Some("non-BIP68-final"));
    assert!(world.mempool().await.is_empty());
    world.core.client().reconsider_block(&last).await.unwrap();
    // Core dropped it; it is sent again.
    let status = world.status("ann", deposit);
    assert_eq!(
        (&status["stage"], &status["refundTxid"]),
        (&"refundInMempool".into(), &txid.as_str().into())
    );
    world.core.mine(1).await.unwrap();
    let status = world.status("ann", deposit);
    assert_eq!(
        (&status["stage"], &status["confirmations"]),
        (&"refunded".into(), &1.into())
    );
    world
        .run("ann", &refund)
        .refused(3, &format!("one that is unspent, got refunded by {txid}"));
    let held = world.run("ann", "balance --json").ok().json();
    assert_eq!(held["openDeposits"].as_array().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_survives_a_crash_before_it_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let request = world::request(SATS);
    let mut session = world.session("ann").await;
    let (deposit, _) = session.keep_deposit(&request).await.unwrap();
    // As killed: neither the wallet nor Core was told.
    drop(session);
    assert!(world.mempool().await.is_empty());
    // Who does not know that it was kept sends it again, and has it once.
    world
        .run("ann", &format!("deposit send --to {TO} --amount 50000sats"))
        .refused(
            3,
            &format!("deposit: expected no deposit of an interrupted command, got {deposit}"),
        );
    assert_eq!(world.status("ann", deposit)["stage"], "mempool");
    assert_eq!(world.mempool().await, [deposit.txid]);
    // Another deposit spends other coins, and has another key.
    let second = world.deposit("ann");
    assert_eq!(world.mempool().await.len(), 2);
    world.core.mine(1).await.unwrap();
    let all = world.run("ann", "deposit status --json").ok().json();
    let keys: std::collections::BTreeSet<&str> = all["deposits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|deposit| deposit["refundKey"].as_str().unwrap())
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(world.status("ann", second)["stage"], "confirming");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_with_a_call_is_relayed_and_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    // The longest one there can be.
    let data = "ab".repeat(1_024);
    let call = format!("--to {TO} --call-target {TO} --call-data 0x{data}");
    let shown = world
        .run("ann", &format!("deposit address --json {call}"))
        .ok()
        .json();
    let tag = shown["opReturn"].as_str().unwrap();
    assert!(
        tag.ends_with(&format!("{}{data}", TO[2..].to_lowercase())),
        "{tag}"
    );
    let plain = world
        .run("ann", &format!("deposit address --json --to {TO}"))
        .ok()
        .json();
    assert_ne!(plain["address"], shown["address"]);
    let sent = world.run("ann", &format!("deposit send --json --amount 20000sats {call}"));
    let sent = sent.ok().json();
    assert_eq!(sent["address"], shown["address"]);
    assert_eq!(sent["callTarget"].as_str().unwrap(), TO.to_lowercase());
    let deposit: OutPoint = sent["outpoint"].as_str().unwrap().parse().unwrap();
    world.core.mine(DELAY).await.unwrap();
    std::fs::remove_dir_all(world.file("ann")).unwrap();
    let refunded = world
        .run("ann", &format!("deposit refund --json {deposit}"))
        .ok()
        .json();
    assert_eq!(refunded["stage"], "refundInMempool");
    world.core.mine(1).await.unwrap();
    assert_eq!(world.status("ann", deposit)["stage"], "refunded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_and_an_accept_are_never_both() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let deposit = world.deposit("ann");
    world.core.mine(NEEDED).await.unwrap();
    send_accept(&world, deposit).await;
    world.core.mine(1).await.unwrap();
    assert_eq!(world.status("ann", deposit)["stage"], "accepted");
    // A reorg without the accept, as long as the delay: the refund takes the place of the accept in the mempool.
    world.core.reorg(1, DELAY).await.unwrap();
    assert_eq!(world.status("ann", deposit)["stage"], "refundable");
    let refund = format!("deposit refund --json {deposit} --min-fee-rate-sat-per-kvb 100000");
    let refunded = world.run("ann", &refund).ok().json();
    assert_eq!(refunded["stage"], "refundInMempool");
    world.core.mine(1).await.unwrap();
    assert_eq!(world.status("ann", deposit)["stage"], "refunded");
    // Another reorg, back to where it was open; what was made is sent again, and nothing else.
    world.core.reorg(1, 2).await.unwrap();
    assert_eq!(world.status("ann", deposit)["stage"], "refundInMempool");
    world.core.mine(1).await.unwrap();
    let status = world.status("ann", deposit);
    assert_eq!(
        (&status["stage"], &status["refundTxid"]),
        (&"refunded".into(), &refunded["refundTxid"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_deposit_whose_coins_are_gone_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let request = world::request(SATS + SATS);
    let mut session = world.session("ann").await;
    let (kept, _) = session.keep_deposit(&request).await.unwrap();
    drop(session);
    // The same key on another machine spends the only coin.
    std::fs::copy(world.file("ann.key"), world.file("twin.key")).unwrap();
    let other = world.deposit("twin");
    assert_eq!(world.status("ann", kept)["stage"], "unsent");
    world.core.mine(1).await.unwrap();
    assert_eq!(world.status("ann", kept)["stage"], "lost");
    assert_eq!(world.status("ann", other)["stage"], "confirming");
    // What is left can be spent.
    world.core.mine(1).await.unwrap();
    let third = world.deposit("ann");
    assert_eq!(world.mempool().await, [third.txid]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_are_found_again_with_the_key_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    let first = world.deposit("ann");
    // Lost while it is in the mempool: it spends our coins.
    std::fs::remove_dir_all(world.file("ann")).unwrap();
    assert_eq!(world.status("ann", first)["stage"], "mempool");
    let address = format!("deposit address --json --to {TO}");
    assert_eq!(world.run("ann", &address).ok().json()["refundKeyIndex"], 1);
    world.core.mine(1).await.unwrap();
    // Lost when it is in a block: its tag has our key.
    std::fs::remove_dir_all(world.file("ann")).unwrap();
    let all = world.run("ann", "deposit status --json").ok().json();
    assert_eq!(all["deposits"].as_array().unwrap().len(), 1);
    assert_eq!(all["deposits"][0]["outpoint"], first.to_string());
    let shown = world.run("ann", &address).ok().json();
    assert_eq!(shown["refundKeyIndex"], 1);
    // Shown twice, it is the same as long as nobody paid it.
    assert_eq!(world.run("ann", &address).ok().json(), shown);

    // Paid by another wallet, as the command says.
    world.add_user("bob").await;
    let paid = world.pay("bob", &shown).await;
    let second = OutPoint::new(paid.compute_txid(), 1);
    assert_eq!(world.status("ann", second)["stage"], "mempool");
    world.run("ann", &format!("deposit bump {second}")).refused(
        3,
        &format!(
            "transaction: expected one that only this wallet pays, got {}",
            second.txid
        ),
    );
    world.core.mine(NEEDED).await.unwrap();
    assert_eq!(world.status("ann", second)["stage"], "waitingForAccept");
    assert_eq!(world.run("ann", &address).ok().json()["refundKeyIndex"], 2);
    // All is lost again, and both are taken back.
    std::fs::remove_dir_all(world.file("ann")).unwrap();
    world.core.mine(DELAY).await.unwrap();
    for deposit in [first, second] {
        let refund = format!("deposit refund --json {deposit}");
        assert_eq!(world.run("ann", &refund).ok().json()["stage"], "refundInMempool");
    }
    world.core.mine(1).await.unwrap();
    let all = world.run("ann", "deposit status --json").ok().json();
    for deposit in all["deposits"].as_array().unwrap() {
        assert_eq!(deposit["stage"], "refunded");
    }
}
