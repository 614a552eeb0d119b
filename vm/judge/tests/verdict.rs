//! Steps of random programs: a true claim has no answer, a false one has, and what was signed leads to a leaf that Bitcoin
//! Core takes.

mod core;
#[path = "../../machine/tests/random/mod.rs"]
mod random;

use std::collections::BTreeMap;

use alloy_primitives::B256;
use bitsect_judge::leaf::{Keys, Value};
use bitsect_judge::step::gate::Access;
use bitsect_judge::step::verdict::{Answer, answer, verdict};
use bitsect_judge::step::{StepClaim, rules};
use bitsect_judge::winternitz::{KeyPath, MemoryStore, Seed, Signature, Signer};
use bitsect_machine::{Machine, Preimages, StepWitness};
use core::Spend;
use proptest::prelude::*;
use random::{code, program};

/// Whatever a lie may be in, with whether it is one in any step that a running machine makes.
fn lie(claim: &mut StepClaim, choice: u32, bits: u32) -> bool {
    let byte = (bits % 24) as usize;
    match choice % 12 {
        0 => claim.status ^= 1 + (bits % 15) as u8,
        1 => claim.status_after ^= 1 + (bits % 15) as u8,
        2 => claim.pc ^= 1 << (bits % 32),
        3 => claim.next ^= 1 << (bits % 32),
        4 => claim.middle[byte] ^= 1,
        5 => claim.after[byte] ^= 1,
        other => {
            let word = match other {
                6 => &mut claim.instruction,
                7 => &mut claim.first,
                8 => &mut claim.second,
                9 => &mut claim.word,
                10 => &mut claim.address,
                _ => &mut claim.written,
            };
            *word ^= 1 << (bits % 32);
            return false;
        }
    }
    true
}

/// Whether the value that the answer disputes differs from the true one.
fn is_false(access: Access, claim: &StepClaim, truth: &StepClaim) -> bool {
    match access {
        Access::Pc => claim.pc != truth.pc,
        Access::Status => claim.status != truth.status,
        Access::Instruction => claim.instruction != truth.instruction,
        Access::First | Access::CallNumber => claim.first != truth.first,
        Access::Second | Access::CallAddress => claim.second != truth.second,
        Access::Word | Access::CallLevel => claim.word != truth.word,
        Access::Key | Access::Node => false,
        Access::WriteControl => claim.middle == truth.middle && claim.after != truth.after,
        _ => claim.middle != truth.middle,
    }
}

fn steps(code: &[u32], count: usize, mut each: impl FnMut(&StepWitness, &::core::ops::Range<u32>)) {
    let program = program(code);
    let mut oracle = Preimages::default();
    oracle.insert_sha256(b"what the key is a hash of is not known to random programs");
    let mut machine = Machine::new(&program, &[7; 64]).unwrap();
    for _ in 0..count {
        let Ok(witness) = machine.prove_step(&oracle) else {
            return;
        };
        each(&witness, &program.text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn a_false_claim_has_an_answer_and_a_true_one_has_none(code in code(), seed: u32) {
        let mut seed = seed;
        let mut known = None;
        steps(&code, 40, |witness, text| {
            let rules = known.get_or_insert_with(|| rules(text));
            let truth = StepClaim::of(witness, text);
            assert_eq!(answer(rules, &truth, witness, text), Answer::True, "{truth:x?}");
            for _ in 0..12 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let mut claim = truth;
                let matters = lie(&mut claim, seed >> 4, seed >> 16);
                // What a stopped machine does not read or write is nobody's business.
                let stopped = truth.status != 0 && claim.status == truth.status && claim.after == truth.after;
                match answer(rules, &claim, witness, text) {
                    Answer::True => assert!(!matters || stopped, "{claim:x?}, true is {truth:x?}"),
                    Answer::Dispute(access) => {
                        assert!(is_false(access, &claim, &truth), "{access:?} {claim:x?}, true is {truth:x?}");
                        assert!(access.is_open(&claim));
                    }
                    Answer::Refute(_) => assert_ne!(claim, truth),
                }
            }
        });
    }
}

fn sign(claim: &StepClaim) -> (Keys, BTreeMap<Value, Signature>) {
    let mut signer = Signer::new(Seed::new([3; 32]), MemoryStore::default());
    let mut keys = Keys::new();
    let mut signatures = BTreeMap::new();
    let published = [
        Value::Statuses,
        Value::Pc,
        Value::Instruction,
        Value::First,
        Value::Second,
        Value::Word,
        Value::Address,
        Value::Written,
        Value::Next,
        Value::Before,
        Value::Middle,
        Value::After,
    ];
    for value in published {
        let path = KeyPath {
            deployment: B256::ZERO,
            slot: 0,
            pair: 0,
            step: 0,
            value: value as u32,
        };
        keys.insert(value, signer.public_key(&path, value.bytes()));
        let signature = signer.sign(&path, claim.values().bytes(value)).unwrap();
        signatures.insert(value, signature);
    }
    (keys, signatures)
}

#[test]
fn what_was_signed_leads_to_a_leaf_that_bitcoin_core_takes() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut taken = BTreeMap::<String, usize>::new();
    for case in 0..60_u32 {
        let code = proptest::strategy::ValueTree::current(&code().new_tree(&mut runner).unwrap());
        let mut seed = case;
        steps(&code, 12, |witness, text| {
            let rules = rules(text);
            let truth = StepClaim::of(witness, text);
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut claim = truth;
            lie(&mut claim, seed >> 4, seed >> 16);
            let expected = answer(&rules, &claim, witness, text);
            let (keys, signatures) = sign(&claim);
            let found = verdict(&rules, &keys, &signatures).unwrap();
            let refuted = matches!(expected, Answer::Refute(_));
            assert_eq!(found.is_some(), refuted, "{expected:?}");
            if let Some(found) = found {
                assert!(
                    Spend::new(&found.leaf.script).standard(&found.witness),
                    "{}",
                    found.leaf.name
                );
                // The same leaf of a true claim: no.
                let (keys, signatures) = sign(&truth);
                let rule = rules.iter().find(|rule| rule.name == found.leaf.name).unwrap();
                let hints = rule.refute(&claim.values()).unwrap();
                let leaf = rule.leaf(&keys);
                let witness = leaf.witness(&hints, &signatures).unwrap();
                assert!(!Spend::new(&leaf.script).takes(&witness), "{}", leaf.name);
                *taken.entry(found.leaf.name).or_default() += 1;
            }
        });
    }
    assert!(taken.len() >= 15, "{taken:?}");
}

#[test]
fn a_malleated_witness_is_refused() {
    let mut claim = StepClaim {
        pc: 0x1000,
        instruction: 0x00b5_0533,
        first: 5,
        second: 7,
        ..StepClaim::default()
    };
    let text = 0x1000..0x2000;
    claim.conclude(&text);
    claim.written = 13;
    let (keys, signatures) = sign(&claim);
    let found = verdict(&rules(&text), &keys, &signatures).unwrap().unwrap();
    assert_eq!(found.leaf.name, "result/add");
    let spend = Spend::new(&found.leaf.script);
    assert!(spend.standard(&found.witness));
    let refused = |change: &dyn Fn(&mut Vec<Vec<u8>>), what: &str| {
        let mut items = found.witness.clone();
        change(&mut items);
        assert!(!spend.takes(&items), "{what}");
    };
    for at in 0..found.witness.len() {
        refused(&|items| drop(items.remove(at)), "an item less");
        refused(&|items| items.insert(at, vec![]), "an item more");
        refused(&|items| items[at].push(0xff), "a longer item");
        let is_digit = at % 2 == 1;
        for value in 0..40_i64 {
            let digit = bitsect_judge::script::number::encode(value);
            if is_digit && digit != found.witness[at] {
                refused(&|items| items[at].clone_from(&digit), "another digit");
            }
        }
        if is_digit {
            // The same digit in more bytes: consensus takes it, relay does not, and the verdict is the same.
            let mut items = found.witness.clone();
            if items[at].is_empty() {
                items[at] = vec![0];
            } else {
                items[at].push(0);
            }
            assert!(spend.takes(&items) && !spend.standard(&items), "item {at}");
        }
    }
    // `first` and `second` are words alike: each has keys of its own.
    refused(
        &|items| {
            let last = items.len() - 20;
            items[last - 20..].rotate_left(20);
        },
        "swapped values",
    );
}

#[test]
fn a_signature_of_another_value_gives_no_verdict() {
    let claim = StepClaim {
        pc: 0x1000,
        ..StepClaim::default()
    };
    let (keys, mut signatures) = sign(&claim);
    let other = signatures[&Value::Next].clone();
    signatures.insert(Value::Pc, other);
    assert!(verdict(&rules(&(0x1000..0x2000)), &keys, &signatures).is_err());
}
