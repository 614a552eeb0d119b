//! From what the prover signed to the leaf that wins.

use core::ops::Range;
use std::collections::BTreeMap;

use bitsect_machine::StepWitness;

use super::StepClaim;
use super::gate::Access;
use crate::leaf::{Keys, Leaf, Rule, Value, Values};
use crate::script::{Fault, Rules, run};
use crate::winternitz::{Signature, SignatureError};

/// What a challenger that knows the true step answers to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The rule of this name refutes the claim by itself.
    Refute(String),
    /// This read or write of it is false: the path game is next.
    Dispute(Access),
    /// The claim is true: no leaf takes it.
    True,
}

/// A leaf and the witness that satisfies it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The leaf.
    pub leaf: Leaf,
    /// Its witness, bottom first.
    pub witness: Vec<Vec<u8>>,
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerdictError {
    /// A key of the prover's is not known.
    #[error("the prover's key of {value:?} is missing")]
    Key {
        /// The value.
        value: Value,
    },
    /// A signature is none; Script would have refused it too.
    #[error("the signature of {value:?} is none: {error}")]
    Signature {
        /// The value.
        value: Value,
        /// What is wrong.
        error: SignatureError,
    },
    /// A rule refutes the values and its leaf does not take them: our own fault.
    #[error("the leaf {leaf} does not take what its rule refutes: {fault}")]
    Leaf {
        /// The leaf's name.
        leaf: String,
        /// Where it fails.
        fault: Fault,
    },
}

/// Reads what the prover signed.
///
/// # Errors
/// The first signature that is none, or that has no key.
pub fn read(keys: &Keys, signatures: &BTreeMap<Value, Signature>) -> Result<Values, VerdictError> {
    let mut values = Values::new();
    for (value, signature) in signatures {
        let value = *value;
        let key = keys.get(&value).ok_or(VerdictError::Key { value })?;
        let bytes = key.verify(signature);
        values.insert(
            value,
            bytes.map_err(|error| VerdictError::Signature { value, error })?,
        );
    }
    Ok(values)
}

/// Gives the first rule's leaf that takes what the prover signed, with its witness; `None` where no rule does.
///
/// # Errors
/// Where a signature is none. A leaf that fails here would fail on Bitcoin, so it is never given.
pub fn verdict(
    rules: &[Rule],
    keys: &Keys,
    signatures: &BTreeMap<Value, Signature>,
) -> Result<Option<Verdict>, VerdictError> {
    let values = read(keys, signatures)?;
    let found = rules.iter().find_map(|rule| Some((rule, rule.refute(&values)?)));
    let Some((rule, hints)) = found else {
        return Ok(None);
    };
    let leaf = rule.leaf(keys);
    let witness = leaf.witness(&hints, signatures);
    let witness = witness.expect("a rule refutes with its hints, and only values that were signed");
    match run(&leaf.script, &witness, Rules::Standard, |_, _| {}) {
        Ok(_) => Ok(Some(Verdict { leaf, witness })),
        Err(fault) => Err(VerdictError::Leaf {
            leaf: leaf.name,
            fault,
        }),
    }
}

/// Answers a step's claim by the rules of [`super::rules`], where its state before is agreed and whose state after is not, by the true step.
///
/// A claim that contradicts itself is refuted at once. Otherwise one of its reads is false, or else one of its writes: a
/// claim with true reads that no rule refutes has all else right.
pub fn answer(rules: &[Rule], claim: &StepClaim, witness: &StepWitness, text: &Range<u32>) -> Answer {
    let values = claim.values();
    if let Some(rule) = rules.iter().find(|rule| rule.refute(&values).is_some()) {
        return Answer::Refute(rule.name.clone());
    }
    let truth = StepClaim::of(witness, text);
    let is_false = |access: &Access| match access {
        Access::Pc => claim.pc != truth.pc,
        Access::Status => claim.status != truth.status,
        Access::Instruction => claim.instruction != truth.instruction,
        Access::First | Access::CallNumber => claim.first != truth.first,
        Access::Second | Access::CallAddress => claim.second != truth.second,
        Access::Word | Access::CallLevel => claim.word != truth.word,
        // Only the path game shows which key or node the prover has: with a wrong one the write is false.
        Access::Key | Access::Node => false,
        Access::WriteControl => claim.after != truth.after,
        Access::WriteRegister
        | Access::WriteMemory
        | Access::WriteNode
        | Access::WriteKey
        | Access::WritePreimage => claim.middle != truth.middle,
    };
    let disputed = Access::ALL
        .into_iter()
        .find(|access| is_false(access) && access.is_open(claim));
    disputed.map_or(Answer::True, Answer::Dispute)
}
