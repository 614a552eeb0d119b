//! The wallet against a real Bitcoin Core: funding, foreign inputs, replacement, lifting, reorgs, restarts. Needs
//! bitcoind (`.ci/setup bitcoind`).

use std::{path::Path, time::Duration};

use bitcoin::{
    Address, Amount, FeeRate, Network, NetworkKind, OutPoint, Transaction, TxOut,
    key::{Keypair, Secp256k1},
};
use bitsect_l1::{
    BlockRef,
    follower::{Event, Follower, FollowerConfig},
    regtest::{Bitcoind, RegtestConfig},
    wallet::{Foreign, FundError, Funding, KeyError, Keys, Wallet, WalletError, sign_key_path},
};

const RATE: FeeRate = FeeRate::from_sat_per_vb_u32(5);

async fn node(dir: &Path) -> Bitcoind {
    Bitcoind::start(RegtestConfig::new(dir.join("core")))
        .await
        .unwrap()
}

fn open(dir: &Path, birthday: BlockRef) -> Result<Wallet, WalletError> {
    let keys = Keys::read_or_generate(&dir.join("wallet.key"), NetworkKind::Test).unwrap();
    Wallet::open(&dir.join("wallet.redb"), keys, Network::Regtest, birthday)
}

/// Feeds the wallet up to the node's tip.
async fn feed(wallet: &Wallet, node: &Bitcoind) {
    let tip = node.tip().await.unwrap();
    let config = FollowerConfig {
        poll: Duration::from_millis(200),
        ..Default::default()
    };
    let mut follower = Follower::new(node.client().clone(), config, wallet.known()).unwrap();
    loop {
        let event = follower.next().await.unwrap();
        wallet.apply(&event).unwrap();
        if matches!(event, Event::Tip { at, .. } if at == tip) {
            assert_eq!(wallet.tip(), tip);
            return;
        }
    }
}

/// A node, and a wallet with `coins` outputs of 50 BTC that was born in the middle of the chain.
async fn funded(dir: &Path, coins: u32) -> (Bitcoind, Wallet) {
    let node = node(dir).await;
    node.mine(5).await.unwrap();
    let wallet = open(dir, node.tip().await.unwrap()).unwrap();
    node.fund(&wallet.receive_address().unwrap(), coins)
        .await
        .unwrap();
    feed(&wallet, &node).await;
    (node, wallet)
}

fn pay(to: &Address, sats: u64) -> TxOut {
    TxOut {
        value: Amount::from_sat(sats),
        script_pubkey: to.script_pubkey(),
    }
}

/// Pays to a key of its own that is not the wallet's, as a baton is.
async fn make_baton(node: &Bitcoind, wallet: &Wallet) -> (OutPoint, TxOut, Keypair) {
    let key = wallet.keys().key(0);
    let address = Address::p2tr(
        &Secp256k1::new(),
        key.x_only_public_key().0,
        None,
        Network::Regtest,
    );
    let output = pay(&address, 10_000);
    assert!(!wallet.is_mine(&output));
    let signed = wallet
        .finish(wallet.fund(&Funding::new(RATE, vec![output.clone()])).unwrap())
        .unwrap();
    node.client().send_raw_transaction(&signed.tx).await.unwrap();
    wallet.sent([&signed.tx]).unwrap();
    node.mine(1).await.unwrap();
    feed(wallet, node).await;
    (OutPoint::new(signed.tx.compute_txid(), 0), output, key)
}

fn actual_fee(tx: &Transaction, spent: &[TxOut]) -> Amount {
    let total: Amount = spent.iter().map(|o| o.value).sum();
    total - tx.output.iter().map(|o| o.value).sum::<Amount>()
}

#[tokio::test]
async fn commits_are_funded_at_the_exact_rate_and_survive_a_reorg() {
    let dir = tempfile::tempdir().unwrap();
    let (node, wallet) = funded(dir.path(), 2).await;
    assert_eq!(wallet.spendable(), Amount::from_int_btc(100));
    let (baton, baton_out, key) = make_baton(&node, &wallet).await;

    // Next baton, two data outputs, OP_RETURN; the wallet adds coins and change.
    let data = pay(&bitsect_l1::regtest::fresh_burn_address(), 20_000);
    let tag = TxOut {
        value: Amount::ZERO,
        script_pubkey: bitcoin::ScriptBuf::new_op_return(b"BSCT\x01\x02"),
    };
    let outputs = vec![baton_out.clone(), data.clone(), data, tag];
    let mut request = Funding::new(RATE, outputs.clone());
    request.foreign.push(Foreign::key_path(baton, baton_out.clone()));
    let unsigned = wallet.fund(&request).unwrap();
    let error = wallet.finish(unsigned.clone()).unwrap_err();
    assert!(
        matches!(error, FundError::Sign(KeyError::Sign { input: 0, .. })),
        "{error}"
    );
    let mut funded = unsigned;
    sign_key_path(&mut funded.psbt, 0, &key, None).unwrap();
    assert_eq!(funded.change, Some(4));
    let spent: Vec<TxOut> = funded
        .psbt
        .inputs
        .iter()
        .map(|i| i.witness_utxo.clone().unwrap())
        .collect();
    let signed = wallet.finish(funded).unwrap();
    assert_eq!(signed.tx.input[0].previous_output, baton);
    assert_eq!(signed.tx.output[..4], outputs[..]);
    assert_eq!(actual_fee(&signed.tx, &spent), signed.fee);
    // Exactly the rate: the weights announced are those of the signed transaction.
    assert_eq!(signed.fee, RATE.fee_vb(signed.tx.vsize() as u64).unwrap());
    node.client().send_raw_transaction(&signed.tx).await.unwrap();
    wallet.sent([&signed.tx]).unwrap();

    let before = wallet.balance();
    node.mine(1).await.unwrap();
    feed(&wallet, &node).await;
    assert!(wallet.is_confirmed(&signed.tx.compute_txid()));
    // The reorg drops the commit; its coins stay spent, because it is still wanted.
    node.reorg(1, 2).await.unwrap();
    feed(&wallet, &node).await;
    assert!(!wallet.is_confirmed(&signed.tx.compute_txid()));
    assert_eq!(wallet.spendable(), before.trusted_spendable());
    // Given up, its coins come back.
    let inputs: Amount = spent[1..].iter().map(|o| o.value).sum();
    wallet.forget([signed.tx.compute_txid()]).unwrap();
    assert_eq!(
        wallet.spendable(),
        before.trusted_spendable() + inputs - signed.tx.output[4].value
    );
}

#[tokio::test]
async fn replacements_pay_more_and_spend_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (node, wallet) = funded(dir.path(), 3).await;
    let (baton, baton_out, key) = make_baton(&node, &wallet).await;
    let mut request = Funding::new(RATE, vec![baton_out.clone()]);
    request.foreign.push(Foreign::key_path(baton, baton_out));
    let sign = |request: &Funding| {
        let mut funded = wallet.fund(request).unwrap();
        sign_key_path(&mut funded.psbt, 0, &key, None).unwrap();
        wallet.finish(funded).unwrap()
    };
    let mut last = sign(&request);
    node.client().send_raw_transaction(&last.tx).await.unwrap();
    wallet.sent([&last.tx]).unwrap();
    for _ in 0..3 {
        // The rate is not raised: the lowest fee alone has to be met.
        let min_fee = last.fee + Amount::from_sat(500);
        let replacement = request.clone().replace(&wallet, &[&last.tx], min_fee);
        assert!(!replacement.coins.contains(&baton));
        let next = sign(&replacement);
        assert!(
            next.fee >= min_fee && next.fee < min_fee + Amount::from_sat(500),
            "{}",
            next.fee
        );
        for coin in &last.tx.input {
            assert!(
                next.tx
                    .input
                    .iter()
                    .any(|i| i.previous_output == coin.previous_output)
            );
        }
        node.client().send_raw_transaction(&next.tx).await.unwrap();
        assert_eq!(
            node.client().get_raw_mempool().await.unwrap(),
            vec![next.tx.compute_txid()]
        );
        wallet.sent([&next.tx]).unwrap();
        last = next;
    }
    node.mine(1).await.unwrap();
    feed(&wallet, &node).await;
    assert!(wallet.is_confirmed(&last.tx.compute_txid()));
}

#[tokio::test]
async fn a_child_lifts_its_parent_to_the_rate() {
    let dir = tempfile::tempdir().unwrap();
    let (node, wallet) = funded(dir.path(), 2).await;
    let low = FeeRate::from_sat_per_vb_u32(1);
    let output = pay(&bitsect_l1::regtest::fresh_burn_address(), 1_000_000);
    let parent = wallet
        .finish(wallet.fund(&Funding::new(low, vec![output])).unwrap())
        .unwrap();
    wallet.sent([&parent.tx]).unwrap();
    node.client().send_raw_transaction(&parent.tx).await.unwrap();
    let mut old: Option<bitsect_l1::wallet::SignedTx> = None;
    for vb in [10u32, 20] {
        let rate = FeeRate::from_sat_per_vb_u32(vb);
        let child = wallet
            .lift(&parent, rate, old.as_ref().map(|old| (old, low)))
            .unwrap()
            .unwrap();
        let vsize = (parent.tx.vsize() + child.tx.vsize()) as u64;
        let fee = parent.fee + child.fee;
        let expected = rate.fee_vb(vsize).unwrap();
        assert!(
            fee >= expected && fee <= expected + Amount::from_sat(u64::from(vb) * 2),
            "{fee} for {expected}"
        );
        node.client().send_raw_transaction(&child.tx).await.unwrap();
        wallet.sent([&child.tx]).unwrap();
        old = Some(child);
    }
    assert_eq!(node.client().get_raw_mempool().await.unwrap().len(), 2);
    // Nothing of the wallet's in it: nothing to lift with.
    let stranger = bitsect_l1::wallet::SignedTx {
        tx: Transaction {
            output: vec![],
            ..parent.tx.clone()
        },
        fee: parent.fee,
    };
    assert_eq!(wallet.lift(&stranger, RATE, None).unwrap(), None);
}

#[tokio::test]
async fn coins_are_reserved_and_shortage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, wallet) = funded(dir.path(), 2).await;
    let output = pay(&bitsect_l1::regtest::fresh_burn_address(), 100_000);
    let request = Funding::new(RATE, vec![output.clone()]);
    let first = wallet.fund(&request).unwrap();
    let second = wallet.fund(&request).unwrap();
    assert_ne!(
        first.psbt.unsigned_tx.input[0].previous_output,
        second.psbt.unsigned_tx.input[0].previous_output
    );
    assert!(matches!(
        wallet.fund(&request),
        Err(FundError::Insufficient { .. })
    ));
    wallet.release(&second.psbt.unsigned_tx);
    wallet.fund(&request).unwrap();
    let huge = Funding::new(
        RATE,
        vec![pay(&bitsect_l1::regtest::fresh_burn_address(), u64::MAX / 2); 4],
    );
    assert!(matches!(
        wallet.fund(&huge),
        Err(FundError::Request { .. } | FundError::Insufficient { .. })
    ));
}

#[tokio::test]
async fn reopening_continues_and_strangers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (node, wallet) = funded(dir.path(), 2).await;
    let output = pay(&bitsect_l1::regtest::fresh_burn_address(), 100_000);
    let signed = wallet
        .finish(wallet.fund(&Funding::new(RATE, vec![output])).unwrap())
        .unwrap();
    wallet.sent([&signed.tx]).unwrap();
    let (balance, known, tip) = (wallet.balance(), wallet.known(), wallet.tip());
    let address = wallet.receive_address().unwrap();
    // As after kill -9: nothing is closed in order, what was acknowledged is on disk.
    let copy = tempfile::tempdir().unwrap();
    for name in ["wallet.redb", "wallet.key"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let again = open(copy.path(), tip).unwrap();
    assert_eq!(
        (again.balance(), again.known(), again.tip()),
        (balance, known, tip)
    );
    assert_eq!(again.receive_address().unwrap(), address);
    node.reorg(2, 3).await.unwrap();
    feed(&again, &node).await;
    drop(again);

    std::fs::remove_file(copy.path().join("wallet.key")).unwrap();
    let error = open(copy.path(), tip).unwrap_err();
    assert!(matches!(error, WalletError::Load { .. }), "{error}");
}

#[tokio::test]
async fn payments_of_others_are_seen_and_not_spent_early() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut node, payer) = funded(dir.path(), 1).await;
    let wallet = open(other_dir.path(), node.tip().await.unwrap()).unwrap();
    let output = pay(&wallet.receive_address().unwrap(), 5_000_000);
    let payment = payer
        .finish(payer.fund(&Funding::new(RATE, vec![output])).unwrap())
        .unwrap();
    node.client().send_raw_transaction(&payment.tx).await.unwrap();
    payer.sent([&payment.tx]).unwrap();
    assert_eq!(wallet.look_at_mempool(node.client()).await.unwrap(), 1);
    assert_eq!(wallet.balance().untrusted_pending, Amount::from_sat(5_000_000));
    assert_eq!(wallet.look_at_mempool(node.client()).await.unwrap(), 0);
    let request = Funding::new(RATE, vec![pay(&bitsect_l1::regtest::fresh_burn_address(), 1000)]);
    assert!(matches!(
        wallet.fund(&request),
        Err(FundError::Insufficient { .. })
    ));
    // The payer's own transaction stays with the payer when Core loses it; with the payee it does not.
    node.client().flush().await.unwrap();
    node.kill();
    node.restart().await.unwrap();
    payer.look_at_mempool(node.client()).await.unwrap();
    wallet.look_at_mempool(node.client()).await.unwrap();
    assert_eq!(wallet.balance().total(), Amount::ZERO);
    assert!(payer.balance().total() < Amount::from_sat(4_995_000_001));
    // It comes back, and can be spent once it is confirmed.
    node.client().send_raw_transaction(&payment.tx).await.unwrap();
    wallet.look_at_mempool(node.client()).await.unwrap();
    assert_eq!(wallet.balance().untrusted_pending, Amount::from_sat(5_000_000));
    node.mine(1).await.unwrap();
    feed(&wallet, &node).await;
    wallet.fund(&request).unwrap();
}
