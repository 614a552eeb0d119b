//! The program on the machine: for every unit of a chain its output is the native result.

mod built;
mod delegations;
mod memory;
mod precompiles;
mod roots;
#[path = "../../../tests/derivation/simulation.rs"]
mod simulation;
#[path = "../../../tests/derivation/traffic.rs"]
mod traffic;

use std::path::Path;

use alloy_primitives::B256;
use bitsect_guest::params;
use bitsect_machine::{Engine, Interpreter, Machine, Preimages, Program, Status, Trap};
use bitsect_vm::chain::ChainParams;
use bitsect_vm::record::UnitRecord;
use bitsect_vm::state::Node;
use built::built;
use simulation::Simulation;
use traffic::busy_chain;

/// Steps after which a unit of these tests must have ended.
const MAX_STEPS: u64 = 1_000_000_000;

fn program(params: &ChainParams) -> Program {
    Program::from_elf(&params::write(&std::fs::read(built()).unwrap(), params).unwrap()).unwrap()
}

/// Runs a unit; gives the machine as it ended.
fn run(program: &Program, input: &Node, oracle: &Preimages) -> Machine {
    let mut machine = Machine::new(program, input).unwrap();
    Interpreter.run_to(&mut machine, MAX_STEPS, oracle).unwrap();
    machine
}

fn run_unit(program: &Program, record: &UnitRecord) -> Machine {
    let mut oracle = Preimages::default();
    oracle.insert_unit(record).unwrap();
    run(program, &record.input(), &oracle)
}

/// Writes program and records for bitsect-machine: to look at where steps go.
fn write_units(folder: &Path, sim: &Simulation) {
    std::fs::create_dir_all(folder).unwrap();
    let program = params::write(&std::fs::read(built()).unwrap(), &sim.params).unwrap();
    std::fs::write(folder.join("program"), program).unwrap();
    for (number, record) in sim.records.iter().enumerate() {
        std::fs::write(folder.join(format!("{number}.unit")), record.encode()).unwrap();
    }
}

#[test]
fn every_unit_of_a_busy_chain() {
    let sim = busy_chain(4, 12);
    let program = program(&sim.params);
    if let Some(folder) = std::env::var_os("BITSECT_UNITS") {
        write_units(Path::new(&folder), &sim);
    }
    for (record, what) in sim.records.iter().zip(&sim.log) {
        let machine = run_unit(&program, record);
        assert_eq!(machine.status(), Status::Halted { exit_code: 0 }, "{what}");
        assert_eq!(machine.output(), record.after, "{what}");
        println!("{:>12} steps  {what}", machine.stopped_at().unwrap());
    }
}

#[test]
fn real_blocks() {
    for (mut sim, block) in simulation::real_blocks() {
        let size = block.len();
        sim.read(block);
        let machine = run_unit(&program(&sim.params), &sim.records[0]);
        assert_eq!(machine.status(), Status::Halted { exit_code: 0 });
        assert_eq!(machine.output(), sim.records[0].after);
        println!(
            "{:>12} steps  l1 block of {size} bytes",
            machine.stopped_at().unwrap()
        );
    }
}

#[test]
fn wrong_advice_traps() {
    let sim = busy_chain(5, 2);
    let program = program(&sim.params);
    let mut oracle = Preimages::default();
    sim.records
        .iter()
        .for_each(|record| oracle.insert_unit(record).unwrap());
    let reads_l1: Vec<&UnitRecord> = sim
        .records
        .iter()
        .filter(|record| record.block.is_some())
        .collect();
    let wrong = UnitRecord {
        advice: reads_l1[1].advice,
        ..reads_l1[0].clone()
    };
    let machine = run(&program, &wrong.input(), &oracle);
    assert_eq!(machine.status(), Status::Trapped(Trap::Breakpoint));
    assert_eq!(machine.output(), B256::ZERO);
}

#[test]
fn a_program_without_parameters_traps() {
    let machine = run(
        &Program::from_elf(&std::fs::read(built()).unwrap()).unwrap(),
        &[0; 64],
        &Preimages::default(),
    );
    assert_eq!(machine.status(), Status::Trapped(Trap::Breakpoint));
}
