//! Seeds of the fuzz targets in `vm/fuzz`: one small real encoding of each kind that a target reads.
//!
//! `BITSECT_WRITE_SEEDS=1 cargo test -p bitsect-vm --test derivation seeds` writes them again after a format's change.

use std::path::Path;

use alloy_primitives::B256;
use bitcoin::Network;
use bitcoin::consensus::serialize;
use bitsect_vm::chain::{BlobRef, OutPoint, Transaction};
use bitsect_vm::derive::payload::encode;
use bitsect_vm::derive::{
    AcceptedDeposit, DepositTag, InboxItem, commit_tag_script, encode_items, forced_script, frame_script,
};
use bitsect_vm::state::{BASIC_DATA, NodePath, Position, RowKey, header_key, prove};

use crate::simulation::{Simulation, encoded, output};
use crate::{TO, start};

/// Target, name, which of the target's forms it is (its first byte), and the bytes.
type Seed = (&'static str, &'static str, u8, Vec<u8>);

#[test]
fn seeds_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let writes = std::env::var_os("BITSECT_WRITE_SEEDS").is_some();
    for (target, name, form, bytes) in seeds() {
        let seed = [&[form], bytes.as_slice()].concat();
        let file = folder.join(target).join(name);
        if writes {
            std::fs::create_dir_all(folder.join(target)).unwrap();
            std::fs::write(&file, &seed).unwrap();
        }
        let kept = std::fs::read(&file).unwrap_or_default();
        assert!(
            kept == seed,
            "{} is old: write it with BITSECT_WRITE_SEEDS=1",
            file.display()
        );
    }
}

fn seeds() -> Vec<Seed> {
    let (mut sim, mut alice) = start();
    sim.mine(vec![]);
    let transfer = alice.transfer(TO, 5);
    let batch = sim.batch(vec![
        (false, vec![transfer.clone()]),
        (true, vec![alice.transfer(TO, 7)]),
    ]);
    let payload = encode(&batch).unwrap();
    let tag = DepositTag {
        to: TO,
        refund_key: B256::repeat_byte(2),
        call: None,
    };
    let mut transactions = sim.post(&payload, 2);
    let deposit = [output(
        50_000,
        tag.output_script(&sim.params.derive).unwrap().into(),
    )];
    let forced = [output(0, forced_script(&encoded(&transfer)).into())];
    let tags = [output(0, tag.script().into())]
        .into_iter()
        .chain(deposit)
        .chain(forced)
        .collect();
    transactions.push(sim.spend(vec![(bitcoin::OutPoint::null(), vec![vec![1; 64]])], tags));
    let (commit, reveal) = (serialize(&transactions[0]), serialize(&transactions[1]));
    let late = transactions.remove(2);
    let block = sim.block(transactions.clone());
    sim.mine(transactions);
    let waiting = sim.chain.encode();
    sim.mine(vec![late]);
    let mut seeds = vec![
        ("payload", "batch", 0, payload.clone()),
        ("block_scan", "block", 0, block),
        ("block_scan", "commit", 1, commit),
        ("block_scan", "reveal", 1, reveal),
        ("chain_state", "waiting", 0, waiting),
        ("chain_state", "after", 0, sim.chain.encode()),
        (
            "envelope",
            "frame",
            0,
            frame_script(&B256::repeat_byte(3), &payload),
        ),
        ("envelope", "commit", 0, commit_tag_script(2)),
        ("envelope", "deposit", 0, tag.script()),
        ("envelope", "forced", 0, forced_script(&encoded(&transfer))),
        ("inbox", "items", 0, encode_items(&items(&transfer))),
        ("l2_rlp", "transaction", 0, encoded(&transfer)),
        ("l2_rlp", "header", 1, alloy_rlp::encode(&sim.chain.tip.header)),
    ];
    for (name, network) in [("bitcoin", Network::Bitcoin), ("signet", Network::Signet)] {
        let genesis = bitcoin::constants::genesis_block(network);
        seeds.push(("header", name, 0, serialize(&genesis.header)));
    }
    seeds.extend(state_seeds(&sim));
    seeds
}

fn items(transfer: &Transaction) -> Vec<InboxItem> {
    let deposit = AcceptedDeposit {
        vault_output: OutPoint {
            txid: B256::repeat_byte(1),
            vout: 0,
        },
        to: TO,
        sats: 50_000,
        call: BlobRef::default(),
    };
    vec![
        InboxItem::Deposit(deposit),
        InboxItem::Forced(encoded(transfer).into()),
    ]
}

fn state_seeds(sim: &Simulation) -> Vec<Seed> {
    let key = header_key(TO, BASIC_DATA);
    let proof = prove(sim.state.root(), &key, &sim.state).unwrap();
    let stem = key.split_last_chunk::<1>().unwrap().0.try_into().unwrap();
    let subtree = NodePath::Subtree {
        stem,
        level: 7,
        index: 3,
    };
    vec![
        (
            "state_proof",
            "proof",
            0,
            [key.to_vec(), proof.nodes.concat()].concat(),
        ),
        (
            "state_proof",
            "trunk",
            1,
            NodePath::Trunk(Position::of(&stem, 13)).to_bytes(),
        ),
        ("state_proof", "subtree", 1, subtree.to_bytes()),
        ("state_proof", "row", 1, RowKey::Stem(stem).to_bytes()),
    ]
}
