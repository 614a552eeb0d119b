//! States at every power of two of steps, and at others, are the same whether reached directly or from a snapshot.

mod random;

use bitsect_machine::{Engine, EngineKind, History, HistoryError, Interpreter, Limits, Machine, Preimages};
use proptest::prelude::*;

use random::{DATA, call, lively, load_immediate, program};

/// A program that maps a blob, part of which nobody knows, and then writes ever more memory.
fn writer(root: [u8; 32]) -> Vec<u32> {
    let mut words = Vec::new();
    for (at, word) in root.as_chunks::<4>().0.iter().enumerate() {
        words.extend(load_immediate(5, u32::from_le_bytes(*word)));
        // sw t0, offset(zero): the key.
        let offset = bitsect_machine::address::KEY.wrapping_add(4 * at as u32) & 0xfff;
        words.push((offset >> 5) << 25 | 5 << 20 | 2 << 12 | (offset & 31) << 7 | 0x23);
    }
    words.extend(call(bitsect_machine::address::NODE_FROM_HASH, 0x100_0000, 8));
    words.extend(load_immediate(6, DATA));
    words.extend(load_immediate(7, 1024));
    // add t0, t0, t1; sw t0, 0(t1); add t1, t1, t2; j -12
    words.extend([0x0062_82b3, 0x0053_2023, 0x0073_0333, 0xff5f_f06f]);
    words
}

fn check(
    words: &[u32],
    oracle: &Preimages,
    limits: Limits,
    end: u64,
    others: &[u64],
) -> Result<(), TestCaseError> {
    let program = program(words);
    let mut fast = EngineKind::Fast.engine();
    let mut machine = Machine::new(&program, &[1; 64]).unwrap();
    let history = History::record(&mut machine, &mut *fast, oracle, end, limits);
    prop_assert!(history.size().0 <= limits.count.max(2));
    let mut direct = Machine::new(&program, &[1; 64]).unwrap();
    let powers = (0..).map(|power| 1_u64 << power).take_while(|step| *step <= end);
    let mut steps: Vec<u64> = powers.chain(others.iter().map(|step| step % (end + 1))).collect();
    steps.sort_unstable();
    for step in steps {
        let ran = Interpreter.run_to(&mut direct, step, oracle);
        match history.machine_at(step, &mut *fast, oracle) {
            Ok(mut restored) => {
                prop_assert_eq!(ran, Ok(()));
                prop_assert_eq!(restored.steps(), direct.steps());
                prop_assert_eq!(restored.status(), direct.status());
                prop_assert_eq!(restored.root(), direct.root(), "step {}", step);
            }
            Err(HistoryError::Missing(missing)) => prop_assert_eq!(ran, Err(missing)),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_state_comes_back(words in lively(), others: [u64; 4], count in 2_usize..9) {
        let limits = Limits { bytes: 1 << 30, count, spacing: 16 };
        check(&words, &Preimages::default(), limits, 5_000, &others)?;
    }
}

#[test]
fn the_state_before_a_missing_preimage_is_known_and_no_later_one() {
    // Not even the root's preimage is known. What is mapped is looked into: lw t0, 0(a0).
    let oracle = Preimages::default();
    let mut words = writer([7; 32]);
    words.truncate(words.len() - 8);
    words.push(0x0005_2283);
    let program = program(&words);
    let mut fast = EngineKind::Fast.engine();
    let mut machine = Machine::new(&program, &[1; 64]).unwrap();
    let history = History::record(&mut machine, &mut *fast, &oracle, 1_000, Limits::default());
    let missing = history.missing().unwrap();
    assert_eq!(missing.hash.0, [7; 32]);
    let mut last = history.machine_at(missing.step, &mut *fast, &oracle).unwrap();
    assert_eq!(last.root(), machine.root());
    assert_eq!(last.prove_step(&oracle), Err(missing));
    let later = history.machine_at(missing.step + 1, &mut *fast, &oracle);
    assert!(matches!(later, Err(HistoryError::Missing(got)) if got == missing));
}

#[test]
fn a_recording_stops_where_it_is_told_to() {
    let program = program(&writer([0; 32]));
    let mut machine = Machine::new(&program, &[1; 64]).unwrap();
    let limits = Limits {
        spacing: 64,
        ..Limits::default()
    };
    let mut fast = EngineKind::Fast.engine();
    let mut seen = Vec::new();
    let oracle = Preimages::default();
    History::record_while(&mut machine, &mut *fast, &oracle, 1 << 40, limits, |steps| {
        seen.push(steps);
        steps < 128
    });
    assert_eq!(seen, [0, 64, 128]);
    assert_eq!(machine.steps(), 128);
}

#[test]
fn a_leaf_is_proven_under_the_state() {
    let mut machine = Machine::new(&program(&writer([0; 32])), &[1; 64]).unwrap();
    let oracle = Preimages::default();
    let at = bitsect_machine::address::INPUT;
    let access = machine.prove_leaf(at, &oracle).unwrap();
    assert_eq!(access.leaf, [1; 64]);
    let mut index = u64::from(at) / 64;
    let mut hash = bitsect_vm::state::hash_node(&access.leaf);
    for sibling in &access.siblings {
        hash = if index % 2 == 0 {
            bitsect_vm::chain::hash_pair(&hash, sibling)
        } else {
            bitsect_vm::chain::hash_pair(sibling, &hash)
        };
        index /= 2;
    }
    assert_eq!(hash, machine.root());
}

#[test]
fn snapshots_keep_to_their_budget_and_know_opaque_nodes() {
    // The root's children are known, and nothing below: the host can map it but not look into it.
    let mut oracle = Preimages::default();
    let root = oracle.insert_node([7; 64]);
    let words = writer(root.0);
    let limits = Limits {
        bytes: 40 * 4096,
        count: 64,
        spacing: 64,
    };
    check(&words, &oracle, limits, 3_000, &[77, 1_234, 2_999]).unwrap();
}
