//! The machine gives the node's `S_{k+1}` for every unit of a chain with every kind of traffic.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use std::path::Path;
use std::process::Command;

use alloy_primitives::{Address, B256, U256};
use bitsect_guest::params;
use bitsect_machine::{Engine, EngineKind, Machine, Preimages, Program, Status};
use bitsect_node::unit::export::RecordAnswer;
use bitsect_tests::{Network, NetworkOptions, Node, Rpc, Wallet, every_kind, program};
use bitsect_vm::chain::ChainParams;
use bitsect_vm::record::UnitRecord;
use built::built;
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

/// Small blocks until the chain has enough units, with an L1 block now and then and a reorg in the middle.
async fn many_blocks(network: &Network, sequencer: &Node, wallet: &mut Wallet) {
    let mut sent = 0_u64;
    while unit_count(&sequencer.rpc).await < UNITS {
        for _ in 0..16 {
            let to = Address::from_word(U256::from(sent).into());
            let hash = sequencer.rpc.sent(&wallet.transfer(to, 1)).await;
            sequencer.rpc.included(&hash).await;
            sent += 1;
        }
        if sent == 512 {
            network.core.reorg(3, 4).await.expect("a reorg");
        }
        network.core.mine(1).await.expect("a block is mined");
        network.synced(&sequencer.rpc).await;
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
    let sequencer = network.sequencer().await;
    let (mut alice, mut bob) = (Wallet::funded(0), Wallet::funded(1));
    every_kind(&network, &sequencer, &mut alice, &mut bob).await;
    many_blocks(&network, &sequencer, &mut alice).await;
    let verifier = network.verifier("verifier").await;
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
    for unit in 0..units {
        let (record, _) = record(&verifier.rpc, unit).await;
        assert_eq!(record.before, before, "unit {unit}");
        let (output, made) = tokio::task::block_in_place(|| run(engine.as_mut(), &elf, &record));
        assert_eq!(output, record.after, "unit {unit}");
        assert_eq!(output, chain_state(&sequencer.rpc, unit + 1).await, "unit {unit}");
        (before, steps) = (output, steps + made);
    }
    println!("{units} units, {steps} steps");
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
