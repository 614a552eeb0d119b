//! Hints are numbers: what verifying signatures relies on (`winternitz::verify`).

mod core;
mod truth;

use bitsect_judge::leaf::{Rule, Values};
use bitsect_judge::rules;
use core::Spend;
use truth::{TEXT, claims, example};

/// A hint may be the end of a chain in disguise: a Script that never uses it as a number would let a digit above 15 pick
/// it.
#[test]
fn a_hint_that_is_a_hash_is_refused() {
    let known: Vec<Values> = claims(3, 100_000).map(|(_, lie)| lie.values()).collect();
    let with_hints = |rule: &Rule| !rule.hints.is_empty();
    let mut checked = 0;
    for rule in rules(&TEXT).into_iter().filter(with_hints) {
        let (values, hints) = example(&rule, &known);
        let leaf = rule.bare();
        // Leaves with a hash differ in their levels only, and one takes 20 ms.
        if leaf.script.len() > 20_000 && checked % 8 != 0 {
            checked += 1;
            continue;
        }
        let spend = Spend::new(&leaf.script);
        let honest = rule.bare_witness(&hints, &values);
        assert!(spend.takes(&honest), "{}", rule.name);
        for hint in 0..hints.len() {
            let mut items = honest.clone();
            items[hint] = vec![7; 20];
            assert!(
                !spend.takes(&items),
                "{}: {} may be anything",
                rule.name,
                rule.hints[hint]
            );
        }
        checked += 1;
    }
    assert!(checked > 50, "{checked} leaves");
}
