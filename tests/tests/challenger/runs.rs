//! Runs of units on the machine.

use alloy_primitives::B256;
use bitsect_bridge::chain::{
    Chain, End, RpcChain, Runner, RunnerConfig, TRACE_STEPS, Trace, path_nodes, unit_input,
};
use bitsect_machine::address;
use bitsect_vm::record::UnitRecord;
use bitsect_vm::state::join;

fn runner(chain: &dyn Chain) -> Runner {
    let program = chain.program().expect("there is a program");
    Runner::new(program, RunnerConfig::default()).expect("it is one")
}

/// Runs every unit: the machine's output is the next chain state, at every step beyond the end too.
pub async fn every_unit(chain: &dyn Chain) {
    let runner = runner(chain);
    let units = chain.unit_count().await.expect("a count");
    for unit in 0..units {
        let input = unit_input(chain, unit, None).await.expect("an answer");
        let run = runner.start(input.expect("the unit is done"));
        let trace = run.trace().await.expect("a trace");
        let next = chain.state(unit + 1).await.expect("an answer");
        assert_eq!(trace.output(), next, "unit {unit}");
        assert_eq!(run.progress().steps, trace.end_step());
        if unit % 5 == 0 {
            tokio::task::block_in_place(|| ends(&runner, &trace, next.expect("S_{k+1}")));
        }
    }
    let over = unit_input(chain, units, None).await.expect("an answer");
    assert!(over.is_none());
}

/// The first state and the last, and what is opened under them.
fn ends(runner: &Runner, trace: &Trace, next: B256) {
    let end = trace.end_step();
    assert_eq!(trace.end(), End::Halted { exit_code: 0 });
    for step in [end, end + 1, TRACE_STEPS / 4, TRACE_STEPS] {
        assert_eq!(
            trace.state_at(step).expect("an answer"),
            Some(trace.end_state()),
            "{step}"
        );
    }
    let last = trace.state_at(end - 1).expect("an answer");
    assert!(last.is_some_and(|last| last != trace.end_state()));
    for step in [0, end / 2, end - 1, end, TRACE_STEPS - 1] {
        let witness = trace.witness_at(step).expect("an answer").expect("it is known");
        witness.verify(&trace.program().text).expect("it holds");
        assert_eq!(Some(witness.before), trace.state_at(step).expect("an answer"));
        assert_eq!(Some(witness.after), trace.state_at(step + 1).expect("an answer"));
    }
    let input = trace
        .leaf_at(0, address::INPUT)
        .expect("an answer")
        .expect("it is known");
    assert_eq!(&input.leaf, trace.input().leaf());
    assert_eq!(input.siblings, runner.input_siblings());
    assert_eq!(
        path_nodes(&input).last().copied(),
        trace.state_at(0).expect("an answer")
    );
    for at in [address::OUTPUT, address::CONTROL] {
        let leaf = trace
            .leaf_at(TRACE_STEPS, at)
            .expect("an answer")
            .expect("it is known");
        let nodes = path_nodes(&leaf);
        assert_eq!((nodes.len(), nodes.last()), (27, Some(&trace.end_state())));
        match at {
            address::OUTPUT => assert_eq!(leaf.leaf, join(next, B256::ZERO)),
            // pc, then halted with exit code 0.
            _ => assert_eq!(leaf.leaf[4..12], [1, 0, 0, 0, 0, 0, 0, 0]),
        }
    }
}

/// Runs from leaves that are not the recorded one end missing or trapped.
pub async fn wrong_advice(chain: &dyn Chain, node: &RpcChain) {
    let runner = runner(chain);
    let units = chain.unit_count().await.expect("a count");
    let (mut l1, mut l2) = (Vec::new(), None);
    for unit in 0..units {
        let record = chain
            .record(unit)
            .await
            .expect("an answer")
            .expect("the unit is done");
        if record.block.is_some() {
            l1.push((unit, record));
        } else {
            l2 = Some((unit, record));
        }
    }
    let ((unit, record), (_, other)) = (&l1[1], &l1[2]);
    let advice = |advice| join(record.before, advice);
    let run = async |chain: &dyn Chain, leaf| {
        let input = unit_input(chain, *unit, Some(leaf)).await.expect("an answer");
        let run = runner.start(input.expect("the unit is done"));
        run.trace().await.expect("a trace")
    };
    // A block that nobody knows.
    let trace = run(chain, advice(B256::repeat_byte(9))).await;
    missing(&trace, B256::repeat_byte(9));
    // A real block that is not the next one. Bitcoin Core gives it to the challenger; a node's JSON-RPC does not.
    let trace = run(chain, advice(other.advice)).await;
    assert!(matches!(trace.end(), End::Trapped(_)), "{:?}", trace.end());
    let trace = run(node, advice(other.advice)).await;
    missing(&trace, other.advice);
    // No block at all.
    let trace = run(chain, advice(B256::ZERO)).await;
    missing(&trace, B256::ZERO);
    // The same first 24 bytes of S_k, and others behind.
    let mut leaf = record.input();
    leaf[31] ^= 1;
    let state = B256::from_slice(&leaf[..32]);
    let trace = run(chain, leaf).await;
    missing(&trace, state);
    // Advice where none is read.
    let (unit, record) = l2.expect("there are L2 blocks");
    trapped_by_advice(chain, &runner, unit, &record).await;
}

fn missing(trace: &Trace, hash: B256) {
    let End::Missing(missing) = trace.end() else {
        panic!("it ended otherwise: {:?}", trace.end())
    };
    assert_eq!(missing.hash, hash);
    assert_eq!(trace.output(), None);
    let step = missing.step;
    assert_eq!(trace.state_at(step).expect("an answer"), Some(trace.end_state()));
    for beyond in [step + 1, TRACE_STEPS] {
        assert_eq!(trace.state_at(beyond).expect("an answer"), None);
        assert_eq!(trace.leaf_at(beyond, address::OUTPUT).expect("an answer"), None);
    }
    assert_eq!(trace.witness_at(step).expect("an answer"), None);
    let witness = trace
        .witness_at(step - 1)
        .expect("an answer")
        .expect("it is known");
    assert_eq!(witness.after, trace.end_state());
}

async fn trapped_by_advice(chain: &dyn Chain, runner: &Runner, unit: u64, record: &UnitRecord) {
    let leaf = join(record.before, B256::repeat_byte(3));
    let input = unit_input(chain, unit, Some(leaf)).await.expect("an answer");
    let trace = runner
        .start(input.expect("the unit is done"))
        .trace()
        .await
        .expect("a trace");
    assert!(matches!(trace.end(), End::Trapped(_)), "{:?}", trace.end());
    assert_eq!(
        trace.state_at(TRACE_STEPS).expect("an answer"),
        Some(trace.end_state())
    );
}
