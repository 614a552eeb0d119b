//! Equations, contents and what a step writes: what is decided by a hash.

mod bare;
mod core;
mod tree;

use std::collections::BTreeMap;

use bare::{Bare, change};
use bitsect_judge::leaf::{Rule, Value, Values};
use bitsect_judge::path::{Place, level_rules, rules};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tree::Search;

/// Searches whose equations a test checks: a hash takes 20 ms in both executors.
const MOST_SEARCHES: usize = 12;

/// Rules by name, each written once.
struct Rules {
    all: BTreeMap<String, Rule>,
    bare: BTreeMap<String, Bare>,
    rng: StdRng,
}

impl Rules {
    fn new(seed: u64) -> Self {
        Self {
            all: rules()
                .into_iter()
                .map(|rule| (rule.name.clone(), rule))
                .collect(),
            bare: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    fn bare(&mut self, name: &str) -> &Bare {
        if let Some(rule) = self.all.remove(name) {
            let tried = [-1, 0, self.rng.random_range(1..63), 47, 48, 63, 64, 10_000];
            self.bare
                .insert(name.to_owned(), Bare::new(rule).with_hints(tried));
        }
        self.bare.get(name).unwrap_or_else(|| panic!("no rule {name}"))
    }

    fn refutes(&mut self, name: &str, values: &Values) -> bool {
        self.bare(name).refutes(values)
    }

    /// Checks that a rule holds of true values, and of none where one of these is changed.
    fn check(&mut self, name: &str, values: &Values, changed: &[Value]) {
        assert!(!self.refutes(name, values), "{name} against the truth");
        for value in changed {
            let mut values = values.clone();
            let digits = value.digits();
            let digit = self.rng.random_range(0..digits);
            change(&mut values, *value, digit, &mut self.rng);
            assert!(self.refutes(name, &values), "{name} with another {value:?}");
        }
    }
}

/// The names of the equations of a search at a level.
fn equations(search: &Search, level: usize) -> Vec<String> {
    let rules = level_rules(search.place, level, search.after.is_some());
    let names = rules.into_iter().map(|rule| rule.name);
    names.filter(|name| name.starts_with("path/equation")).collect()
}

/// Checks the equations of searches at some of their levels.
fn check_equations(seed: u64, keep: impl Fn(&Search) -> bool, levels: usize) {
    let mut rules = Rules::new(seed);
    let mut searches: Vec<Search> = tree::all(seed).into_iter().filter(keep).collect();
    assert!(!searches.is_empty());
    let step = searches.len().div_ceil(MOST_SEARCHES);
    searches = searches.into_iter().step_by(step).collect();
    let mut refuted = 0;
    for search in searches {
        let random: Vec<usize> = (0..levels).map(|_| rules.rng.random_range(0..26)).collect();
        for level in random
            .into_iter()
            .chain([0, search.level.saturating_sub(1), search.level, 25])
        {
            for name in equations(&search, level) {
                refuted += usize::from(check_equation(&mut rules, &search, level, &name));
            }
        }
    }
    assert!(refuted > levels);
}

/// Checks one equation; gives whether it speaks here.
fn check_equation(rules: &mut Rules, search: &Search, level: usize, name: &str) -> bool {
    let values = search.at(level);
    assert!(!rules.refutes(name, &values), "{name} against the truth");
    let (top, bottom) = match (name.contains("-after"), level == 25) {
        (true, true) => (Value::RootAfter, Value::BottomAfter),
        (true, false) => (Value::TopAfter, Value::BottomAfter),
        (false, true) => (Value::Root, Value::Bottom),
        (false, false) => (Value::Top, Value::Bottom),
    };
    let truth = |side: &str| name.contains(side);
    let address = match search.place {
        Place::Constant(address) => address,
        Place::KeyAndBlock => 0xffff_fe00,
        Place::Pc => values.word(Value::Pc),
        Place::Address => values.word(Value::Address),
        Place::Call => values.word(Value::Second),
        Place::Register(field) => 0xffff_ff00 + 4 * field.number(values.word(Value::Instruction)),
    };
    let right = address >> (6 + level) & 1 == 1;
    let speaks = level >= search.level && (right && truth("right") || !right && truth("left"));
    for value in [top, bottom, Value::Sibling] {
        let mut values = values.clone();
        let digit = rules.rng.random_range(0..value.digits());
        change(&mut values, value, digit, &mut rules.rng);
        assert_eq!(
            rules.refutes(name, &values),
            speaks,
            "{name} with another {value:?}"
        );
    }
    speaks
}

#[test]
fn path_equation_of_control() {
    check_equations(20, |search| search.place == Place::Constant(0xffff_ffc0), 1);
}

#[test]
fn path_equation_of_key() {
    check_equations(21, |search| search.place == Place::Constant(0xffff_fe00), 3);
}

#[test]
fn path_equation_by_pc() {
    check_equations(22, |search| search.place == Place::Pc, 1);
}

#[test]
fn path_equation_by_address() {
    check_equations(23, |search| search.place == Place::Address, 1);
}

#[test]
fn path_equation_by_register() {
    check_equations(24, |search| matches!(search.place, Place::Register(_)), 0);
}

#[test]
fn path_equation_by_node() {
    check_equations(25, |search| search.place == Place::Call, 4);
}

#[test]
fn path_equation_of_key_and_block() {
    check_equations(26, |search| search.place == Place::KeyAndBlock, 4);
}

/// Checks the rule of what is written, on every search that has it.
fn written(seeds: ::core::ops::Range<u64>, prefix: &str, changed: &[Value]) {
    let mut rules = Rules::new(30);
    let mut found = 0;
    for search in seeds.flat_map(tree::all) {
        let Some(name) = search.write.as_deref().filter(|name| name.starts_with(prefix)) else {
            continue;
        };
        found += 1;
        if found > 40 {
            break;
        }
        rules.check(name, &search.at(0), changed);
    }
    assert!(found > 1, "{found} of {prefix}");
}

#[test]
fn path_leaf_hash() {
    let mut rules = Rules::new(31);
    let reads = tree::all(31)
        .into_iter()
        .filter(|search| search.after.is_none() && search.level == 0);
    let reads = reads.filter(|search| search.values.get(Value::Leaf).is_some());
    for search in reads.step_by(9) {
        rules.check("path/leaf-hash", &search.at(0), &[Value::Bottom, Value::Leaf]);
    }
}

#[test]
fn path_leaf_hash_key() {
    let mut rules = Rules::new(32);
    let keys = (0..2).flat_map(tree::all).filter(|search| search.after.is_none());
    for search in keys.filter(|search| search.values.get(Value::Key).is_some()) {
        rules.check("path/leaf-hash/key", &search.at(0), &[Value::Bottom, Value::Key]);
    }
}

#[test]
fn path_write_register() {
    written(0..2, "path/write/register", &[Value::BottomAfter, Value::Written]);
}

#[test]
fn path_write_memory() {
    written(0..2, "path/write/memory", &[Value::BottomAfter, Value::Written]);
}

#[test]
fn path_write_control() {
    written(0..1, "path/write/control", &[Value::BottomAfter, Value::Next]);
}

#[test]
fn path_write_control_exit() {
    let changed = [Value::BottomAfter, Value::Next, Value::Second];
    written(0..6, "path/write/control-exit", &changed);
}

#[test]
fn call_hash_of_node() {
    written(0..3, "call/hash-of-node", &[Value::BottomAfter, Value::Node]);
}

#[test]
fn call_preimage_node() {
    written(
        0..3,
        "call/preimage-node",
        &[Value::BottomAfter, Value::KeyHash, Value::BlockHash],
    );
}

#[test]
fn call_key_hash() {
    let mut rules = Rules::new(33);
    for search in (0..3)
        .flat_map(tree::all)
        .filter(|search| search.place == Place::KeyAndBlock)
    {
        rules.check("call/key-hash", &search.at(1), &[Value::KeyHash, Value::Chaining]);
    }
}

#[test]
fn call_block_hash() {
    let mut rules = Rules::new(34);
    for search in (0..3)
        .flat_map(tree::all)
        .filter(|search| search.place == Place::KeyAndBlock)
    {
        rules.check(
            "call/block-hash",
            &search.at(1),
            &[Value::BlockHash, Value::Block],
        );
    }
}

/// The rule of another word than the one that is written says nothing, whatever is published.
#[test]
fn a_write_of_another_word_is_not_refuted() {
    let mut rules = Rules::new(35);
    for (at, prefix) in ["path/write/register-", "path/write/memory-"]
        .into_iter()
        .enumerate()
    {
        let writes = tree::all(5).into_iter().filter(|search| {
            search
                .write
                .as_deref()
                .is_some_and(|name| name.starts_with(prefix))
        });
        let search = writes.skip(6 + at).step_by(7).next().unwrap();
        for word in 0..16 {
            let name = format!("{prefix}{word}");
            let mut values = search.at(0);
            change(
                &mut values,
                Value::BottomAfter,
                word,
                &mut StdRng::seed_from_u64(1),
            );
            assert_eq!(
                rules.refutes(&name, &values),
                search.write.as_deref() == Some(name.as_str())
            );
        }
    }
}

/// Statuses decide which of the two rules of control speaks, and that none does of a machine that had stopped.
#[test]
fn control_is_written_by_running_machines() {
    let mut rules = Rules::new(36);
    let search = tree::all(6)
        .into_iter()
        .find(|search| search.write.as_deref() == Some("path/write/control"));
    let mut values = search.unwrap().at(0);
    for (statuses, speaking) in [
        (0x10_u8, 1),
        (0x11, 0),
        (0x20, 0),
        (0x22, 0),
        (0x51, 0),
        (0x90, 0),
    ] {
        values.insert(Value::Statuses, [statuses]);
        let running = statuses & 15 == 0;
        for (name, exit) in [("path/write/control", 0), ("path/write/control-exit", 1)] {
            assert_eq!(
                rules.refutes(name, &values),
                running && speaking == exit,
                "{name} {statuses:02x}"
            );
        }
    }
}

#[test]
fn call_preimage() {
    let mut rules = Rules::new(37);
    let searches = (0..3)
        .flat_map(tree::all)
        .filter(|search| search.place == Place::KeyAndBlock);
    for search in searches {
        let mut values = search.at(1);
        rules.check("call/preimage", &values, &[Value::Chaining, Value::Block]);
        // The key leaf's second half is not the digest's.
        for (digit, refuted) in [(0, true), (63, true), (64, false), (127, false)] {
            let mut values = values.clone();
            change(&mut values, Value::Key, digit, &mut rules.rng);
            assert_eq!(rules.refutes("call/preimage", &values), refuted, "digit {digit}");
        }
        values.insert(Value::Chaining, [0xff; 32]);
        assert!(rules.refutes("call/preimage", &values));
    }
}
