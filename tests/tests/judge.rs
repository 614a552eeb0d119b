//! Every leaf of the judge in a real transaction: Bitcoin Core with its default relay policy accepts it into the mempool,
//! signatures and all; with a forged digit it does not.

#[path = "../../vm/judge/tests/core/output.rs"]
mod output;
#[path = "../../vm/judge/tests/truth/mod.rs"]
mod truth;

use std::collections::BTreeMap;

use bitcoin::{Address, Amount, Network, OutPoint, ScriptBuf, TxOut};
use bitsect_judge::leaf::Values;
use bitsect_judge::{rules, table};
use bitsect_l1::regtest::{Bitcoind, RegtestConfig};
use output::{Output, transaction};
use truth::{TEXT, claims, example};

/// What each leaf's output holds: a fee of 1 sat/vB for the largest transaction that is relayed, and more, in sats.
const VALUE: u64 = 150_000;

#[tokio::test]
async fn bitcoin_core_relays_every_leaf() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = RegtestConfig::new(dir.path());
    // As on mainnet: what is not standard is not relayed.
    config.args.push("-acceptnonstdtxn=0".to_owned());
    let core = Bitcoind::start(config).await.unwrap();
    let anyone = Output::new(&ScriptBuf::from_bytes(vec![0x51]));
    let address = Address::from_script(&anyone.script_pubkey, Network::Regtest).unwrap();
    let blocks = core.mine_to(101, &address).await.unwrap();

    let keys = table::keys();
    let known: Vec<Values> = claims(3, 150_000).map(|(_, lie)| lie.values()).collect();
    let mut leaves = Vec::new();
    for rule in rules(&TEXT) {
        let (values, hints) = example(&rule, &known);
        let leaf = rule.leaf(&keys);
        let read = rule.reads.iter();
        let signed: BTreeMap<_, _> = read
            .map(|(value, _)| (*value, table::sign(*value, values.bytes(*value))))
            .collect();
        let witness = leaf.witness(&hints, &signed).unwrap();
        leaves.push((rule.name, Output::new(&leaf.script), witness));
    }

    let coinbase = core.client().get_block(&blocks[0]).await.unwrap().txdata[0].compute_txid();
    let output = |script_pubkey: &ScriptBuf, sats| TxOut {
        value: Amount::from_sat(sats),
        script_pubkey: script_pubkey.clone(),
    };
    let outputs = leaves
        .iter()
        .map(|(_, leaf, _)| output(&leaf.script_pubkey, VALUE))
        .collect();
    let funding = transaction(anyone.input(OutPoint::new(coinbase, 0), &[]), outputs);
    core.mine_with(&[&funding]).await.unwrap();

    let funding = funding.compute_txid();
    for (vout, (name, leaf, witness)) in (0..).zip(&leaves) {
        let burn = vec![output(&anyone.script_pubkey, 1_000)];
        let spend = transaction(leaf.input(OutPoint::new(funding, vout), witness), burn.clone());
        let answer = core.client().test_mempool_accept(&[&spend]).await.unwrap();
        assert_eq!(answer[0].allowed, Some(true), "{name}: {answer:?}");
        // A signature with a digit more has another checksum.
        let mut forged = witness.clone();
        let last = forged.len() - 1;
        forged[last] = if forged[last].is_empty() { vec![1] } else { vec![] };
        let spend = transaction(leaf.input(OutPoint::new(funding, vout), &forged), burn);
        let answer = core.client().test_mempool_accept(&[&spend]).await.unwrap();
        assert_eq!(answer[0].allowed, Some(false), "{name}: a forged digit is taken");
    }
}
