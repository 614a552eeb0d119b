//! Explanations of claims.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{B256, U64};
use bitsect_bridge::chain::{Chain, Runner, RunnerConfig, Trace, unit_input};
use bitsect_challenger::explain::{
    AtTransaction, Claimed, ClaimedReceipt, ClaimedTrace, Explanation, Place, Places, Prefix, Verdict, Work,
    execute, executor, explain,
};
use bitsect_tests::Rpc;
use bitsect_vm::chain::ChainParams;
use serde_json::json;

use super::BURST;

const WRONG: B256 = B256::repeat_byte(0xbb);

async fn state(chain: &Arc<dyn Chain>, unit: u64) -> B256 {
    let state = chain.state(unit).await.expect("an answer");
    state.expect("the unit is done")
}

/// A claim of the chain's last state from a start.
async fn right(chain: &Arc<dyn Chain>, start: u64) -> Claimed {
    let units = chain.unit_count().await.expect("a count");
    Claimed {
        start,
        units: units - start,
        state: Prefix::of(&state(chain, units).await),
        ticket: None,
        height: None,
        states: BTreeMap::new(),
        trace: None,
        receipts: None,
    }
}

async fn told(chain: &Arc<dyn Chain>, params: &ChainParams, claimed: &Claimed) -> Explanation {
    explain(chain, params, None, claimed)
        .await
        .expect("an explanation")
}

/// Right ones, early ones, wrong ones, with and without enough states to name the unit.
pub async fn claims(chain: &Arc<dyn Chain>, params: &ChainParams) {
    let start = 2;
    let mut claimed = right(chain, start).await;
    assert_eq!(told(chain, params, &claimed).await.verdict, Verdict::Right);
    claimed.states.insert(claimed.units + 9, claimed.state);
    assert_eq!(told(chain, params, &claimed).await.verdict, Verdict::Right);
    claimed.states.insert(claimed.units + 9, Prefix::of(&WRONG));
    let position = claimed.units + 9;
    assert_eq!(
        told(chain, params, &claimed).await.verdict,
        Verdict::NotRepeated { position }
    );

    let mut early = right(chain, 0).await;
    let have = early.units;
    early.units += 1;
    let need = early.units;
    assert_eq!(
        told(chain, params, &early).await.verdict,
        Verdict::NotDerived { have, need }
    );

    let mut wrong = right(chain, start).await;
    for position in [0, 1, 2] {
        wrong
            .states
            .insert(position, Prefix::of(&state(chain, start + position).await));
    }
    wrong.states.insert(5, Prefix::of(&WRONG));
    let explained = told(chain, params, &wrong).await;
    let expected = state(chain, start + 5).await;
    let verdict = |right_until, wrong_from, expected| Verdict::Wrong {
        right_until,
        wrong_from,
        claimed: Prefix::of(&WRONG),
        expected: Some(expected),
    };
    assert_eq!(explained.verdict, verdict(2, 5, expected));
    assert_eq!(explained.unit, None, "three units may be the wrong one");
    wrong.states.insert(3, Prefix::of(&WRONG));
    let explained = told(chain, params, &wrong).await;
    assert_eq!(explained.verdict, verdict(2, 3, state(chain, start + 3).await));
    assert_eq!(explained.unit.expect("one unit is named").unit, start + 2);
    each_unit_is_named(chain, params).await;
}

/// Claims whose first wrong unit is each in turn: what it does is what its record says.
async fn each_unit_is_named(chain: &Arc<dyn Chain>, params: &ChainParams) {
    let units = chain.unit_count().await.expect("a count");
    let mut blocks = 0;
    for unit in 0..units {
        let record = chain
            .record(unit)
            .await
            .expect("an answer")
            .expect("the unit is done");
        let mut claimed = right(chain, unit).await;
        claimed.states.insert(1, Prefix::of(&WRONG));
        let facts = told(chain, params, &claimed)
            .await
            .unit
            .expect("one unit is named");
        assert_eq!(facts.unit, unit);
        match facts.work {
            Work::L1Block { hash, .. } => {
                assert_eq!(bitsect_node::convert::block_hash(&hash), record.advice);
            }
            Work::L2Block { number, forced, .. } => {
                blocks += 1;
                assert_eq!((number, forced), (blocks, false));
            }
            Work::DroppedBatch { reason, .. } => panic!("unit {unit}: {reason}"),
            Work::Check { ticket, .. } => panic!("unit {unit}: a check of {ticket}"),
        }
    }
    assert!(blocks > 3);
}

/// The liar's receipts, and machine states of its run, lead to the transaction.
pub async fn transactions(chain: &Arc<dyn Chain>, params: &ChainParams, rpc: &Rpc) {
    let program = chain.program().expect("there is a program");
    let runner = Runner::new(program, RunnerConfig::default()).expect("it is one");
    let (unit, number) = busy_unit(chain, params).await;
    let receipts = rpc
        .get("eth_getBlockReceipts", json!([format!("{number:#x}")]))
        .await;
    let receipts: Vec<ClaimedReceipt> = serde_json::from_value(receipts).expect("receipts");
    let count = receipts.len();

    let mut claimed = right(chain, unit).await;
    claimed.states.insert(1, Prefix::of(&WRONG));
    let difference = async |receipts: Vec<ClaimedReceipt>| {
        let claimed = Claimed {
            receipts: Some(receipts),
            ..claimed.clone()
        };
        told(chain, params, &claimed)
            .await
            .unit
            .expect("one unit is named")
            .difference
    };
    assert_eq!(difference(receipts.clone()).await, None);
    let mut failed = receipts.clone();
    failed[2].status = U64::ZERO;
    failed[3].cumulative_gas_used += U64::from(1);
    let found = difference(failed).await.expect("it differs");
    assert_eq!((found.index, found.field), (2, "status"));
    assert_eq!(found.transaction, Some(receipts[2].transaction_hash));
    let short = receipts[..count - 1].to_vec();
    let found = difference(short).await.expect("it differs");
    assert_eq!(
        (found.index, found.field, found.claimed.as_str()),
        (count - 1, "transaction", "none")
    );

    let input = unit_input(chain.as_ref(), unit, None)
        .await
        .expect("an answer")
        .expect("the unit is done");
    let leaf = *input.leaf();
    let trace = runner.start(input).trace().await.expect("a trace");
    let steps = tokio::task::block_in_place(|| middles(&trace, count));
    for (index, step) in steps.into_iter().enumerate() {
        let at = |step| trace.state_at(step).expect("an answer").expect("it is known");
        let states = BTreeMap::from([(step, Prefix::of(&at(step))), (step + 1, Prefix::of(&WRONG))]);
        let lied = Claimed {
            trace: Some(ClaimedTrace {
                unit: None,
                input: leaf.into(),
                states,
            }),
            ..claimed.clone()
        };
        let explained = explain(chain, params, Some(&runner), &lied)
            .await
            .expect("an explanation");
        let text = explained.to_string();
        let run = explained
            .unit
            .expect("one unit is named")
            .run
            .expect("its run is");
        let wrong = run.wrong.expect("a step is wrong");
        assert_eq!((wrong.right_until, wrong.wrong_from), (step, step + 1));
        assert_eq!(wrong.expected, Some(at(step + 1)));
        let transaction = receipts[index].transaction_hash;
        let expected = AtTransaction {
            index: Some(index),
            transaction: Some(transaction),
            inside: true,
        };
        assert_eq!(
            (wrong.first, wrong.last),
            (Some(expected.clone()), Some(expected))
        );
        assert!(
            text.contains(&format!("in transaction {index}: {transaction}")),
            "{text}"
        );
        assert!(text.contains(&format!("executes L2 block {number}")), "{text}");
    }
}

/// Finds a unit that executes a block of several transactions.
async fn busy_unit(chain: &Arc<dyn Chain>, params: &ChainParams) -> (u64, u64) {
    for unit in 0..chain.unit_count().await.expect("a count") {
        let record = chain
            .record(unit)
            .await
            .expect("an answer")
            .expect("the unit is done");
        let done = execute(params, &record).expect("it can be done again");
        if let Work::L2Block {
            number, transactions, ..
        } = done.work
            && transactions as u64 == BURST
        {
            assert_eq!(done.attempts.len(), transactions);
            return (unit, number);
        }
    }
    panic!("no block has {BURST} transactions");
}

/// Finds a step in the middle of each transaction; and checks that the run has as many as the block.
fn middles(trace: &Trace, count: usize) -> Vec<u64> {
    let at = executor(trace.program()).expect("the program has its symbols");
    let places = Places::walk(trace, at, u64::MAX, |_| ());
    let places = places.expect("an answer").expect("all is known");
    let changes: Vec<Place> = places.changes().iter().map(|(_, place)| *place).collect();
    let mut expected = vec![Place::default()];
    for begun in 1..=count {
        expected.extend([true, false].map(|inside| Place { begun, inside }));
    }
    assert_eq!(changes, expected);
    let steps = places.changes()[1..].as_chunks::<2>().0.iter();
    steps.map(|[begin, end]| begin.0.midpoint(end.0)).collect()
}
