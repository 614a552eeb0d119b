//! The leaf by which the prover answers a stage.

use bitcoin::ScriptBuf;
use bitcoin::script::Builder;
use bitsect_judge::script::Assembler;
use bitsect_judge::winternitz::{Reading, Signature, verify};

use super::claim::{signatures, signed};
use super::fragment::open_both;
use super::{Condition, PairKeys, Published};
use crate::game::{Form, Go, Item, Opening, Part, Stage, Subject};
use crate::secret::Lock;

/// An answer in one form: who spends it is the prover, after the choice that asks for it, before the challenger's timeout.
///
/// Witness, bottom first: the committee's signature; the values' signatures, the first one's uppermost; for each condition
/// the challenger's secret and above it the prover's, the first condition's uppermost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerLeaf {
    /// The stage.
    pub stage: Stage,
    /// The form.
    pub form: Form,
    /// The choices that ask for it in this form: the one just made comes first.
    pub conditions: Vec<Condition>,
}

fn chosen<T: Copy>(all: &[T], wanted: impl Fn(T) -> bool) -> Vec<u8> {
    let options = all.iter().zip(0_u8..);
    options
        .filter(|(choice, _)| wanted(**choice))
        .map(|(_, option)| option)
        .collect()
}

impl AnswerLeaf {
    /// Gives the leaves of a stage, one for each form.
    pub fn all(keys: &PairKeys, stage: Stage) -> Vec<Self> {
        let forms = stage.forms().into_iter();
        forms
            .map(|form| Self {
                stage,
                form,
                conditions: conditions(keys, stage, form),
            })
            .collect()
    }

    /// Gives what is published, the first uppermost.
    pub fn items(&self) -> Vec<Item> {
        self.stage.items(self.form)
    }

    /// Writes the Script.
    pub fn script(&self, keys: &PairKeys) -> ScriptBuf {
        let mut script = Builder::new();
        for condition in &self.conditions {
            script = open_both(script, &locks(keys, condition));
        }
        let items = self.items();
        if !items.is_empty() {
            let mut a = Assembler::new();
            let readings = items.iter().map(|item| Reading {
                key: keys.prover.key(self.stage, *item),
                kept: 0,
            });
            let readings: Vec<Reading<'_>> = readings.collect();
            signatures(&mut a, &readings);
            verify(&mut a, &readings);
            let (verified, _) = a.finish();
            script = Builder::from([script.into_bytes(), verified.into_bytes()].concat());
        }
        signed(script.into_script(), keys.committee)
    }

    /// Gives the witness without the committee's signature, which lies below it: of the values' signatures in the order
    /// of [`Self::items`], and of the choices, in which the prover's secrets are. `None` where a secret is missing, or a
    /// choice asks for another form.
    pub fn witness(&self, signatures: &[Signature], published: &Published) -> Option<Vec<Vec<u8>>> {
        let values = signatures.iter().rev().flat_map(Signature::witness);
        let mut items: Vec<Vec<u8>> = values.collect();
        for condition in self.conditions.iter().rev() {
            let opened = published.choices.get(&condition.stage)?;
            if !condition.holds(published) {
                return None;
            }
            items.push(opened.challenger.0.to_vec());
            items.push(opened.prover?.0.to_vec());
        }
        Some(items)
    }
}

fn locks(keys: &PairKeys, condition: &Condition) -> Vec<(Lock, Lock)> {
    let (prover, challenger) = (
        &keys.prover.locks[&condition.stage],
        &keys.choices[&condition.stage],
    );
    let options = condition.options.iter().map(|option| usize::from(*option));
    options
        .map(|option| (prover[option], challenger[option]))
        .collect()
}

/// Gives the choices that ask for a stage in a form.
fn conditions(keys: &PairKeys, stage: Stage, form: Form) -> Vec<Condition> {
    let Some(previous) = stage.previous(keys.rounds) else {
        return vec![];
    };
    let gone = |wanted: &[Go]| {
        let content = Stage::Content(Part::Step);
        Condition::any(content, chosen(&Go::ALL, |go| wanted.contains(&go)))
    };
    let wanted = match (stage, form) {
        (Stage::Content(Part::Link), Form::Nothing) => {
            chosen(&Opening::ALL, |opening| opening == Opening::Init)
        }
        (Stage::Content(Part::Link), _) => chosen(&Opening::ALL, |opening| {
            matches!(opening, Opening::Output | Opening::Status)
        }),
        (Stage::Content(Part::Step), form) => chosen(&Subject::ALL, |subject| subject.content() == form),
        (Stage::Path(Part::Step, 0), Form::Read) => return vec![gone(&[Go::Read])],
        (Stage::Path(Part::Step, 0), Form::Write) => return vec![gone(&[Go::Write])],
        (Stage::Path(Part::Step, 0), _) => return vec![gone(&[Go::Preimage])],
        // All options that lead to the stage.
        _ => (0..previous.options())
            .filter(|option| previous.next(*option, keys.rounds) == Some(stage))
            .collect(),
    };
    let mut conditions = vec![Condition::any(previous, wanted)];
    match (stage, form) {
        (Stage::Path(Part::Step, _), Form::Read) => conditions.push(gone(&[Go::Read])),
        (Stage::Path(Part::Step, _), _) => conditions.push(gone(&[Go::Write, Go::Preimage])),
        _ => {}
    }
    conditions
}
