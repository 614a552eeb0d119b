//! The output that waits for the challenger.

use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::All;
use bitcoin::taproot::TapLeafHash;
use bitcoin::{ScriptBuf, Sequence, Witness};
use bitsect_judge::step::Cut;

use super::tree::leaf_hash;
use super::{Path, ScriptTree};
use crate::game::Stage;
use crate::leaf::{AskLeaf, PairKeys, Program, Published, VerdictLeaf, asks, timeout_script, verdicts};
use crate::secret::Secret;

/// The challenger asks for the next stage by a leaf that takes its choice, with the pre-signed transaction, or wins by a
/// leaf that proves a lie: with main, or alone where main is gone. Once the output is `move_timeout` old, the operator takes
/// it by a leaf with its own key.
#[derive(Clone, Debug)]
pub struct Answered {
    tree: ScriptTree,
    asks: Vec<AskLeaf>,
    timeout: ScriptBuf,
    verdicts: Vec<VerdictLeaf>,
}

/// A leaf that wins, with what satisfies it but the challenger's signature.
#[derive(Clone, Debug)]
pub struct Win {
    /// What it proves.
    pub name: String,
    /// Its Script.
    pub script: ScriptBuf,
    index: usize,
    items: Vec<Vec<u8>>,
}

impl Answered {
    /// Makes the output behind a stage.
    pub fn new(
        secp: &Secp256k1<All>,
        program: &Program,
        keys: &PairKeys,
        start: &Cut,
        stage: Stage,
        move_timeout: Sequence,
    ) -> Self {
        let asks = asks(program, keys, stage);
        let timeout = timeout_script(move_timeout, keys.operator);
        let verdicts = verdicts(program, keys.rounds, (start, keys.check.as_ref()), stage);
        let mut near: Vec<TapLeafHash> = asks.iter().map(|leaf| leaf_hash(&leaf.script(keys))).collect();
        near.push(leaf_hash(&timeout));
        let far = verdicts
            .iter()
            .map(|leaf| leaf_hash(&leaf.script(keys)))
            .collect();
        Self {
            tree: ScriptTree::new(secp, near, far),
            asks,
            timeout,
            verdicts,
        }
    }

    /// Gives what the output holds.
    pub fn script_pubkey(&self) -> ScriptBuf {
        self.tree.script_pubkey()
    }

    /// Gives the leaves that ask for a stage, with their numbers and how each spends the output.
    pub fn asks(&self, stage: Stage) -> impl Iterator<Item = (usize, &AskLeaf, Path)> {
        let leaves = self.asks.iter().enumerate();
        leaves
            .filter(move |(_, leaf)| leaf.stage == stage)
            .filter_map(|(index, leaf)| Some((index, leaf, Path::Leaf(self.tree.leaf(index)?))))
    }

    /// Gives the ask leaf that a Script is; `None` where it is none.
    pub fn ask_of(&self, script: &[u8]) -> Option<&AskLeaf> {
        let position = self.tree.position(bitcoin::Script::from_bytes(script))?;
        self.asks.get(position)
    }

    /// Gives the witness of a choice: `signature` gives the committee's for a leaf's number. `None` where no leaf lets the
    /// option be chosen.
    pub fn ask_witness(
        &self,
        keys: &PairKeys,
        (option, secret): (u8, &Secret),
        signature: impl Fn(usize) -> Option<bitcoin::taproot::Signature>,
        published: &Published,
    ) -> Option<Witness> {
        self.asks.iter().enumerate().find_map(|(index, leaf)| {
            let items = leaf.witness(option, secret, &signature(index)?, published)?;
            Some(self.tree.witness(index, &leaf.script(keys), items))
        })
    }

    /// Whether any leaf wins here.
    pub const fn has_verdicts(&self) -> bool {
        !self.verdicts.is_empty()
    }

    /// Gives the number of all leaves.
    pub fn leaves(&self) -> usize {
        self.tree.len()
    }

    /// Gives the leaves that win.
    pub fn verdicts(&self) -> &[VerdictLeaf] {
        &self.verdicts
    }

    /// Finds the first leaf that takes what is published.
    pub fn win(&self, keys: &PairKeys, published: &Published) -> Option<Win> {
        self.verdicts.iter().enumerate().find_map(|(number, leaf)| {
            let items = leaf.witness(published)?;
            Some(Win {
                name: leaf.name().to_owned(),
                script: leaf.script(keys),
                index: self.asks.len() + 1 + number,
                items,
            })
        })
    }

    /// Gives the witness of a leaf that wins.
    pub fn win_witness(&self, win: &Win, challenger: &bitcoin::taproot::Signature) -> Witness {
        let items = [win.items.clone(), vec![challenger.to_vec()]].concat();
        self.tree.witness(win.index, &win.script, items)
    }

    /// Gives the name of the winning leaf that a Script is; `None` where it is none.
    pub fn verdict_of(&self, script: &[u8]) -> Option<&str> {
        let position = self.tree.position(bitcoin::Script::from_bytes(script))?;
        let leaf = self.verdicts.get(position.checked_sub(self.asks.len() + 1)?)?;
        Some(leaf.name())
    }

    /// How the operator takes it.
    pub fn timeout_path(&self) -> Path {
        Path::Leaf(leaf_hash(&self.timeout))
    }

    /// Gives the witness of the timeout.
    pub fn timeout_witness(&self, operator: &bitcoin::taproot::Signature) -> Witness {
        let items = vec![operator.to_vec()];
        self.tree.witness(self.asks.len(), &self.timeout, items)
    }
}

impl Win {
    /// How it spends the output.
    pub fn path(&self) -> Path {
        Path::Leaf(leaf_hash(&self.script))
    }
}
