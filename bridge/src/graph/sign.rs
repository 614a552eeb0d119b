//! The signatures of the committee that a graph needs, and where they go.

use std::collections::BTreeMap;

use bitcoin::secp256k1::schnorr;
use bitcoin::taproot::Signature;
use bitcoin::{TapSighashType, Transaction, Witness};

use super::SlotGraph;
use crate::connector::{Funds, Path, key_witness};
use crate::game::{Form, Stage};
use crate::transaction::{CONNECTOR_INPUT, MAIN_INPUT, Planned};

/// Names a signature within a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SigningId {
    /// Of the claim.
    Claim,
    /// Of an input of the fast end.
    FinaliseFast(u32),
    /// Of the slow end.
    FinaliseSlow,
    /// Of a pair's challenge.
    Challenge(u32),
    /// Of the transaction that asks for a stage, by a leaf of this number.
    Ask(u32, Stage, u32),
    /// Of an answer in a form.
    Answer(u32, Stage, Form),
    /// Of main, where no answer comes.
    Timeout(u32, Stage),
    /// Of main, where a leaf wins behind a stage.
    Verdict(u32, Stage),
}

/// A signature that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signing<I = SigningId> {
    /// Which.
    pub id: I,
    /// How the input is spent: for which key.
    pub path: Path,
    /// What is signed.
    pub message: [u8; 32],
}

/// The committee's signatures, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee<I>(BTreeMap<I, schnorr::Signature>);

/// The committee's signatures of a slot.
pub type Signatures = Committee<SigningId>;

impl<I> Default for Committee<I> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<I: Ord + Copy> FromIterator<(I, schnorr::Signature)> for Committee<I> {
    fn from_iter<T: IntoIterator<Item = (I, schnorr::Signature)>>(signatures: T) -> Self {
        Self(signatures.into_iter().collect())
    }
}

impl<I: Ord + Copy> Committee<I> {
    /// Keeps a signature.
    pub fn insert(&mut self, id: I, signature: schnorr::Signature) {
        self.0.insert(id, signature);
    }

    /// Gives a signature, as witnesses have it.
    pub fn get(&self, id: I) -> Option<Signature> {
        let signature = *self.0.get(&id)?;
        Some(Signature {
            signature,
            sighash_type: TapSighashType::Default,
        })
    }

    /// Gives the number of signatures.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl SlotGraph {
    /// Gives all signatures that the graph needs, always in the same order.
    pub fn signings(&self) -> Vec<Signing> {
        let mut signings = Vec::new();
        let mut need = |id, planned: &Planned, input, path| {
            signings.push(Signing {
                id,
                path,
                message: planned.message(input, path),
            });
        };
        need(SigningId::Claim, &self.claim, 0, self.bond.claim_path());
        for input in 0..self.finalise_fast.spent.len() {
            let id = SigningId::FinaliseFast(input as u32);
            need(id, &self.finalise_fast, input, Funds::path());
        }
        need(SigningId::FinaliseSlow, &self.finalise_slow, 0, Funds::path());
        for (pair, branch) in (0_u32..).zip(&self.pairs) {
            for stage in Stage::all(self.params.rounds) {
                let graph = &branch.stages[&stage];
                match stage.previous(self.params.rounds) {
                    None => need(
                        SigningId::Challenge(pair),
                        &graph.ask,
                        CONNECTOR_INPUT,
                        Funds::path(),
                    ),
                    Some(previous) => {
                        for (leaf, _, path) in branch.stages[&previous].answered.asks(stage) {
                            need(SigningId::Ask(pair, stage, leaf as u32), &graph.ask, 0, path);
                        }
                    }
                }
                for (form, path) in graph.asked.forms() {
                    need(SigningId::Answer(pair, stage, form), &graph.answer, 0, path);
                }
                need(
                    SigningId::Timeout(pair, stage),
                    &graph.timeout,
                    MAIN_INPUT,
                    Funds::path(),
                );
                if let Some(verdict) = &graph.verdict {
                    need(
                        SigningId::Verdict(pair, stage),
                        verdict,
                        MAIN_INPUT,
                        Funds::path(),
                    );
                }
            }
        }
        signings
    }

    /// Gives the fast end with its witnesses; `None` where a signature is missing.
    pub fn signed_finalise_fast(&self, signatures: &Signatures) -> Option<Transaction> {
        let inputs = 0..self.finalise_fast.spent.len() as u32;
        let witnesses =
            inputs.map(|input| Some(key_witness(&signatures.get(SigningId::FinaliseFast(input))?)));
        let witnesses: Option<Vec<Witness>> = witnesses.collect();
        Some(self.finalise_fast.finalize(witnesses?))
    }

    /// Gives the slow end with its witness; `None` where the signature is missing.
    pub fn signed_finalise_slow(&self, signatures: &Signatures) -> Option<Transaction> {
        let witness = key_witness(&signatures.get(SigningId::FinaliseSlow)?);
        Some(self.finalise_slow.finalize(vec![witness]))
    }
}
