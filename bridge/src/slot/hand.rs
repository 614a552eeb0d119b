//! A party's own moves: what it publishes and opens is stored before it is shown, and never another thing.

use std::collections::BTreeMap;

use bitcoin::Transaction;
use bitcoin::key::Keypair;
use bitsect_judge::winternitz::{SignatureStore, Signer, SignerError};

use super::act::{ActError, Actor};
use crate::game::{Form, Item, Stage};
use crate::leaf::{Published, Source};
use crate::params::Rounds;
use crate::secret::{ClaimItem, PairPath, PartySeed, Secret};

/// What a party needs to move.
#[derive(Debug)]
pub struct Hand<S> {
    seed: PartySeed,
    key: Keypair,
    store: S,
}

/// Why a move cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HandError<E> {
    /// Another value was signed there, or the store failed.
    #[error(transparent)]
    Sign(#[from] SignerError<E>),
    /// Another option was chosen, or answered, before: to open a second one gives the game away.
    #[error("behind {stage:?} option {opened} was opened already, not {wanted}")]
    Opened {
        /// The stage.
        stage: Stage,
        /// The option that was opened.
        opened: u8,
        /// The one that was wanted.
        wanted: u8,
    },
    /// The store failed.
    #[error("the store of choices failed")]
    Store(E),
    /// A value is missing, or has another length.
    #[error("{stage:?}: {item:?}: expected {expected} bytes, got {got}")]
    Value {
        /// The stage.
        stage: Stage,
        /// The item.
        item: Item,
        /// Its length.
        expected: usize,
        /// The length that there is; zero where it is missing.
        got: usize,
    },
    /// A claim of no unit, or of as many as the search has intervals: no leaf lets it be made.
    #[error("count: expected 1 to {most}, fewer than the search's intervals, got {got}")]
    Count {
        /// The most units that a claim is about.
        most: u64,
        /// The count.
        got: u32,
    },
    /// The transaction cannot be made.
    #[error(transparent)]
    Act(#[from] ActError),
}

impl<S: SignatureStore> Hand<S> {
    /// Takes a party's secrets, and the store of what was signed and opened.
    pub const fn new(seed: PartySeed, key: Keypair, store: S) -> Self {
        Self { seed, key, store }
    }

    /// Gives the party's key.
    pub const fn key(&self) -> &Keypair {
        &self.key
    }

    /// Claims that after `count` units the chain state is `state`, cut.
    ///
    /// # Errors
    /// Where no leaf lets so many units be claimed, another claim was signed in this slot, or the store fails.
    pub fn claim(
        &mut self,
        actor: &Actor<'_>,
        slot: &PairPath,
        count: u32,
        state: &[u8; 24],
    ) -> Result<Transaction, HandError<S::Error>> {
        // What is signed here is signed for good, so nothing is that the leaf would refuse.
        let most = actor.graph.params.rounds.units_total() - 1;
        if !(1..=most).contains(&u64::from(count)) {
            return Err(HandError::Count { most, got: count });
        }
        let mut signer = Signer::new(self.seed.winternitz(), &mut self.store);
        let count = signer.sign(&slot.claim(ClaimItem::Count), &count.to_le_bytes())?;
        let state = signer.sign(&slot.claim(ClaimItem::State), state)?;
        Ok(actor.claim(&count, &state)?)
    }

    /// Answers a stage in the form that the choices ask for.
    ///
    /// # Errors
    /// Where a value is missing, or another one was signed before, or the store fails.
    pub fn answer(
        &mut self,
        actor: &Actor<'_>,
        pair: &PairPath,
        stage: Stage,
        values: &BTreeMap<Item, Vec<u8>>,
        published: &Published,
    ) -> Result<Transaction, HandError<S::Error>> {
        let rounds = actor.graph.params.rounds;
        let form = stage.form(|stage| published.option(stage));
        let form = form.ok_or(ActError::Move {
            stage,
            reason: "the choices do not lead there",
        })?;
        let mut published = published.clone();
        if let Some(previous) = stage.previous(rounds)
            && let Some(option) = published.option(previous)
        {
            let secret = self.open(pair, previous, option, rounds)?;
            if let Some(opened) = published.choices.get_mut(&previous) {
                opened.prover = Some(secret);
            }
        }
        let signatures = self.sign(pair, (stage, form), values, rounds)?;
        let index = pair.pair as usize;
        Ok(actor.answer(index, (stage, form), &signatures, &published)?)
    }

    fn sign(
        &mut self,
        pair: &PairPath,
        (stage, form): (Stage, Form),
        values: &BTreeMap<Item, Vec<u8>>,
        rounds: Rounds,
    ) -> Result<Vec<bitsect_judge::winternitz::Signature>, HandError<S::Error>> {
        let items = stage.items(form);
        for item in &items {
            let got = values.get(item).map_or(0, Vec::len);
            if got != item.bytes() {
                return Err(HandError::Value {
                    stage,
                    item: *item,
                    expected: item.bytes(),
                    got,
                });
            }
        }
        let mut signer = Signer::new(self.seed.winternitz(), &mut self.store);
        let signed = items
            .iter()
            .map(|item| signer.sign(&pair.value(stage, *item, rounds), &values[item]));
        Ok(signed.collect::<Result<_, _>>()?)
    }

    /// Chooses an option behind a stage.
    ///
    /// # Errors
    /// Where another option was chosen before, no leaf lets it be chosen, or the store fails.
    pub fn choose(
        &mut self,
        actor: &Actor<'_>,
        pair: &PairPath,
        stage: Stage,
        option: u8,
        published: &Published,
    ) -> Result<Transaction, HandError<S::Error>> {
        let secret = self.open(pair, stage, option, actor.graph.params.rounds)?;
        Ok(actor.ask(pair.pair as usize, stage, (option, &secret), published)?)
    }

    /// Gives the secret of an option, after it is stored that it is the one.
    fn open(
        &mut self,
        pair: &PairPath,
        stage: Stage,
        option: u8,
        rounds: Rounds,
    ) -> Result<Secret, HandError<S::Error>> {
        let first = self.store.first(&pair.choice(stage, rounds), &[option]);
        let first = first.map_err(HandError::Store)?;
        if first != [option] {
            return Err(HandError::Opened {
                stage,
                opened: first.first().copied().unwrap_or_default(),
                wanted: option,
            });
        }
        Ok(self.seed.secret(pair, stage, option, rounds))
    }

    /// Stores what the operator has published of a branch on Bitcoin, and opened: the store may have been lost.
    ///
    /// # Errors
    /// Where the store has something else, or fails.
    pub fn restore_prover(
        &mut self,
        pair: &PairPath,
        published: &Published,
        rounds: Rounds,
    ) -> Result<(), HandError<S::Error>> {
        for (source, (value, _)) in &published.values {
            let path = match source {
                Source::Claim(item) => pair.claim(*item),
                Source::Stage(stage, item) => pair.value(*stage, *item, rounds),
            };
            let signed = self.store.first(&path, value).map_err(HandError::Store)?;
            if signed != *value {
                return Err(SignerError::Spent { path, signed }.into());
            }
        }
        for (stage, opened) in &published.choices {
            if opened.prover.is_some() {
                self.open(pair, *stage, opened.option, rounds)?;
            }
        }
        Ok(())
    }

    /// Stores what the challenger has chosen in a branch on Bitcoin: the store may have been lost.
    ///
    /// # Errors
    /// Where the store has something else, or fails.
    pub fn restore_challenger(
        &mut self,
        pair: &PairPath,
        published: &Published,
        rounds: Rounds,
    ) -> Result<(), HandError<S::Error>> {
        for (stage, opened) in &published.choices {
            self.open(pair, *stage, opened.option, rounds)?;
        }
        Ok(())
    }
}
