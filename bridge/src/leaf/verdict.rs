//! A leaf that wins: it proves that what the prover published is false.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::ScriptBuf;
use bitcoin::opcodes::all::*;
use bitcoin::script::Builder;
use bitsect_judge::leaf::{Keys, Value, Values};
use bitsect_judge::winternitz::Signature;

use super::fragment::open_one;
use super::repeat::Repeat;
use super::rules::RuleEntry;
use super::{Condition, PairKeys, Published, Source, UnitPlace};
use crate::params::Rounds;
use crate::secret::Lock;

/// Who spends it is the challenger, after an answer, before the prover's timeout; with it main, or alone where main is gone.
///
/// Witness, bottom first: the rule's; where the unit's place counts, the signature of the claim's count and the prover's
/// secrets of all rounds, the first one's uppermost; the prover's secrets of the conditions, the first one's uppermost; the challenger's
/// signature.
#[derive(Clone, Debug)]
pub struct VerdictLeaf {
    proof: Proof,
    /// Where the unit has to lie, and the number of rounds that choose it.
    unit: Option<(UnitPlace, u8)>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
enum Proof {
    /// A rule of the judge's.
    Rule {
        entry: Arc<RuleEntry>,
        sources: BTreeMap<Value, Source>,
    },
    /// A chain state after the claim's last unit is another than the claim's.
    Repeat(Repeat),
}

/// Gives the keys of what a rule reads.
pub(super) fn keys_of(keys: &PairKeys, sources: &BTreeMap<Value, Source>) -> Keys {
    let sources = sources.iter();
    sources
        .map(|(value, source)| (*value, keys.key(*source).clone()))
        .collect()
}

/// Gives the witness of a rule's leaf, where it refutes what is published.
pub(super) fn witness_of(
    entry: &RuleEntry,
    sources: &BTreeMap<Value, Source>,
    published: &Published,
) -> Option<Vec<Vec<u8>>> {
    let mut values = Values::new();
    let mut signatures: BTreeMap<Value, Signature> = BTreeMap::new();
    for (value, source) in sources {
        let (bytes, signature) = published.values.get(source)?;
        values.insert(*value, bytes.clone());
        signatures.insert(*value, signature.clone());
    }
    let hints = entry.rule.refute(&values)?;
    entry.template().leaf().witness(&hints, &signatures)
}

impl VerdictLeaf {
    pub(super) fn rule(
        entry: Arc<RuleEntry>,
        source: impl Fn(Value) -> Source,
        conditions: Vec<Condition>,
    ) -> Self {
        let reads = entry.rule.reads.iter();
        let sources = reads.map(|(value, _)| (*value, source(*value))).collect();
        Self {
            proof: Proof::Rule { entry, sources },
            unit: None,
            conditions,
        }
    }

    /// Adds that the chosen unit lies there.
    pub(super) const fn of_unit(mut self, place: UnitPlace, rounds: Rounds) -> Self {
        self.unit = Some((place, rounds.units));
        self
    }

    pub(super) const fn repeat(repeat: Repeat) -> Self {
        Self {
            proof: Proof::Repeat(repeat),
            unit: None,
            conditions: vec![],
        }
    }

    /// Gives what it proves, as `family/case`.
    pub fn name(&self) -> &str {
        match &self.proof {
            Proof::Rule { entry, .. } => &entry.rule.name,
            Proof::Repeat(_) => "units/repeat",
        }
    }

    /// Writes the Script.
    pub fn script(&self, keys: &PairKeys) -> ScriptBuf {
        let mut script = Builder::new()
            .push_x_only_key(&keys.challenger)
            .push_opcode(OP_CHECKSIGVERIFY);
        for condition in &self.conditions {
            let locks = &keys.prover.locks[&condition.stage];
            let options = condition.options.iter().map(|option| usize::from(*option));
            let locks: Vec<Lock> = options.map(|option| locks[option]).collect();
            script = open_one(script, &locks);
        }
        let proof = match &self.proof {
            Proof::Rule { entry, sources } => entry.template().script(&keys_of(keys, sources)),
            Proof::Repeat(repeat) => repeat.script(keys),
        };
        let unit = self.unit.map(|(place, _)| place.script(keys).into_bytes());
        ScriptBuf::from_bytes([script.into_bytes(), unit.unwrap_or_default(), proof.into_bytes()].concat())
    }

    /// Gives the witness without the challenger's signature, which lies on top of it; `None` where what is published is
    /// not false in this way.
    pub fn witness(&self, published: &Published) -> Option<Vec<Vec<u8>>> {
        if !self.conditions.iter().all(|condition| condition.holds(published)) {
            return None;
        }
        let mut items = match &self.proof {
            Proof::Rule { entry, sources } => witness_of(entry, sources, published)?,
            Proof::Repeat(repeat) => repeat.witness(published)?,
        };
        if let Some((place, rounds)) = self.unit {
            items.extend(place.witness(rounds, published)?);
        }
        for condition in self.conditions.iter().rev() {
            let opened = published.choices.get(&condition.stage)?;
            items.push(opened.prover?.0.to_vec());
        }
        Some(items)
    }
}
