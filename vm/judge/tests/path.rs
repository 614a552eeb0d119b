//! Words, states, nodes and levels that repeat: what needs no hash.

mod bare;
mod core;
mod tree;

use bare::{Bare, change};
use bitsect_judge::leaf::{Rule, Value, Values};
use bitsect_judge::path::{Field, Place, Time, level_rules, rules};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tree::Search;

/// Checks a word's rule: on every step that reads it, the claim is refuted exactly when it is not the word there.
fn word(name: &str) {
    let bare = Bare::of(&format!("path/word/{name}"));
    let mut rng = StdRng::seed_from_u64(7);
    let mut read = 0;
    for search in (0..2).flat_map(tree::all) {
        let Some((_, value)) = search.words.iter().find(|(word, _)| *word == name) else {
            continue;
        };
        read += 1;
        let mut values = search.at(0);
        assert!(!bare.refutes(&values), "{name}");
        // The status after is not in the leaf.
        let digits = if *value == Value::Statuses {
            1
        } else {
            value.digits()
        };
        change(&mut values, *value, rng.random_range(0..digits), &mut rng);
        assert!(bare.refutes(&values), "{name}");
    }
    assert!(read > 3, "{read} steps read {name}");
}

/// Checks a word's rule on random leaves, where the place is given by any value.
fn word_anywhere(name: &str, claimed: Value, by: Value, index: impl Fn(u32) -> u32) {
    let bare = Bare::of(&format!("path/word/{name}"));
    let mut rng = StdRng::seed_from_u64(8);
    for _ in 0..300 {
        let mut values = Values::new();
        let leaf: Vec<u8> = (0..64).map(|_| rng.random()).collect();
        let place: u32 = rng.random();
        let at = 4 * index(place) as usize;
        values.insert(by, place.to_le_bytes());
        values.insert(claimed, leaf[at..at + 4].to_vec());
        values.insert(Value::Leaf, leaf);
        assert!(!bare.refutes(&values));
        let digit = rng.random_range(0..8);
        change(&mut values, claimed, digit, &mut rng);
        assert!(bare.refutes(&values));
        assert!(bare.takes(&[7 - digit as i64], &values));
        assert!(
            (0..7)
                .filter(|other| *other != digit)
                .all(|other| !bare.takes(&[7 - other as i64], &values))
        );
    }
}

#[test]
fn path_word_pc() {
    word("pc");
}

#[test]
fn path_word_status() {
    word("status");
    let bare = Bare::of("path/word/status");
    for digit in 0..8 {
        let mut leaf = [0; 64];
        leaf[0..4].fill(0xff);
        leaf[8..].fill(0xff);
        leaf[4] = 9;
        let mut values = Values::new();
        values.insert(Value::Statuses, [0x59]);
        values.insert(Value::Leaf, leaf);
        assert!(!bare.refutes(&values));
        leaf[4 + digit / 2] ^= 2 << (4 * (digit % 2));
        values.insert(Value::Leaf, leaf);
        assert!(bare.refutes(&values));
    }
}

#[test]
fn path_word_instruction() {
    word("instruction");
    word_anywhere("instruction", Value::Instruction, Value::Pc, |pc| pc >> 2 & 15);
}

#[test]
fn path_word_memory() {
    word("memory");
    word_anywhere("memory", Value::Word, Value::Address, |address| address >> 2 & 15);
}

#[test]
fn path_word_rs1() {
    word("rs1");
    word_anywhere("rs1", Value::First, Value::Instruction, |word| word >> 15 & 15);
}

#[test]
fn path_word_rs2() {
    word("rs2");
    word_anywhere("rs2", Value::Second, Value::Instruction, |word| word >> 20 & 15);
}

#[test]
fn path_word_a7() {
    word("a7");
}

#[test]
fn path_word_a0() {
    word("a0");
}

#[test]
fn path_word_a1() {
    word("a1");
}

/// Checks a rule that two values are the same in so many digits.
fn same(rule: Rule, digits: usize, pairs: impl IntoIterator<Item = (Values, Value)>) {
    let bare = Bare::new(rule);
    let mut rng = StdRng::seed_from_u64(9);
    for (mut values, changed) in pairs {
        assert!(!bare.refutes(&values), "{}", bare.rule.name);
        if changed.digits() > digits {
            let behind = rng.random_range(digits..changed.digits());
            change(&mut values, changed, behind, &mut rng);
            assert!(!bare.refutes(&values), "{}", bare.rule.name);
        }
        // The last one, or any.
        for digit in [digits - 1, rng.random_range(0..digits)] {
            let mut values = values.clone();
            change(&mut values, changed, digit, &mut rng);
            assert!(bare.refutes(&values), "{}", bare.rule.name);
            let last = digits as i64;
            let beside = [-1, last, last - 1 - (digit as i64 + 1) % last];
            assert!(
                beside
                    .iter()
                    .all(|hint| !bare.takes(&[*hint], &values) || digit == 0 && *hint == last)
            );
        }
    }
}

fn rule(name: &str) -> Rule {
    rules()
        .into_iter()
        .find(|rule| rule.name == name)
        .unwrap_or_else(|| panic!("no rule {name}"))
}

/// Checks a rule that a state is that of another value.
fn state(name: &str, other: Value) {
    let mut rng = StdRng::seed_from_u64(10);
    let values = (0..20).map(|_| {
        let bytes: Vec<u8> = (0..64).map(|_| rng.random()).collect();
        let mut values = Values::new();
        values.insert(Value::Root, &bytes[..24]);
        values.insert(other, &bytes[..other.bytes()]);
        values
    });
    let pairs = values.flat_map(|values| [(values.clone(), Value::Root), (values, other)]);
    same(rule(name), 48, pairs);
}

#[test]
fn state_same() {
    state("state/same", Value::RootAfter);
}

#[test]
fn state_leaf() {
    state("state/leaf", Value::Leaf);
}

#[test]
fn path_repeat() {
    let mut rng = StdRng::seed_from_u64(12);
    for search in tree::all(4) {
        for level in 0..26 {
            for (time, bottom) in [(Time::Before, Value::Bottom), (Time::After, Value::BottomAfter)] {
                let suffix = if time == Time::After { "-after" } else { "" };
                let prefix = format!("path/repeat{suffix}/");
                let rules = level_rules(search.place, level, search.after.is_some());
                let found = rules.into_iter().find(|rule| rule.name.starts_with(&prefix));
                let below = level < search.level;
                let Some(bare) = found.map(Bare::new) else {
                    assert!(!below || time == Time::After && search.after.is_none());
                    continue;
                };
                let mut values = search.at(level);
                assert!(!bare.refutes(&values));
                change(&mut values, bottom, rng.random_range(0..64), &mut rng);
                assert_eq!(bare.refutes(&values), below, "{:?} {level}", search.place);
            }
        }
    }
}

#[test]
fn call_node_from_hash() {
    let searches = (0..3)
        .flat_map(tree::all)
        .filter(|search| search.write.as_deref() == Some("call/node-from-hash"));
    let values: Vec<_> = searches
        .flat_map(|search| [Value::BottomAfter, Value::Key].map(|value| (search.at(0), value)))
        .collect();
    assert_eq!(values.len(), 6);
    same(rule("call/node-from-hash"), 64, values);
}

#[test]
fn call_node_link() {
    let read = |search: &Search| search.place == Place::Call && search.after.is_none();
    let searches = (0..3).flat_map(tree::all).filter(read);
    let values: Vec<_> = searches
        .flat_map(|search| [Value::Bottom, Value::Node].map(|value| (search.at(0), value)))
        .collect();
    assert_eq!(values.len(), 12);
    same(rule("call/node-link"), 64, values);
}

#[test]
fn only_the_lowest_level_of_a_register_needs_its_number() {
    for level in 0..26 {
        for register in 0..32_u32 {
            let address = 0xffff_ff00 + 4 * register;
            let right = address >> (6 + level) & 1 == 1;
            let rules = level_rules(Place::Register(Field::Rs2), level, false);
            let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
            if level == 0 {
                assert_eq!(names, ["path/equation-left/rs2-0", "path/equation-right/rs2-0"]);
            } else {
                let side = if right { "right" } else { "left" };
                let root = if level == 25 { "/root" } else { "" };
                assert_eq!(names, [format!("path/equation-{side}{root}")]);
            }
        }
    }
}
