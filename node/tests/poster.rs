//! The poster's transactions against a real Bitcoin Core: what the largest batch's reveal and its commit weigh, and that
//! Core takes them, replaced ones too.

use bitcoin::{Amount, FeeRate, Network, TxOut};
use bitsect_l1::BlockRef;
use bitsect_l1::regtest::{Bitcoind, RegtestConfig};
use bitsect_node::poster::{BATON_VALUE, Baton, Builder};
use bitsect_node::purse::Purse;
use bitsect_vm::derive::MAX_FRAME;

/// The most that Bitcoin Core relays (MAX_STANDARD_TX_WEIGHT).
const STANDARD: u64 = 400_000;

struct Setup {
    _dir: tempfile::TempDir,
    bitcoind: Bitcoind,
    purse: Purse,
    builder: Builder,
    baton: Baton,
}

async fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let bitcoind = Bitcoind::start(RegtestConfig::new(dir.path().join("bitcoin")))
        .await
        .unwrap();
    let genesis = bitcoin::constants::genesis_block(Network::Regtest).block_hash();
    let first = BlockRef::new(0, genesis);
    let folder = dir.path().join("wallet");
    let client = bitcoind.client().clone();
    let purse = Purse::open(client, Network::Regtest, &folder, &folder.join("key"), first).unwrap();
    bitcoind
        .fund(&purse.wallet().receive_address().unwrap(), 5)
        .await
        .unwrap();
    purse.sync().await.unwrap();
    let builder = Builder::new(purse.wallet().keys().key(0));
    let output = TxOut {
        value: BATON_VALUE,
        script_pubkey: builder.baton_script(),
    };
    let outpoint = purse.pay_one(output.clone()).await.unwrap();
    bitcoind.mine(1).await.unwrap();
    purse.sync().await.unwrap();
    Setup {
        _dir: dir,
        bitcoind,
        purse,
        builder,
        baton: Baton { outpoint, output },
    }
}

fn rate(sat_per_vb: u32) -> FeeRate {
    FeeRate::from_sat_per_vb_u32(sat_per_vb)
}

#[tokio::test]
async fn core_takes_a_full_batch_and_its_replacement() {
    let Setup {
        bitcoind,
        purse,
        builder,
        baton,
        _dir,
    } = setup().await;
    let (client, wallet) = (bitcoind.client(), purse.wallet());
    // Bytes that look like nothing, two frames of them, the first one full.
    let payload: Vec<u8> = (0..MAX_FRAME as u64 + 5_000)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let commit = builder
        .commit(wallet, &baton, &payload, rate(2), &[], Amount::ZERO)
        .unwrap();
    let back = wallet.receive_address().unwrap().script_pubkey();
    let reveal = |commit: &bitcoin::Transaction, index, sat_per_vb| {
        builder
            .reveal(commit, &payload, index, &back, rate(sat_per_vb), Amount::ZERO)
            .unwrap()
    };
    let full = reveal(&commit.tx, 0, 2);
    let weight = full.tx.weight().to_wu();
    assert!(weight < STANDARD && weight > STANDARD - 2_000, "{weight}");

    // The commit with one full reveal on top, while nothing is confirmed.
    client.send_raw_transaction(&commit.tx).await.unwrap();
    let accept = client.test_mempool_accept(&[&full.tx]).await.unwrap();
    assert_eq!(accept[0].allowed, Some(true), "{accept:?}");
    assert_eq!(accept[0].vsize, Some(weight.div_ceil(4)));
    client.send_raw_transaction(&full.tx).await.unwrap();
    // The reveal alone, at a higher fee out of its head-room.
    let dearer = reveal(&commit.tx, 0, 5);
    assert!(dearer.fee > full.fee);
    client.send_raw_transaction(&dearer.tx).await.unwrap();
    let mempool = client.get_raw_mempool().await.unwrap();
    assert!(mempool.contains(&dearer.tx.compute_txid()) && !mempool.contains(&full.tx.compute_txid()));
    bitcoind.mine(1).await.unwrap();

    // The second reveal after the commit is confirmed.
    let rest = reveal(&commit.tx, 1, 2);
    client.send_raw_transaction(&rest.tx).await.unwrap();
    bitcoind.mine(1).await.unwrap();
    assert!(client.get_raw_mempool().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_commit_is_replaced_for_the_same_baton() {
    let Setup {
        bitcoind,
        purse,
        builder,
        baton,
        _dir,
    } = setup().await;
    let (client, wallet) = (bitcoind.client(), purse.wallet());
    let payload = vec![7; 1_000];
    let commit = builder
        .commit(wallet, &baton, &payload, rate(2), &[], Amount::ZERO)
        .unwrap();
    client.send_raw_transaction(&commit.tx).await.unwrap();
    wallet.sent([&commit.tx]).unwrap();
    let least = commit.fee + Amount::from_sat(commit.tx.weight().to_vbytes_ceil());
    let dearer = builder
        .commit(wallet, &baton, &payload, rate(6), &[&commit.tx], least)
        .unwrap();
    assert_eq!(dearer.tx.input[0].previous_output, baton.outpoint);
    assert_eq!(
        dearer.tx.output[1].script_pubkey, commit.tx.output[1].script_pubkey,
        "it means the same"
    );
    client.send_raw_transaction(&dearer.tx).await.unwrap();
    let mempool = client.get_raw_mempool().await.unwrap();
    assert_eq!(mempool, [dearer.tx.compute_txid()]);
}
