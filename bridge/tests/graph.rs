//! The graph of a slot: how much there is of it, and that it is the same every time.

mod common;

use std::time::Instant;

use bitsect_bridge::game::Stage;
use bitsect_bridge::graph::SlotGraph;
use bitsect_bridge::params::Rounds;
use common::{Parties, outpoint, params, program};

#[test]
fn a_slot_of_full_size_is_built_in_seconds() {
    let rounds = Rounds { units: 14, trace: 20 };
    let parties = Parties::new(1);
    let mut params = params(rounds);
    params.dispute_window_blocks = 1_000;
    let start = Instant::now();
    let program = program(&[0x13; 16]);
    eprintln!("program {:?}", start.elapsed());
    let spec = parties.spec(&params, [1; 24], outpoint(1), &[outpoint(2)]);
    let built = |spec| {
        let start = Instant::now();
        let graph = SlotGraph::build(&parties.secp, &program, params, spec).unwrap();
        eprintln!("graph {:?}", start.elapsed());
        graph
    };
    let graph = built(spec.clone());
    let again = built(spec);
    for stage in Stage::all(rounds) {
        let of = |graph: &SlotGraph| {
            let stage = &graph.pairs[0].stages[&stage];
            (stage.answer.clone(), stage.answered.leaves())
        };
        assert_eq!(of(&graph), of(&again));
        eprintln!("{stage:?} {} leaves", of(&graph).1);
    }
    let signings = graph.signings();
    eprintln!("{} signatures", signings.len());
    assert_eq!(signings, again.signings());
    assert!(signings.len() < 300);
}
