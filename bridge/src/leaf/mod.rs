//! The leaves of the graph's outputs: what lets a move be made, and what wins.

mod answer;
mod ask;
mod claim;
mod fragment;
mod place;
mod repeat;
mod rules;
mod table;
mod verdict;

use std::collections::BTreeMap;

use alloy_primitives::B256;
use bitcoin::XOnlyPublicKey;
use bitsect_judge::winternitz::{PublicKey, Signature};

use crate::game::{Item, Stage};
use crate::keys::{ClaimKeys, Locks, ProverKeys};
use crate::params::Rounds;
use crate::secret::{ClaimItem, Secret};

pub use answer::AnswerLeaf;
pub use ask::{AskLeaf, asks};
pub use claim::claim_script;
pub use fragment::{key_script, timeout_script};
pub use place::UnitPlace;
pub use rules::{Program, ProgramError};
pub use table::verdicts;
pub use verdict::VerdictLeaf;

/// Where a value that leaves read is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// In the claim.
    Claim(ClaimItem),
    /// In a stage.
    Stage(Stage, Item),
}

/// A choice that a leaf is for: the option chosen behind a stage is one of these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// The stage.
    pub stage: Stage,
    /// The options, ascending.
    pub options: Vec<u8>,
}

/// The keys and locks that a pair's leaves are made of.
#[derive(Clone, Debug)]
pub struct PairKeys {
    /// Rounds of the searches.
    pub rounds: Rounds,
    /// The committee's key `Q`.
    pub committee: XOnlyPublicKey,
    /// The operator's key.
    pub operator: XOnlyPublicKey,
    /// The challenger's key.
    pub challenger: XOnlyPublicKey,
    /// The advice of the claim's last unit, where it is a check.
    pub check: Option<B256>,
    /// The claim's keys.
    pub claim: ClaimKeys,
    /// The prover's keys and locks.
    pub prover: ProverKeys,
    /// The challenger's locks.
    pub choices: Locks,
}

/// A choice that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The option.
    pub option: u8,
    /// The challenger's secret.
    pub challenger: Secret,
    /// The prover's secret, once it has answered.
    pub prover: Option<Secret>,
}

/// All that is known of a branch from Bitcoin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Values with their signatures.
    pub values: BTreeMap<Source, (Vec<u8>, Signature)>,
    /// Choices, by the stage behind which they were made.
    pub choices: BTreeMap<Stage, Opened>,
}

impl Condition {
    /// Makes the condition of one option.
    pub fn one(stage: Stage, option: u8) -> Self {
        Self {
            stage,
            options: vec![option],
        }
    }

    /// Makes the condition of some options.
    pub fn any(stage: Stage, options: impl IntoIterator<Item = u8>) -> Self {
        let mut options: Vec<u8> = options.into_iter().collect();
        options.sort_unstable();
        options.dedup();
        Self { stage, options }
    }

    /// Whether it holds for the choices, as the prover has opened them.
    fn holds(&self, published: &Published) -> bool {
        let opened = published.choices.get(&self.stage);
        opened.is_some_and(|opened| opened.prover.is_some() && self.options.contains(&opened.option))
    }
}

impl PairKeys {
    /// Gives the key of a value.
    pub fn key(&self, source: Source) -> &PublicKey {
        match source {
            Source::Claim(item) => self.claim.key(item),
            Source::Stage(stage, item) => self.prover.key(stage, item),
        }
    }
}

impl Published {
    /// Gives a value's bytes.
    pub fn value(&self, source: Source) -> Option<&[u8]> {
        self.values.get(&source).map(|(bytes, _)| bytes.as_slice())
    }

    /// Gives the option chosen behind a stage.
    pub fn option(&self, stage: Stage) -> Option<u8> {
        self.choices.get(&stage).map(|opened| opened.option)
    }
}
