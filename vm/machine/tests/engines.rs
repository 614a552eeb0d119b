//! The fast engine equals the interpreter: random programs, at arbitrary step limits, state by state.

mod random;

use bitsect_machine::{Engine, EngineKind, Interpreter, Machine, Preimages, Status};
use proptest::prelude::*;

use random::{DATA, call, code, lively, load_immediate, program};

/// Runs both engines to each limit and compares all that a state is.
fn compare(words: &[u32], limits: &[u64], oracle: &Preimages) -> Result<(), TestCaseError> {
    let program = program(words);
    let mut fast = EngineKind::Fast.engine();
    let mut expected = Machine::new(&program, &[7; 64]).unwrap();
    let mut machine = Machine::new(&program, &[7; 64]).unwrap();
    for (at, limit) in limits.iter().enumerate() {
        let ran = Interpreter.run_to(&mut expected, *limit, oracle);
        prop_assert_eq!(fast.run_to(&mut machine, *limit, oracle), ran);
        prop_assert_eq!(machine.steps(), expected.steps());
        prop_assert_eq!(machine.status(), expected.status());
        prop_assert_eq!(machine.pc(), expected.pc());
        prop_assert_eq!(machine.registers(), expected.registers());
        // A root costs a look at every page's flag.
        if at % 6 == 5 || at + 1 == limits.len() {
            prop_assert_eq!(machine.root(), expected.root(), "step {}", limit);
        }
    }
    Ok(())
}

/// Growing limits: every step at first, then any.
fn limits() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(
        prop_oneof![3 => 1_u64..4, 2 => 1_u64..60, 1 => 1_u64..3_000],
        1..24,
    )
    .prop_map(|gaps| {
        let mut step = 0;
        gaps.into_iter()
            .map(|gap| {
                step += gap;
                step
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn fast_equals_the_interpreter(words in lively(), limits in limits()) {
        compare(&words, &limits, &Preimages::default())?;
    }

    #[test]
    fn fast_equals_the_interpreter_on_noise(words in code(), limits in limits()) {
        compare(&words, &limits, &Preimages::default())?;
    }
}

/// One engine runs machines of different programs, and takes up each where it is.
#[test]
fn an_engine_serves_several_programs() {
    let oracle = Preimages::default();
    let mut fast = EngineKind::Fast.engine();
    let codes: Vec<Vec<u32>> = [5_u32, 9]
        .into_iter()
        .map(|count| {
            let mut words = load_immediate(5, count).to_vec();
            // addi t1, t1, 3; addi t0, t0, -1; bnez t0, -8
            words.extend([0x0033_0313, 0xfff2_8293, 0xfe02_9ce3]);
            words.extend(call(93, count, 0));
            words
        })
        .collect();
    let mut machines: Vec<Machine> = codes
        .iter()
        .map(|words| Machine::new(&program(words), &[0; 64]).unwrap())
        .collect();
    for step in 1..60 {
        for machine in &mut machines {
            fast.run_to(machine, step, &oracle).unwrap();
        }
    }
    for (machine, count) in machines.iter().zip([5, 9]) {
        assert_eq!(machine.status(), Status::Halted { exit_code: count });
        assert_eq!(machine.registers()[6], 3 * count);
    }
}

/// A run ends at the step that needs a node which nobody has, in every engine.
#[test]
fn opaque_nodes_end_a_run_in_every_engine() {
    let mut words = call(1, DATA, 3);
    words.extend(load_immediate(5, DATA));
    words.extend([0x0002_a303, 0x0000_0013]);
    for kind in EngineKind::ALL {
        let mut machine = Machine::new(&program(&words), &[0; 64]).unwrap();
        // The key is zero: no node has that hash.
        let missing = kind
            .engine()
            .run_to(&mut machine, 100, &Preimages::default())
            .unwrap_err();
        assert_eq!(missing.step, words.len() as u64 - 2);
        assert_eq!(machine.steps(), missing.step);
    }
}

#[test]
fn engines_have_names() {
    for kind in EngineKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert!("quick".parse::<EngineKind>().is_err());
}
