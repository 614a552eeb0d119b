//! The machine gives the node's `S_{k+1}` for every unit of a chain with every kind of traffic; which kinds, is counted.

#[path = "../../../vm/guest/tests/machine/built.rs"]
mod built;
mod kinds;

use std::path::Path;
use std::process::Command;

use alloy_primitives::{Address, B256, U256};
use bitsect_guest::params;
use bitsect_machine::{Engine, EngineKind, Machine, Preimages, Program, Status};
use bitsect_node::convert;
use bitsect_node::unit::export::RecordAnswer;
use bitsect_tests::{
    HandPoster, Network, NetworkOptions, Node, Rpc, Wallet, batch_on, every_kind, program, underivable,
};
use bitsect_vm::chain::ChainParams;
use bitsect_vm::derive::payload::encode;
use bitsect_vm::record::UnitRecord;
use built::built;
use kinds::Kinds;
use serde_json::json;

/// Units that the chain must have.
const UNITS: u64 = 2_000;
/// Steps after which a unit must have ended.
const MAX_STEPS: u64 = 1 << 36;

async fn record(rpc: &Rpc, unit: u64) -> (UnitRecord, ChainParams) {
    let answer = rpc.get("rollup_unitRecord", json!([unit])).await;
    let answer: RecordAnswer = serde_json::from_value(answer).expect("a record and parameters");
    let record = UnitRecord::decode(&answer.record).expect("a record");
    (record, ChainParams::decode(&answer.params).expect("parameters"))
}

async fn unit_count(rpc: &Rpc) -> u64 {
    let status = rpc.get("rollup_syncStatus", json!([])).await;
    status["units"].as_u64().expect("a number")
}

async fn chain_state(rpc: &Rpc, unit: u64) -> B256 {
    let answer = rpc.get("rollup_chainStateAt", json!([unit])).await;
    serde_json::from_value(answer["chainState"].clone()).expect("a chain state")
}

/// Runs a unit on the machine; gives its output and its steps.
fn run(engine: &mut dyn Engine, program: &Program, record: &UnitRecord) -> (B256, u64) {
    let mut oracle = Preimages::default();
    oracle.insert_unit(record).expect("the node's block decodes");
    let mut machine = Machine::new(program, &record.input()).expect("4 GiB of address space");
    engine
        .run_to(&mut machine, MAX_STEPS, &oracle)
        .expect("the record has every preimage");
    assert_eq!(machine.status(), Status::Halted { exit_code: 0 });
    (machine.output(), machine.stopped_at().expect("it halted"))
}

/// Batches that break the rules, by the sequencer's own hand while it does not run: of every kind that derives to
/// nothing, one whose only block is invalid, one with an invalid block behind a valid one, one that is never revealed.
/// All that they leave is a transfer of `wallet`'s.
async fn invalid_batches(network: &Network, follower: &Rpc, wallet: &mut Wallet) {
    let derive = network.chain().params.derive;
    let mut poster = HandPoster::new(network, convert::outpoint(&derive.baton)).await;
    let (first, mut gap) = (wallet.transfer(Address::ZERO, 1), wallet.clone());
    gap.nonce += 4;
    let invalid = gap.transfer(Address::ZERO, 2);
    let valid = batch_on(network, follower, &[vec![first.clone()]]).await;
    let only = batch_on(network, follower, &[vec![invalid.clone()]]).await;
    let mut payloads = underivable(&valid);
    payloads.push(encode(&only).expect("a batch"));
    let safe = follower.height("safe").await;
    for payload in payloads {
        poster.post(&network.core, &payload).await;
        network.synced(follower).await;
        assert_eq!(follower.height("safe").await, safe);
    }
    let partly = batch_on(network, follower, &[vec![first], vec![invalid]]).await;
    let partly = encode(&partly).expect("a batch");
    poster.post(&network.core, &partly).await;
    network.synced(follower).await;
    assert_eq!(follower.height("safe").await, safe + 1);
    poster.commit(&network.core, &partly).await;
    let mined = network.core.mine(derive.reveal_timeout + 1).await;
    mined.expect("blocks are mined");
    network.synced(follower).await;
}

/// A forced transaction, and no batch until derivation makes the blocks.
async fn silence(network: &Network, follower: &Rpc, wallet: &mut Wallet) {
    let safe = follower.height("safe").await;
    network.force(&wallet.transfer(Address::ZERO, 3)).await;
    let window = network.chain().params.derive.sequencing_window;
    network.core.mine(window + 2).await.expect("blocks are mined");
    network.synced(follower).await;
    assert!(follower.height("safe").await > safe);
}

/// A reorg of Bitcoin's last blocks: units that the chain had are others afterwards.
async fn reorg(network: &Network, sequencer: &Rpc) {
    let unit = unit_count(sequencer).await;
    let before = chain_state(sequencer, unit).await;
    network.core.reorg(3, 4).await.expect("a reorg");
    network.synced(sequencer).await;
    // The new blocks are empty; what was in the old ones waits.
    while unit_count(sequencer).await <= unit {
        network.core.mine(1).await.expect("a block is mined");
        network.synced(sequencer).await;
    }
    assert_ne!(chain_state(sequencer, unit).await, before, "unit {unit}");
}

/// Small blocks until the chain has this many units, with an L1 block now and then and a reorg in the middle.
async fn many_blocks(network: &Network, sequencer: &Rpc, wallet: &mut Wallet, units: u64) {
    let mut sent = 0_u64;
    while unit_count(sequencer).await < units {
        for _ in 0..16 {
            let to = Address::from_word(U256::from(sent).into());
            let hash = sequencer.sent(&wallet.transfer(to, 1)).await;
            sequencer.included(&hash).await;
            sent += 1;
        }
        network.core.mine(1).await.expect("a block is mined");
        network.synced(sequencer).await;
        if sent == 512 {
            reorg(network, sequencer).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_agrees_on_every_unit() {
    let guest = built();
    let network = Network::start(NetworkOptions {
        block_time_ms: Some(10),
        ..NetworkOptions::default()
    })
    .await;
    // It goes through all reorgs, the sequencer's too.
    let verifier = network.verifier("verifier").await;
    let (mut alice, mut bob, mut carol) = (Wallet::funded(0), Wallet::funded(1), Wallet::funded(2));
    network.core.mine(1).await.expect("a block is mined");
    network.synced(&verifier.rpc).await;
    invalid_batches(&network, &verifier.rpc, &mut carol).await;
    silence(&network, &verifier.rpc, &mut carol).await;
    let sequencer = network.sequencer().await;
    network.synced(&sequencer.rpc).await;
    every_kind(&network, &sequencer, &mut alice, &mut bob).await;
    many_blocks(&network, &sequencer.rpc, &mut alice, UNITS).await;
    network.synced(&verifier.rpc).await;

    let (first, params) = record(&verifier.rpc, 0).await;
    let elf = std::fs::read(&guest).expect("the program is read");
    let elf = params::write(&elf, &params).expect("the program takes the parameters");
    let elf = Program::from_elf(&elf).expect("a program");
    let mut engine = EngineKind::Fast.engine();
    let units = unit_count(&verifier.rpc).await;
    assert!(units >= UNITS, "{units} units");
    let mut before = first.before;
    let mut steps = 0;
    let mut kinds = Kinds::default();
    for unit in 0..units {
        let (record, _) = record(&verifier.rpc, unit).await;
        assert_eq!(record.before, before, "unit {unit}");
        let (output, made) = tokio::task::block_in_place(|| run(engine.as_mut(), &elf, &record));
        assert_eq!(output, record.after, "unit {unit}");
        assert_eq!(output, chain_state(&sequencer.rpc, unit + 1).await, "unit {unit}");
        kinds.count(&params, &record);
        (before, steps) = (output, steps + made);
    }
    println!("{units} units, {steps} steps");
    kinds.print();
    kinds.check();
    export(&network, &verifier, &guest, units - 1).await;
}

/// What `bitsect-node unit` writes, `bitsect-machine` runs.
async fn export(network: &Network, verifier: &Node, guest: &Path, unit: u64) {
    let folder = network.dir().join("units");
    let run = |command: &mut Command| {
        let output = command.output().expect("the binary is built");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    };
    let number = unit.to_string();
    let exported = run(Command::new(program("bitsect-node"))
        .args(["unit", &number, "--rpc-url", verifier.rpc.url(), "--export"])
        .arg(&folder)
        .arg("--guest")
        .arg(guest));
    let after = chain_state(&verifier.rpc, unit + 1).await.to_string();
    assert!(exported.contains(&after), "{exported}");
    let ran = run(Command::new(program("bitsect-machine"))
        .arg("run")
        .arg("--elf")
        .arg(folder.join("program.elf"))
        .arg("--unit")
        .arg(folder.join(format!("unit-{unit}.bin"))));
    assert!(ran.contains("checked"), "{ran}");
}
