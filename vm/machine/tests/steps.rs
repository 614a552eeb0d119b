//! Random programs: every step's witness holds, and no changed witness does.

mod random;

use bitsect_machine::{Engine, Interpreter, Machine, Preimages, Status, StepWitness, address};
use proptest::prelude::*;

use random::{DATA, call, code, load_immediate, program};

fn oracle() -> Preimages {
    let mut oracle = Preimages::default();
    oracle.insert_sha256(b"what the key is a hash of is not known to random programs");
    oracle
}

/// Changes one part of a witness.
fn tamper(witness: &StepWitness, choice: usize) -> StepWitness {
    let mut changed = witness.clone();
    let bit = 1 << (choice % 8);
    match choice % 6 {
        0 => changed.after.0[choice / 8 % 32] ^= bit,
        1 => changed.middle.0[choice / 8 % 32] ^= bit,
        2 => {
            let at = choice / 8 % changed.reads.len();
            changed.reads[at].leaf[choice / 64 % 64] ^= bit;
        }
        3 => {
            let at = choice / 8 % changed.reads.len();
            changed.reads[at].siblings[choice / 64 % 26].0[0] ^= bit;
        }
        4 => match &mut changed.data {
            Some(data) => data.new.0[choice / 8 % 32] ^= bit,
            None => changed.before.0[0] ^= bit,
        },
        _ => match &mut changed.control {
            Some(control) => control.new.0[choice / 8 % 32] ^= bit,
            None => changed.reads.clear(),
        },
    }
    changed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_step_is_provable_and_nothing_else_is(code in code(), choice: usize) {
        let program = program(&code);
        let oracle = oracle();
        let mut proved = Machine::new(&program, &[7; 64]).unwrap();
        let mut plain = Machine::new(&program, &[7; 64]).unwrap();
        for step in 1..80 {
            let stopped = plain.status() != Status::Running;
            let Ok(witness) = proved.prove_step(&oracle) else {
                let ran = Interpreter.run_to(&mut plain, step, &oracle);
                prop_assert_eq!(ran.err(), proved.missing());
                break;
            };
            prop_assert_eq!(witness.before, plain.root());
            Interpreter.run_to(&mut plain, step, &oracle).unwrap();
            prop_assert_eq!(witness.after, plain.root());
            prop_assert_eq!(witness.verify(&program.text), Ok(()));
            prop_assert!(tamper(&witness, choice.wrapping_add(step as usize)).verify(&program.text).is_err());
            if stopped {
                prop_assert_eq!(witness.before, witness.after);
                break;
            }
        }
    }
}

#[test]
fn a_node_comes_by_its_hash_and_goes_by_it() {
    let mut oracle = Preimages::default();
    let blob: Vec<u8> = (0..1000_u32).flat_map(|number| number.to_le_bytes()).collect();
    let root = oracle.insert_blob(&blob);
    // Copies the input's first word group to the key by eight loads and stores, then maps 64 leaves.
    let mut code = Vec::new();
    code.extend(load_immediate(5, address::INPUT));
    code.extend(load_immediate(6, address::KEY));
    for word in 0..8 {
        code.push((word * 4) << 20 | 5 << 15 | 2 << 12 | 7 << 7 | 0x03);
        code.push(7 << 20 | 6 << 15 | 2 << 12 | (word * 4) << 7 | 0x23);
    }
    code.extend(call(address::NODE_FROM_HASH, DATA, 6));
    code.extend(call(address::HASH_OF_NODE, DATA + 64, 0));
    code.extend(call(address::EXIT, 5, 0));
    let mut input = [0; 64];
    input[..32].copy_from_slice(root.as_slice());
    let mut machine = Machine::new(&program(&code), &input).unwrap();
    for _ in 0..code.len() {
        let witness = machine.prove_step(&oracle).unwrap();
        assert_eq!(witness.verify(machine.text()), Ok(()));
    }
    assert_eq!(machine.status(), Status::Halted { exit_code: 5 });

    // Without preimages the node can be mapped but not looked into.
    let empty = Preimages::default();
    let mut blind = Machine::new(&program(&code), &input).unwrap();
    let missing = Interpreter.run_to(&mut blind, 1_000, &empty).unwrap_err();
    assert_eq!(missing.hash, root);
    assert_eq!(blind.steps(), missing.step);
    let mut seeing = Machine::new(&program(&code), &input).unwrap();
    Interpreter.run_to(&mut seeing, missing.step, &oracle).unwrap();
    assert_eq!(seeing.root(), blind.root());
    assert_eq!(Interpreter.run_to(&mut blind, 2_000, &oracle), Err(missing));
}
