//! A rule's leaf for any keys: a Script's bytes depend on keys in the pushes of their ends alone.

use std::collections::{HashMap, HashSet};

use bitcoin::ScriptBuf;

use super::{Keys, Leaf, Rule};
use crate::winternitz::{ChainHash, PublicKey, checksum_digits, value_digits};

/// A leaf whose keys are filled in: a hundred times faster than writing it anew.
#[derive(Clone, Debug)]
pub struct Template {
    leaf: Leaf,
    /// Of each value that is read, in order: where each end of its key stands, in bytes.
    places: Vec<(super::Value, Vec<usize>)>,
}

/// An end that no other bytes of the Script are.
fn placeholder(number: u32) -> ChainHash {
    let hash = blake3::hash(&number.to_le_bytes());
    let mut end = [0; 20];
    end.copy_from_slice(&hash.as_bytes()[..20]);
    end
}

/// Gives where each end stands.
fn places(code: &[u8], keys: &Keys) -> HashMap<ChainHash, usize> {
    let ends: HashSet<&ChainHash> = keys.values().flat_map(PublicKey::ends).collect();
    let mut found = HashMap::new();
    for (at, window) in code.array_windows::<20>().enumerate() {
        if ends.contains(window) {
            let before = found.insert(*window, at);
            assert!(before.is_none(), "an end stands in one place");
        }
    }
    found
}

impl Rule {
    /// Writes the leaf for keys that are filled in later.
    ///
    /// # Panics
    /// Where the rule's Script fails for its shape: our own fault.
    pub fn template(&self) -> Template {
        let mut count = 0;
        let keys: Keys = self
            .reads
            .iter()
            .map(|(value, _)| {
                let bytes = value.bytes();
                let ends = value_digits(bytes) + checksum_digits(bytes);
                let ends = (0..ends as u32)
                    .map(|end| placeholder(count + end))
                    .collect::<Vec<_>>();
                count += ends.len() as u32;
                (
                    *value,
                    PublicKey::from_ends(ends, bytes).expect("as many ends as digits"),
                )
            })
            .collect();
        let leaf = self.leaf(&keys);
        let found = places(leaf.script.as_bytes(), &keys);
        let places = self.reads.iter().map(|(value, _)| {
            let ends = keys[value].ends().iter();
            let ends = ends.map(|end| *found.get(end).expect("each end is pushed once"));
            (*value, ends.collect())
        });
        let places = places.collect();
        Template { leaf, places }
    }
}

impl Template {
    /// Gives the Script for a prover's keys.
    ///
    /// # Panics
    /// Where a key is missing.
    pub fn script(&self, keys: &Keys) -> ScriptBuf {
        let mut code = self.leaf.script.to_bytes();
        for (value, places) in &self.places {
            for (at, end) in places.iter().zip(keys[value].ends()) {
                code[*at..*at + end.len()].copy_from_slice(end);
            }
        }
        ScriptBuf::from_bytes(code)
    }

    /// Gives the leaf with placeholders instead of keys: what it takes as its witness is the same.
    pub const fn leaf(&self) -> &Leaf {
        &self.leaf
    }
}

#[cfg(test)]
mod tests {
    use crate::rules;
    use crate::table::{TEXT, keys};

    #[test]
    fn a_filled_template_is_the_leaf() {
        for rule in rules(&TEXT).iter().step_by(7) {
            let (template, leaf) = (rule.template(), rule.leaf(&keys()));
            assert_eq!(template.script(&keys()), leaf.script, "{}", rule.name);
            assert_eq!(template.leaf().inputs, leaf.inputs);
        }
    }
}
