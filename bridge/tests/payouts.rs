//! Operators' payouts on a real Bitcoin Core: two that pay the same, reorgs, and what others are seen to do. Needs bitcoind
//! (`.ci/setup bitcoind`).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::{Amount, Network, NetworkKind, OutPoint, ScriptBuf, Transaction, TxOut, Txid};
use bitsect_bridge::committee::Digest;
use bitsect_bridge::vault::{Open, PayoutError, Payouts};
use bitsect_l1::follower::{Event, Follower, FollowerConfig};
use bitsect_l1::regtest::{Bitcoind, RegtestConfig};
use bitsect_l1::sender::FeePolicy;
use bitsect_l1::wallet::{Funding, Keys, Wallet};
use bitsect_vm::derive::assignment_script;

/// Confirmations behind which nothing comes back.
const DEEP: u32 = 3;
const RATE: bitcoin::FeeRate = bitcoin::FeeRate::from_sat_per_vb_u32(2);

fn open(id: u64) -> Open {
    Open {
        id,
        amount: Amount::from_sat(100_000 + id),
        fee: Amount::from_sat(1_000),
        since: 0,
        script: ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([7; 20])),
    }
}

fn opens(ids: &[u64]) -> Vec<Open> {
    ids.iter().map(|id| open(*id)).collect()
}

async fn node(dir: &Path) -> Bitcoind {
    let node = Bitcoind::start(RegtestConfig::new(dir.join("core"))).await;
    let node = node.unwrap();
    node.mine(5).await.unwrap();
    node
}

/// An operator with money.
struct Operator {
    wallet: Wallet,
    payouts: Payouts,
}

impl Operator {
    async fn new(dir: &Path, name: u8, node: &Bitcoind) -> Self {
        let folder = dir.join(name.to_string());
        std::fs::create_dir(&folder).unwrap();
        let keys = Keys::read_or_generate(&folder.join("wallet.key"), NetworkKind::Test).unwrap();
        let birthday = node.tip().await.unwrap();
        let wallet = Wallet::open(&folder.join("wallet.redb"), keys, Network::Regtest, birthday).unwrap();
        node.fund(&wallet.receive_address().unwrap(), 1).await.unwrap();
        let operator = Txid::from_byte_array([name; 32]);
        let payouts = Payouts::open(&folder, &Digest([1; 32]), operator, FeePolicy::default()).unwrap();
        let operator = Self { wallet, payouts };
        operator.follow(node).await;
        operator
    }

    async fn follow(&self, node: &Bitcoind) -> u32 {
        let tip = node.tip().await.unwrap();
        let config = FollowerConfig {
            poll: Duration::from_millis(200),
            ..FollowerConfig::default()
        };
        let mut follower = Follower::new(node.client().clone(), config, self.wallet.known()).unwrap();
        loop {
            let event = follower.next().await.unwrap();
            self.wallet.apply(&event).unwrap();
            if matches!(event, Event::Tip { at, .. } if at == tip) {
                return tip.height;
            }
        }
    }

    async fn pay(&mut self, node: &Bitcoind, ids: &[u64]) -> Transaction {
        let tip = self.follow(node).await;
        let opens = opens(ids);
        let paid = self.payouts.pay((node.client(), &self.wallet), &opens, tip);
        paid.await.unwrap();
        self.newest()
    }

    fn newest(&self) -> Transaction {
        let last = self.payouts.under_way().last().unwrap();
        last.versions.last().unwrap().tx.clone()
    }

    /// What is under way, by the ids that it may have paid.
    fn under_way(&self) -> Vec<Vec<u64>> {
        let paid = self.payouts.under_way().iter();
        paid.map(|payout| payout.paid.keys().copied().collect()).collect()
    }

    /// Sees what others pay of these.
    async fn others(&mut self, node: &Bitcoind, ids: &[u64]) -> BTreeSet<u64> {
        let tip = self.follow(node).await;
        let opens = opens(ids);
        let others = self.payouts.others(node.client(), &opens, (tip, tip));
        others.await.unwrap()
    }

    /// Does what is due; `counted` are withdrawals that the chain has as paid.
    async fn advance(&mut self, node: &Bitcoind, counted: &[u64]) -> Result<(), PayoutError> {
        let others = self.others(node, &[]).await;
        let tip = self.follow(node).await;
        let is_paid = |id| counted.contains(&id);
        self.payouts
            .advance((node.client(), &self.wallet), is_paid, &others, (tip, DEEP))
            .await
    }
}

async fn mempool(node: &Bitcoind) -> BTreeSet<Txid> {
    let waiting = node.client().get_raw_mempool().await.unwrap();
    waiting.into_iter().collect()
}

fn ids<const N: usize>(transactions: [&Transaction; N]) -> BTreeSet<Txid> {
    transactions.map(Transaction::compute_txid).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_operators_drop_is_open_again_when_that_is_deep() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let mut a = Operator::new(dir.path(), 1, &node).await;
    let mut b = Operator::new(dir.path(), 2, &node).await;
    let paid = [a.pay(&node, &[7, 8]).await, b.pay(&node, &[7, 8]).await];
    assert_eq!(mempool(&node).await, ids([&paid[0], &paid[1]]));
    // Both see the other's before they replace their own.
    let seen = [a.others(&node, &[]).await, b.others(&node, &[]).await];
    assert_eq!(seen, [[7, 8].into(), [7, 8].into()]);
    let tip = a.follow(&node).await;
    b.follow(&node).await;
    for (operator, others) in [&mut a, &mut b].into_iter().zip(seen) {
        let context = (node.client(), &operator.wallet);
        let done = operator.payouts.advance(context, |_| false, &others, (tip, DEEP));
        done.await.unwrap();
    }
    let empty = [a.newest(), b.newest()];
    assert_eq!(mempool(&node).await, ids([&empty[0], &empty[1]]));
    for blocks in 1..DEEP {
        node.mine(1).await.unwrap();
        a.advance(&node, &[]).await.unwrap();
        assert_eq!(a.under_way(), [[7, 8]], "{blocks} deep");
    }
    node.mine(1).await.unwrap();
    for operator in [&mut a, &mut b] {
        operator.advance(&node, &[]).await.unwrap();
        assert!(operator.under_way().is_empty());
    }
    // One pays them now, and the other one sees it.
    let again = a.pay(&node, &[7, 8]).await;
    assert_eq!(b.others(&node, &[7, 8]).await, [7, 8].into());
    node.mine(DEEP).await.unwrap();
    a.advance(&node, &[]).await.unwrap();
    assert_eq!(a.under_way(), [[7, 8]], "{} is not counted", again.compute_txid());
    a.advance(&node, &[7]).await.unwrap();
    assert_eq!(a.under_way(), [[7, 8]]);
    a.advance(&node, &[7, 8]).await.unwrap();
    assert!(a.under_way().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_is_over_when_its_own_transaction_is_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let mut a = Operator::new(dir.path(), 1, &node).await;
    let mut b = Operator::new(dir.path(), 2, &node).await;
    let paid = a.pay(&node, &[7]).await;
    let others = b.pay(&node, &[7]).await;
    // The other one's alone is mined, and the chain has counted it. What is left could be mined any time.
    node.mine_with(&[&others]).await.unwrap();
    a.advance(&node, &[7]).await.unwrap();
    let empty = a.newest();
    assert_eq!(mempool(&node).await, ids([&empty]));
    assert!(empty.output.iter().all(|output| *output != open(7).output()));
    for blocks in 1..DEEP {
        node.mine(1).await.unwrap();
        a.advance(&node, &[7]).await.unwrap();
        assert_eq!(a.under_way(), [[7]], "{blocks} deep");
    }
    node.mine(1).await.unwrap();
    a.advance(&node, &[7]).await.unwrap();
    assert!(a.under_way().is_empty());
    let answers = node.client().test_mempool_accept(&[&paid]).await.unwrap();
    assert_eq!(answers[0].allowed, Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_of_coins_that_a_reorg_took_away_is_given_up_and_keeps_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let mut a = Operator::new(dir.path(), 1, &node).await;
    // The only coin pays 1, and is then to pay nothing: but a block has the first version.
    let first = a.pay(&node, &[1]).await;
    let tip = a.follow(&node).await;
    let context = (node.client(), &a.wallet);
    let others = [1].into();
    let replaced = a.payouts.advance(context, |_| false, &others, (tip, DEEP));
    replaced.await.unwrap();
    let second = a.newest();
    node.mine_with(&[&first]).await.unwrap();
    let lost = a.pay(&node, &[2]).await;
    assert_eq!(lost.input[0].previous_output.txid, first.compute_txid());
    // Another branch has the other version: what pays 2 spends what never was.
    node.roll_back(1).await.unwrap();
    node.mine_with(&[&second]).await.unwrap();
    node.mine_with(&[]).await.unwrap();
    for _ in 0..DEEP {
        a.advance(&node, &[]).await.unwrap();
        assert!(a.under_way().contains(&vec![2]));
        node.mine(1).await.unwrap();
    }
    a.advance(&node, &[]).await.unwrap();
    assert!(a.under_way().is_empty(), "{:?}", a.under_way());
    let again = a.pay(&node, &[2]).await;
    assert_eq!(again.input[0].previous_output.txid, second.compute_txid());
    assert_eq!(mempool(&node).await, ids([&again]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mempool_has_lost_may_come_for_some_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path()).await;
    let mut a = Operator::new(dir.path(), 1, &node).await;
    let mut b = Operator::new(dir.path(), 2, &node).await;
    b.pay(&node, &[7]).await;
    assert_eq!(a.others(&node, &[7]).await, [7].into());
    // Of another amount it is no payment.
    let other = [Open {
        amount: Amount::from_sat(5_000),
        ..open(7)
    }];
    let tip = a.follow(&node).await;
    let others = a.payouts.others(node.client(), &other, (tip, tip));
    assert!(others.await.unwrap().is_empty());
    // Killed before it writes its mempool; blocks it has.
    node.client().flush().await.unwrap();
    node.restart().await.unwrap();
    assert!(mempool(&node).await.is_empty());
    for _ in 0..6 {
        assert_eq!(a.others(&node, &[7]).await, [7].into());
        node.mine(1).await.unwrap();
    }
    assert!(a.others(&node, &[7]).await.is_empty());
    // Seen anew in a block, as deep as the chain has not counted.
    b.advance(&node, &[]).await.unwrap();
    node.mine(1).await.unwrap();
    assert_eq!(a.others(&node, &[7]).await, [7].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_in_the_mempool_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let mut a = Operator::new(dir.path(), 1, &node).await;
    let output = OutPoint::new(Txid::from_byte_array([9; 32]), 3);
    assert!(!a.payouts.is_assigned(&output));
    let named = bitsect_vm::chain::OutPoint {
        txid: output.txid.to_byte_array().into(),
        vout: output.vout,
    };
    let tag = TxOut {
        value: Amount::ZERO,
        script_pubkey: assignment_script(&named).into(),
    };
    let made = a.wallet.fund(&Funding::new(RATE, vec![tag])).unwrap();
    let made = a.wallet.finish(made).unwrap();
    node.client().send_raw_transaction(&made.tx).await.unwrap();
    a.others(&node, &[]).await;
    assert!(a.payouts.is_assigned(&output));
    let next = OutPoint { vout: 4, ..output };
    assert!(!a.payouts.is_assigned(&next));
    node.mine(1).await.unwrap();
    a.others(&node, &[]).await;
    assert!(!a.payouts.is_assigned(&output));
}
