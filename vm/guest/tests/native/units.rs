//! Every unit of a chain: the machine's code gives the native result.

use bitsect_guest::{UnitError, params, run};
use bitsect_vm::chain::bridge::OutputId;
use bitsect_vm::check::{CheckError, check_advice, verify_assignment};
use bitsect_vm::derive::{HeaderError, L1UnitError};
use bitsect_vm::record::{UnitRecord, record_check};
use bitsect_vm::state::{MemoryState, Node, NodePath, NodeReader};

use std::cell::RefCell;

use alloy_primitives::B256;

use super::oracle::MapOracle;
use super::traffic::busy_chain;

#[test]
fn every_unit_of_a_busy_chain() {
    let sim = busy_chain(1, 40);
    for record in &sim.records {
        let oracle = MapOracle::of_unit(record);
        let after = run(&oracle, &sim.params, &record.before, &record.advice).unwrap();
        assert_eq!(after, record.after);
        assert!(!oracle.exhausted.get());
        assert_eq!(UnitRecord::decode(&record.encode()).as_ref(), Ok(record));
    }
}

#[test]
fn real_blocks() {
    for (mut sim, block) in super::simulation::real_blocks() {
        super::blocks::compare(&block);
        sim.read(block);
        let record = &sim.records[0];
        let oracle = MapOracle::of_unit(record);
        let after = run(&oracle, &sim.params, &record.before, &record.advice).unwrap();
        assert_eq!(after, record.after);
    }
}

#[test]
fn wrong_advice_has_no_result() {
    let sim = busy_chain(2, 3);
    let reads_l1: Vec<&UnitRecord> = sim
        .records
        .iter()
        .filter(|record| record.block.is_some())
        .collect();
    // The block before the next one.
    let mut oracle = MapOracle::of_unit(reads_l1[1]);
    oracle.add(reads_l1[0]);
    let result = run(&oracle, &sim.params, &reads_l1[1].before, &reads_l1[0].advice);
    assert!(matches!(result, Err(UnitError::L1(_))), "{result:?}");
    // A hash without the work: nothing of its block is asked for, whoever has it.
    let oracle = MapOracle::of_unit(reads_l1[1]);
    let hash = [0xff; 32].into();
    let result = run(&oracle, &sim.params, &reads_l1[1].before, &hash);
    let without_work = HeaderError::ProofOfWork {
        hash,
        bits: 0x207f_ffff,
    };
    assert!(
        matches!(&result, Err(UnitError::L1(L1UnitError::Header(error))) if *error == without_work),
        "{result:?}"
    );
    assert!(!oracle.exhausted.get());
    // Advice that nobody asked for.
    let l2 = sim.records.iter().find(|record| record.block.is_none()).unwrap();
    let result = run(
        &MapOracle::of_unit(l2),
        &sim.params,
        &l2.before,
        &reads_l1[0].advice,
    );
    assert!(matches!(result, Err(UnitError::Advice)), "{result:?}");
    // A commitment to nothing.
    let result = run(&MapOracle::of_unit(l2), &sim.params, &l2.after, &l2.advice);
    assert!(matches!(result, Err(UnitError::Commitment(_))), "{result:?}");
}

#[test]
fn a_check_gives_the_native_result() {
    let (sim, ticket) = super::bridge::matured();
    // Every unit up to there, records for the bridge among them.
    for record in &sim.records {
        let oracle = MapOracle::of_unit(record);
        let after = run(&oracle, &sim.params, &record.before, &record.advice).unwrap();
        assert_eq!(after, record.after);
    }
    let record = record_check(&sim.params, &sim.chain, &ticket, &sim.state).unwrap();
    let mut oracle = MapOracle::of_unit(&record);
    let after = run(&oracle, &sim.params, &record.before, &record.advice).unwrap();
    assert_eq!(after, record.after);
    // No unit follows, whatever the advice: it is no chain state.
    oracle.add(&UnitRecord {
        nodes: vec![record.input()],
        ..record.clone()
    });
    for advice in [record.advice, alloy_primitives::B256::ZERO] {
        let result = run(&oracle, &sim.params, &record.after, &advice);
        assert!(matches!(result, Err(UnitError::Commitment(_))), "{result:?}");
    }
    // Another ticket, and a chain that wants more blocks.
    let mut stricter = sim.params.clone();
    stricter.derive.claim_maturity = sim.chain.l1.height;
    let result = run(&oracle, &stricter, &record.before, &record.advice);
    assert!(
        matches!(result, Err(UnitError::Check(CheckError::Immature { .. }))),
        "{result:?}"
    );
    let read = Reads {
        tree: &sim.state,
        nodes: RefCell::default(),
    };
    let refused = verify_assignment(&sim.params, &sim.chain, &OutputId::ZERO, &read);
    assert!(matches!(refused, Err(CheckError::Unassigned(_))), "{refused:?}");
    let other = MapOracle::of_unit(&UnitRecord {
        nodes: read.nodes.into_inner(),
        ..record.clone()
    });
    let result = run(
        &other,
        &sim.params,
        &record.before,
        &check_advice(&OutputId::ZERO),
    );
    assert!(
        matches!(result, Err(UnitError::Check(CheckError::Unassigned(_)))),
        "{result:?}"
    );
}

/// Keeps what is read.
struct Reads<'a> {
    tree: &'a MemoryState,
    nodes: RefCell<Vec<Node>>,
}

impl NodeReader for Reads<'_> {
    type Error = <MemoryState as NodeReader>::Error;

    fn node(&self, path: &NodePath, hash: &B256) -> Result<Node, Self::Error> {
        let node = self.tree.node(path, hash)?;
        self.nodes.borrow_mut().push(node);
        Ok(node)
    }
}

#[test]
fn parameters_round_trip_through_the_program() {
    let sim = busy_chain(3, 1);
    let program = [&[1, 2, 3][..], &params::empty_section(), &[4, 5]].concat();
    assert_eq!(params::read(&params::empty_section()), None);
    let written = params::write(&program, &sim.params).unwrap();
    assert_eq!(written.len(), program.len());
    let section = written[3..3 + params::SECTION_SIZE].try_into().unwrap();
    assert_eq!(params::read(section), Some(sim.params.clone()));
    // Another chain's parameters take their place.
    let mut other = sim.params.clone();
    other.execution.chain_id += 1;
    let again = params::write(&written, &other).unwrap();
    assert_eq!(again, params::write(&program, &other).unwrap());
    assert!(params::write(&program[..200], &sim.params).is_err());
    assert!(params::write(&[program.clone(), program].concat(), &sim.params).is_err());
}
