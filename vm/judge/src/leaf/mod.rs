//! Leaves: Scripts that are satisfied exactly when a published claim is false.
//!
//! Who spends a leaf is the challenger, at any time before the prover's timeout; the graph puts the challenger's key and
//! the way to the leaf around it (docs/judge.md). Its witness, bottom first, is the leaf's hints, then the prover's
//! signatures, the first value's uppermost. Whoever satisfies it wins.

mod template;
mod value;

use std::collections::BTreeMap;

use bitcoin::ScriptBuf;

use crate::script::{Assembler, Item, Mark, number};
use crate::winternitz::{PublicKey, Reading, Signature, verify};

pub use template::Template;
pub use value::Value;

/// Every digit of a value.
pub const ALL: u128 = u128::MAX;

/// The prover's keys, by value.
pub type Keys = BTreeMap<Value, PublicKey>;

/// Published values, in their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<Value, Vec<u8>>);

/// What a leaf proves, and how.
pub struct Rule {
    /// Its name, as `family/case`.
    pub name: String,
    /// Numbers that the challenger adds to the witness, hostile until checked.
    pub hints: Vec<&'static str>,
    /// The values that it reads, and which of their digits, by bit.
    pub reads: Vec<(Value, u128)>,
    /// Writes the Script behind the signatures: it verifies all that has to hold for the claim to be false.
    pub body: Box<dyn Fn(&mut Assembler, &Inputs) + Send + Sync>,
    /// Gives the hints where the values are false in this way: what the Script mirrors. It is asked only where all values
    /// that the rule reads are there.
    pub refutes: Box<dyn Fn(&Values) -> Option<Vec<i64>> + Send + Sync>,
}

/// What a rule's Script finds on the stack.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    values: BTreeMap<Value, Vec<Option<Item>>>,
    hints: BTreeMap<&'static str, Item>,
}

/// One part of a leaf's witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A number of the challenger's.
    Hint(&'static str),
    /// The prover's signature.
    Signature(Value),
}

/// A leaf for one prover's keys.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The rule's name.
    pub name: String,
    /// The parts of the witness, bottom first.
    pub inputs: Vec<Input>,
    /// The Script.
    pub script: ScriptBuf,
    /// The stack at the places that the generators marked.
    pub marks: Vec<Mark>,
    /// The largest number of items on both stacks.
    pub deepest: usize,
}

impl Values {
    /// Starts without values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value, or replaces it.
    ///
    /// # Panics
    /// Where its length is not the value's.
    pub fn insert(&mut self, value: Value, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        assert_eq!(bytes.len(), value.bytes(), "{value:?}");
        self.0.insert(value, bytes);
    }

    /// Gives a value's bytes, where it is published.
    pub fn get(&self, value: Value) -> Option<&[u8]> {
        self.0.get(&value).map(Vec::as_slice)
    }

    /// Gives a value's bytes.
    ///
    /// # Panics
    /// Where it is not published.
    pub fn bytes(&self, value: Value) -> &[u8] {
        self.get(value)
            .unwrap_or_else(|| panic!("{value:?} is published"))
    }

    /// Gives a value of four bytes as a word.
    ///
    /// # Panics
    /// Where it is not published or no word.
    pub fn word(&self, value: Value) -> u32 {
        u32::from_le_bytes(self.bytes(value).try_into().expect("four bytes"))
    }

    /// Gives a digit of a value.
    ///
    /// # Panics
    /// Where it is not published.
    pub fn digit(&self, value: Value, digit: usize) -> u8 {
        self.bytes(value)[digit / 2] >> (4 * (digit % 2)) & 15
    }
}

impl Inputs {
    /// Gives a digit of a value.
    ///
    /// # Panics
    /// Where the rule does not read it.
    pub fn digit(&self, value: Value, digit: usize) -> Item {
        let digits = self.values.get(&value);
        let item = digits.and_then(|digits| digits.get(digit).copied().flatten());
        item.unwrap_or_else(|| panic!("the rule reads digit {digit} of {value:?}"))
    }

    /// Gives all digits of a value, lowest first.
    ///
    /// # Panics
    /// Where the rule does not read them all.
    pub fn digits(&self, value: Value) -> Vec<Item> {
        (0..value.digits())
            .map(|digit| self.digit(value, digit))
            .collect()
    }

    /// Gives a hint.
    ///
    /// # Panics
    /// Where the rule has none of this name.
    pub fn hint(&self, name: &str) -> Item {
        self.hints[name]
    }
}

impl Rule {
    /// Gives the hints where the values are false in this way.
    pub fn refute(&self, values: &Values) -> Option<Vec<i64>> {
        let published = self.reads.iter().all(|(value, _)| values.get(*value).is_some());
        published.then(|| (self.refutes)(values)).flatten()
    }

    /// Writes the leaf for a prover's keys.
    ///
    /// # Panics
    /// Where a key is missing.
    pub fn leaf(&self, keys: &Keys) -> Leaf {
        self.write(|a, reads| {
            let readings = reads.iter().map(|(value, kept)| Reading {
                key: &keys[value],
                kept: *kept,
            });
            let readings: Vec<Reading<'_>> = readings.collect();
            for reading in readings.iter().rev() {
                for digit in 0..reading.key.ends().len() {
                    a.witness(&format!("hash {digit}"));
                    a.witness(&format!("digit {digit}"));
                }
            }
            Box::new(move |a| verify(a, &readings))
        })
    }

    /// Writes the leaf without its signatures: the digits that it reads are in the witness, a value's highest on top.
    /// That is for tests of many cases; it proves nothing.
    pub fn bare(&self) -> Leaf {
        self.write(|a, reads| {
            let mut values: Vec<Vec<Option<Item>>> = Vec::new();
            for (value, kept) in reads.iter().rev() {
                let digits = (0..value.digits()).map(|digit| {
                    let kept = kept >> digit & 1 == 1;
                    kept.then(|| a.witness(&format!("{value:?}.{digit}")))
                });
                values.push(digits.collect());
            }
            values.reverse();
            Box::new(move |_| values)
        })
    }

    fn write<'a>(
        &'a self,
        prepare: impl FnOnce(
            &mut Assembler,
            &'a [(Value, u128)],
        ) -> Box<dyn FnOnce(&mut Assembler) -> Vec<Vec<Option<Item>>> + 'a>,
    ) -> Leaf {
        let mut a = Assembler::new();
        let mut inputs = Inputs::default();
        for hint in &self.hints {
            inputs.hints.insert(hint, a.witness(hint));
        }
        let digits = prepare(&mut a, &self.reads)(&mut a);
        for ((value, _), items) in self.reads.iter().zip(digits) {
            for (digit, item) in items.iter().enumerate() {
                if let Some(item) = item {
                    a.name(*item, &format!("{value:?}.{digit}"));
                }
            }
            inputs.values.insert(*value, items);
        }
        a.mark("values");
        (self.body)(&mut a, &inputs);
        a.mark("end");
        a.succeed();
        let deepest = a.deepest();
        let (script, marks) = a.finish();
        let hints = self.hints.iter().map(|hint| Input::Hint(hint));
        let values = self.reads.iter().rev().map(|(value, _)| Input::Signature(*value));
        Leaf {
            name: self.name.clone(),
            inputs: hints.chain(values).collect(),
            script,
            marks,
            deepest,
        }
    }

    /// Gives the witness of [`Rule::bare`], of whole values in their bytes.
    ///
    /// # Panics
    /// Where a value is missing.
    pub fn bare_witness(&self, hints: &[i64], values: &Values) -> Vec<Vec<u8>> {
        let mut items: Vec<Vec<u8>> = hints.iter().map(|hint| number::encode(*hint)).collect();
        for (value, kept) in self.reads.iter().rev() {
            for digit in (0..value.digits()).filter(|digit| kept >> digit & 1 == 1) {
                items.push(number::encode(i64::from(values.digit(*value, digit))));
            }
        }
        items
    }
}

impl Leaf {
    /// Gives the witness of hints and of what the prover signed; `None` where a signature is missing.
    pub fn witness(&self, hints: &[i64], signatures: &BTreeMap<Value, Signature>) -> Option<Vec<Vec<u8>>> {
        let mut hints = hints.iter();
        let mut items = Vec::new();
        for input in &self.inputs {
            match input {
                Input::Hint(_) => items.push(number::encode(*hints.next()?)),
                Input::Signature(value) => items.extend(signatures.get(value)?.witness()),
            }
        }
        Some(items)
    }
}
