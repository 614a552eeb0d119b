//! Rules without signatures, on many values.
#![allow(dead_code, reason = "each test file uses what it needs")]

use bitsect_judge::leaf::{Rule, Value, Values};
use bitsect_judge::path::rules;
use rand::Rng;
use rand::rngs::StdRng;

use crate::core::Spend;

/// Hints that point far away.
const FAR: [i64; 9] = [-1_000, -200, -129, 127, 128, 255, 1_000, 1 << 31, -(1 << 31)];

/// A rule without signatures, and its output.
pub struct Bare {
    /// The rule.
    pub rule: Rule,
    spend: Spend,
    hostile: Vec<i64>,
}

impl Bare {
    pub fn new(rule: Rule) -> Self {
        let leaf = rule.bare();
        assert!(leaf.deepest <= 1_000, "{}: {} items", rule.name, leaf.deepest);
        Self {
            spend: Spend::new(&leaf.script),
            hostile: (-9..=66).chain(FAR).collect(),
            rule,
        }
    }

    /// Tries fewer hints: for Scripts that take long.
    pub fn with_hints(mut self, hints: impl IntoIterator<Item = i64>) -> Self {
        self.hostile = hints.into_iter().collect();
        self
    }

    /// Finds it by its name.
    pub fn of(name: &str) -> Self {
        let mut found = rules().into_iter().filter(|rule| rule.name == name);
        Self::new(found.next().unwrap_or_else(|| panic!("no rule {name}")))
    }

    /// Whether the Script takes these hints.
    pub fn takes(&self, hints: &[i64], values: &Values) -> bool {
        self.spend.takes(&self.rule.bare_witness(hints, values))
    }

    /// Whether the values are refuted: Script and mirror agree, and where they are not no hint helps.
    pub fn refutes(&self, values: &Values) -> bool {
        let hints = self.rule.refute(values);
        if let Some(hints) = &hints {
            assert!(self.takes(hints, values), "{} refutes", self.rule.name);
            return true;
        }
        if self.rule.hints.is_empty() {
            assert!(!self.takes(&[], values), "{} is satisfied", self.rule.name);
            return false;
        }
        for hint in self.hostile.iter().copied() {
            assert!(
                !self.takes(&[hint], values),
                "{} is satisfied by {hint}",
                self.rule.name
            );
        }
        false
    }
}

/// Changes a digit.
pub fn change(values: &mut Values, value: Value, digit: usize, rng: &mut StdRng) {
    let mut bytes = values.bytes(value).to_vec();
    bytes[digit / 2] ^= rng.random_range(1..16_u8) << (4 * (digit % 2));
    values.insert(value, bytes);
}
