//! The output that waits for the prover's answer.

use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::All;
use bitcoin::{ScriptBuf, Sequence, Witness};

use super::tree::leaf_hash;
use super::{Path, ScriptTree};
use crate::game::{Form, Stage};
use crate::leaf::{AnswerLeaf, PairKeys, timeout_script};

/// The prover answers by the leaf of the form that was asked for, with the pre-signed transaction. Once the output is
/// `move_timeout` old, the challenger takes it by the last leaf with its own key: with main, or alone where main is gone.
#[derive(Clone, Debug)]
pub struct Asked {
    tree: ScriptTree,
    answers: Vec<AnswerLeaf>,
    timeout: ScriptBuf,
}

impl Asked {
    /// Makes the output before a stage.
    pub fn new(secp: &Secp256k1<All>, keys: &PairKeys, stage: Stage, move_timeout: Sequence) -> Self {
        let answers = AnswerLeaf::all(keys, stage);
        let timeout = timeout_script(move_timeout, keys.challenger);
        let mut leaves: Vec<_> = answers.iter().map(|leaf| leaf_hash(&leaf.script(keys))).collect();
        leaves.push(leaf_hash(&timeout));
        Self {
            tree: ScriptTree::new(secp, leaves, vec![]),
            answers,
            timeout,
        }
    }

    /// Gives what the output holds.
    pub fn script_pubkey(&self) -> ScriptBuf {
        self.tree.script_pubkey()
    }

    /// Gives the forms of the answer, and how each spends the output.
    pub fn forms(&self) -> impl Iterator<Item = (Form, Path)> {
        let leaves = self.answers.iter().enumerate();
        leaves.map(|(index, leaf)| (leaf.form, Path::Leaf(self.hash(index))))
    }

    /// How the challenger takes it.
    pub fn timeout_path(&self) -> Path {
        Path::Leaf(leaf_hash(&self.timeout))
    }

    /// Gives the answer leaf of a form.
    pub fn answer(&self, form: Form) -> Option<&AnswerLeaf> {
        self.answers.iter().find(|leaf| leaf.form == form)
    }

    /// Gives the answer leaf that a Script is; `None` where it is none.
    pub fn answer_of(&self, script: &[u8]) -> Option<&AnswerLeaf> {
        let position = self.tree.position(bitcoin::Script::from_bytes(script))?;
        self.answers.get(position)
    }

    /// Gives the witness of an answer: its items, above the committee's signature.
    pub fn answer_witness(
        &self,
        keys: &PairKeys,
        form: Form,
        committee: &bitcoin::taproot::Signature,
        items: Vec<Vec<u8>>,
    ) -> Option<Witness> {
        let index = self.answers.iter().position(|leaf| leaf.form == form)?;
        let items = [vec![committee.to_vec()], items].concat();
        Some(self.tree.witness(index, &self.answers[index].script(keys), items))
    }

    /// Gives the witness of the timeout.
    pub fn timeout_witness(&self, challenger: &bitcoin::taproot::Signature) -> Witness {
        let items = vec![challenger.to_vec()];
        self.tree.witness(self.answers.len(), &self.timeout, items)
    }

    fn hash(&self, index: usize) -> bitcoin::taproot::TapLeafHash {
        self.tree.leaf(index).expect("each answer is a leaf")
    }
}
