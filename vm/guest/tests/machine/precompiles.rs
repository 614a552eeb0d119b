//! Every precompile on the machine: the native result.

#[path = "../../../../tests/src/precompiles.rs"]
mod inputs;

use alloy_primitives::TxKind;
use bitsect_machine::{EngineKind, Machine, Preimages, Status};

use super::simulation::{Simulation, Wallet};
use super::{MAX_STEPS, program};
use inputs::every_precompile;

#[test]
fn every_precompile_gives_the_native_result() {
    let mut wallet = Wallet::new(1);
    let mut sim = Simulation::new(&[wallet.address]);
    let program = program(&sim.params);
    let mut engine = EngineKind::Fast.engine();
    sim.mine(vec![]);
    for (address, input) in every_precompile() {
        let call = wallet.call(TxKind::Call(address), 0, input, 250_000);
        let batch = sim.batch(vec![(!sim.chain.origins.is_empty(), vec![call])]);
        let log = sim.mine_batch(&batch);
        assert!(log[1].contains(": 1 transactions"), "{log:?}");
        let record = &sim.records[sim.records.len() - log.len() + 1];
        let mut oracle = Preimages::default();
        oracle.insert_unit(record).unwrap();
        let mut machine = Machine::new(&program, &record.input()).unwrap();
        engine.run_to(&mut machine, MAX_STEPS, &oracle).unwrap();
        assert_eq!(machine.status(), Status::Halted { exit_code: 0 }, "{address}");
        assert_eq!(machine.output(), record.after, "{address}");
        let steps = machine.stopped_at().unwrap();
        println!("{steps:>12} steps  a block with a call of {address}");
    }
}
