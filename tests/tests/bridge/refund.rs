//! Deposits that go back: with the committee gone, at their block and not before; and never both minted and refunded.

use bitcoin::{OutPoint, Txid};
use bitsect_l1::regtest::{Bitcoind, RegtestConfig};
use bitsect_node::devnet::committee::Member;
use bitsect_node::devnet::program::output;
use bitsect_tests::bridge::{BridgeNet, BridgeOptions};
use bitsect_tests::until;
use serde_json::{Value, json};

use crate::built::built;
use crate::steps::{SAT, User, fee, run, sums, sums_of, text, until_sums};

const SATS: u64 = 1_000_000;
const MONEY: u64 = 5_000_000;
/// L1 blocks behind which what a node has derived is final to it.
const FINAL: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_goes_back_when_the_committee_is_gone() {
    let net = BridgeNet::start(&built(), &BridgeOptions::default()).await;
    let mut net = net.expect("a bridge starts");
    let alice = User::new(&net, "alice", MONEY).await;
    net.stand_still();
    // Gone for good: not even keys are left.
    for member in Member::PAIR {
        net.stop_member(member);
        std::fs::remove_file(net.committee.key(member)).expect("the key file is there");
    }
    let sent = alice.send(&net, &alice.account, SATS, &[]);
    let deposit = text(&sent["outpoint"]);
    net.network.core.mine(1).await.expect("a block");
    let delay = u32::from(net.network.chain().params.derive.refund_delay);
    // A refund can be in the block that is `delay` blocks after the deposit's: the next one, from delay - 1 more on.
    net.network.core.mine(delay - 2).await.expect("blocks");
    let early = net.user("alice", &["deposit", "refund", &deposit]);
    let early = format!("{:#}", early.expect_err("a block too early"));
    assert!(
        early.contains("exit code Some(3)") && early.contains(&format!("refund_delay, {delay} blocks")),
        "{early}"
    );
    net.network.core.mine(1).await.expect("a block");
    let refund = run(&net, "alice", &["deposit", "refund", &deposit]);
    assert_eq!(refund["stage"], "refundInMempool", "{refund}");
    net.network.core.mine(1).await.expect("a block");
    let status = run(&net, "alice", &["deposit", "status", &deposit]);
    assert_eq!(status["stage"], "refunded", "{status}");
    assert_eq!(alice.bitcoin(&net), MONEY - fee(&sent) - fee(&refund));
    net.network.synced(net.rpc()).await;
    assert_eq!(alice.wei(&net).await, 0);
    assert_eq!(sums(&net).await, [0; 4]);
}

/// What a user sees of a deposit on another Bitcoin Core.
fn on(net: &BridgeNet, core: &Bitcoind, args: &[&str]) -> Value {
    let mut command = net.user_command("alice").expect("a command");
    command.args(args).args(["--json", "--l1-url", &core.rpc_url()]);
    command.arg("--l1-cookie-file").arg(core.cookie());
    let said = output(command).unwrap_or_else(|error| panic!("{args:?}: {error:#}"));
    serde_json::from_str(&said).expect("JSON")
}

/// Waits until a deposit of Alice's is at a stage, and gives its status.
pub async fn stage_is(net: &BridgeNet, deposit: &str, expected: &str) -> Value {
    until(&format!("the deposit to be {expected}"), || async {
        let status = run(net, "alice", &["deposit", "status", deposit]);
        match status["stage"] == json!(expected) {
            true => Ok(status),
            false => Err(format!("{status}")),
        }
    })
    .await
}

/// Mines what waits, and then what the sequencer posts for it, until the verifier has these sums; gives how many blocks that took.
async fn mine_until_sums(net: &BridgeNet, expected: [u64; 4]) -> u32 {
    let core = &net.network.core;
    let before = core.tip().await.expect("a tip").height;
    // The sequencer takes an origin when there is a block on it.
    core.mine(2).await.expect("blocks");
    let sequencer = &net.sequencer.as_ref().expect("the sequencer runs").rpc;
    until("the sequencer to have the sums", || async {
        match sums_of(sequencer).await {
            sums if sums == expected => Ok(()),
            sums => Err(format!("{sums:?}")),
        }
    })
    .await;
    let last = sequencer.height("latest").await;
    net.network.mine_until_safe(net.rpc(), last).await;
    assert_eq!(sums(net).await, expected);
    let blocks = core.tip().await.expect("a tip").height - before;
    assert!(blocks < FINAL, "{blocks} blocks, of which the first is final");
    blocks
}

/// Has a deposit minted, and another one whose accept waits for a block while nobody mines; gives that.
async fn accept_waits(net: &mut BridgeNet, alice: &User) -> String {
    // The members have what they need, once one deposit is there.
    alice.deposit(net, &alice.account, SATS, &[]);
    until_sums(net, "the first deposit", [SATS, 0, 0, 0]).await;
    net.stand_still();
    let deposit = text(&alice.send(net, &alice.account, SATS, &[])["outpoint"]);
    net.network.core.mine(2).await.expect("blocks");
    stage_is(net, &deposit, "acceptInMempool").await;
    deposit
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accept_that_is_kept_back_mints_whenever_it_comes() {
    let options = BridgeOptions {
        refund_delay: 100,
        ..BridgeOptions::default()
    };
    let net = BridgeNet::start(&built(), &options).await;
    let mut net = net.expect("a bridge starts");
    let alice = User::new(&net, "alice", MONEY).await;
    let deposit = accept_waits(&mut net, &alice).await;
    let status = run(&net, "alice", &["deposit", "status", &deposit]);
    let accept: Txid = text(&status["acceptTxid"]).parse().expect("a txid");
    for member in Member::PAIR {
        net.stop_member(member);
    }
    // One member has it, and keeps it from the miners until the deposit could long be taken back: what pays for it pays nothing.
    let client = net.client().clone();
    let anchor = OutPoint::new(accept, 1);
    let spending = client.get_tx_spending_prevout(&[anchor]).await;
    let child = spending.expect("Bitcoin Core answers")[0].spending_txid;
    let child = child.expect("members pay for the accept");
    let prioritise = async |fee_delta| {
        let done = client.prioritise_transaction(&child, fee_delta).await;
        done.expect("Bitcoin Core answers");
    };
    prioritise(-1_000_000).await;
    let delay = u32::from(net.network.chain().params.derive.refund_delay);
    net.network.core.mine(delay).await.expect("blocks");
    stage_is(&net, &deposit, "refundable").await;
    prioritise(2_000_000).await;
    net.network.core.mine(1).await.expect("a block");
    net.network.synced(net.rpc()).await;
    let refused = net.user("alice", &["deposit", "refund", &deposit]);
    let refused = format!("{:#}", refused.expect_err("it is spent"));
    assert!(refused.contains(&format!("accepted by {accept}")), "{refused}");
    net.go_on();
    until_sums(&net, "the late deposit", [2 * SATS, 0, 0, 0]).await;
    stage_is(&net, &deposit, "minted").await;
    alice.holds(&net, u128::from(2 * SATS) * SAT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reorg_mints_a_deposit_that_is_refunded() {
    let options = BridgeOptions {
        listen: true,
        ..BridgeOptions::default()
    };
    let mut net = BridgeNet::start(&built(), &options)
        .await
        .expect("a bridge starts");
    let alice = User::new(&net, "alice", MONEY).await;
    let deposit = accept_waits(&mut net, &alice).await;
    // Another miner has the deposit and not the accept: to it the committee is gone.
    let folder = tempfile::tempdir().expect("a folder");
    let other = Bitcoind::start(RegtestConfig::new(folder.path().to_owned()))
        .await
        .expect("another Bitcoin Core");
    other.connect_to(&net.network.core).await.expect("both meet");
    other.client().set_network_active(false).await.expect("they part");
    let waiting = other.client().get_raw_mempool().await.expect("it answers");
    assert!(waiting.is_empty(), "{waiting:?}");
    let minted_in = mine_until_sums(&net, [2 * SATS, 0, 0, 0]).await;
    let minted = net.network.core.tip().await.expect("a tip");
    for member in Member::PAIR {
        net.stop_member(member);
    }

    let delay = u32::from(net.network.chain().params.derive.refund_delay);
    other.mine(delay).await.expect("blocks");
    let refund = on(&net, &other, &["deposit", "refund", &deposit]);
    assert_eq!(refund["stage"], "refundInMempool", "{refund}");
    other.mine(1).await.expect("a block");
    let refunded = on(&net, &other, &["deposit", "status", &deposit]);
    assert_eq!(refunded["stage"], "refunded", "{refunded}");
    // The longer chain wins: what was minted is not any more.
    other
        .client()
        .set_network_active(true)
        .await
        .expect("they can meet");
    other.connect_to(&net.network.core).await.expect("both meet");
    net.network.synced(net.rpc()).await;
    stage_is(&net, &deposit, "refunded").await;
    until_sums(&net, "the vault to have the first one alone", [SATS, 0, 0, 0]).await;
    alice.holds(&net, u128::from(SATS) * SAT).await;
    let paid = alice.bitcoin(&net);
    assert!(paid > MONEY - SATS - 10_000, "{paid} sats");
    // To who reads the first chain it is minted, and not refunded.
    other.client().set_network_active(false).await.expect("they part");
    let core = &net.network.core;
    let first = core
        .client()
        .get_block_hash(minted.height - minted_in + 1)
        .await
        .expect("Bitcoin Core answers");
    core.client()
        .invalidate_block(&first.expect("a block"))
        .await
        .expect("the chain is dropped");
    until("the first chain", || async {
        let tip = core.tip().await.map_err(|error| error.to_string())?;
        if tip == minted {
            Ok(())
        } else {
            Err(format!("{tip:?}"))
        }
    })
    .await;
    // What is final to a node stays so to it: another one reads the chain from its start.
    net.fresh_verifier("fresh").await.expect("another verifier");
    net.network.synced(net.rpc()).await;
    until_sums(&net, "both", [2 * SATS, 0, 0, 0]).await;
    stage_is(&net, &deposit, "minted").await;
    let left = alice.bitcoin(&net);
    assert!(left < MONEY - 2 * SATS, "{left} sats");
}
