//! One case of each rule with signatures: sizes, and what a signed truth is worth.

mod core;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use bitsect_judge::leaf::{Keys, Rule, Value, Values};
use bitsect_judge::path::{level_rules, rules};
use bitsect_judge::winternitz::MemoryStore;
use bitsect_judge::winternitz::{KeyPath, Seed, Signature, Signer};
use core::Spend;
use tree::Search;

/// The largest weight of a transaction that is relayed, less what is around the leaf.
const MAX_WEIGHT: usize = 400_000 - 2_000;

/// Cases of a rule, among which is one in which it speaks.
const CASES: usize = 60;

fn path(value: Value) -> KeyPath {
    KeyPath {
        deployment: B256::repeat_byte(7),
        slot: 1,
        pair: 2,
        step: 3,
        value: value as u32,
    }
}

fn signer() -> Signer<MemoryStore> {
    Signer::new(Seed::new([9; 32]), MemoryStore::default())
}

fn sign(rule: &Rule, values: &Values) -> BTreeMap<Value, Signature> {
    let mut signer = signer();
    let signed = rule.reads.iter().map(|(value, _)| {
        let signature = signer.sign(&path(*value), values.bytes(*value)).unwrap();
        (*value, signature)
    });
    signed.collect()
}

/// Values for each rule, as an honest prover publishes them where the rule may speak.
fn cases() -> BTreeMap<String, Vec<Values>> {
    let mut cases: BTreeMap<String, Vec<Values>> = BTreeMap::new();
    for search in (0..6).flat_map(tree::all) {
        for level in [0, search.level, 10, 11, 25] {
            let values = search.at(level);
            for name in names(&search, level) {
                let cases = cases.entry(name).or_default();
                if cases.len() < CASES {
                    cases.push(values.clone());
                }
            }
        }
    }
    let mut state = Values::new();
    state.insert(Value::Root, [0x5a; 24]);
    state.insert(Value::RootAfter, [0x5a; 24]);
    state.insert(Value::Leaf, [0x5a; 64]);
    for name in ["state/same", "state/leaf"] {
        cases.insert(name.to_owned(), vec![state.clone()]);
    }
    cases
}

fn names(search: &Search, level: usize) -> Vec<String> {
    let rules = level_rules(search.place, level, search.after.is_some());
    let mut names: Vec<String> = rules.into_iter().map(|rule| rule.name).collect();
    if level == 0 {
        names.extend(search.words.iter().map(|(word, _)| format!("path/word/{word}")));
        names.extend(search.write.clone());
        let reads = search.after.is_none();
        let published = |value| search.values.get(value).is_some();
        for (name, here) in [
            ("path/leaf-hash", reads && published(Value::Leaf)),
            ("path/leaf-hash/key", reads && published(Value::Key)),
            ("call/node-link", reads && published(Value::Node)),
            ("call/key-hash", published(Value::Chaining)),
            ("call/block-hash", published(Value::Chaining)),
            ("call/preimage", published(Value::Chaining)),
        ] {
            names.extend(here.then(|| name.to_owned()));
        }
    }
    names
}

/// Makes one published value false so that the rule speaks; `None` where none of its values does that.
fn lie(rule: &Rule, values: &Values) -> Option<(Values, Vec<i64>)> {
    rule.reads.iter().find_map(|(value, _)| {
        let mut changed = values.clone();
        let mut bytes = values.bytes(*value).to_vec();
        bytes[0] ^= 1;
        changed.insert(*value, bytes);
        rule.refute(&changed).map(|hints| (changed, hints))
    })
}

/// Checks the leaf with signatures; gives its weight and the most items on its stacks.
fn check(rule: &Rule, values: &Values) -> Option<(usize, usize)> {
    let (changed, hints) = lie(rule, values)?;
    let keys: Keys = rule
        .reads
        .iter()
        .map(|(value, _)| (*value, signer().public_key(&path(*value), value.bytes())))
        .collect();
    let leaf = rule.leaf(&keys);
    let spend = Spend::new(&leaf.script);
    let witness = leaf.witness(&hints, &sign(rule, &changed)).unwrap();
    assert!(spend.standard(&witness), "{}", rule.name);
    let honest = leaf.witness(&hints, &sign(rule, values)).unwrap();
    assert!(!spend.takes(&honest), "{} against the truth", rule.name);
    assert!(witness.iter().all(|item| item.len() <= 80));
    let items: usize = witness.iter().map(|item| 1 + item.len()).sum();
    Some((leaf.script.len() + items, leaf.deepest))
}

/// Gives a rule's name without the level or the word.
fn family(name: &str) -> &str {
    let numbered = name
        .rsplit_once('-')
        .filter(|(_, number)| number.parse::<u32>().is_ok());
    numbered.map_or(name, |(family, _)| family)
}

#[test]
fn every_rule_speaks_with_signatures() {
    let cases = cases();
    let mut left: BTreeSet<String> = rules().iter().map(|rule| family(&rule.name).to_owned()).collect();
    for rule in rules() {
        let Some(values) = cases
            .get(&rule.name)
            .filter(|_| left.contains(family(&rule.name)))
        else {
            continue;
        };
        // Of a case with the other side, or another word, it says nothing.
        let Some((weight, deepest)) = values.iter().find_map(|values| check(&rule, values)) else {
            continue;
        };
        eprintln!("{:40} {weight:7} {deepest:4}", rule.name);
        assert!(weight <= MAX_WEIGHT, "{}: {weight}", rule.name);
        assert!(deepest <= 1_000, "{}: {deepest}", rule.name);
        left.remove(family(&rule.name));
    }
    assert!(left.is_empty(), "no case of {left:?}");
}
