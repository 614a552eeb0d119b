//! Signed transactions of a slot, as its parties make them.

use bitcoin::key::{Keypair, Secp256k1, TapTweak};
use bitcoin::secp256k1::{All, Message};
use bitcoin::taproot::Signature as TaprootSignature;
use bitcoin::{TapSighashType, Transaction};
use bitsect_judge::winternitz::Signature;

use super::state::SlotState;
use crate::connector::{Path, Win, key_witness};
use crate::game::{Form, Stage};
use crate::graph::{Signatures, SigningId, SlotGraph};
use crate::leaf::Published;
use crate::secret::Secret;
use crate::transaction::{BRANCH_INPUT, Planned, STAKE_INPUT, Spent, forfeit, recover, withdraw};

/// Why a transaction cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// A signature of the committee's is missing.
    #[error("the committee's signature {id:?} is missing")]
    Signature {
        /// Which.
        id: SigningId,
    },
    /// The choice or the answer is not one that the stage takes.
    #[error("{stage:?}: {reason}")]
    Move {
        /// The stage.
        stage: Stage,
        /// What is wrong.
        reason: &'static str,
    },
    /// Values do not balance: our own fault.
    #[error(transparent)]
    Value(#[from] crate::transaction::ValueError),
}

/// Makes the transactions of a slot with the committee's signatures.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    /// The curve.
    pub secp: &'a Secp256k1<All>,
    /// The graph.
    pub graph: &'a SlotGraph,
    /// The committee's signatures.
    pub signatures: &'a Signatures,
}

impl Actor<'_> {
    fn committee(&self, id: SigningId) -> Result<TaprootSignature, ActError> {
        self.signatures.get(id).ok_or(ActError::Signature { id })
    }

    fn sign(&self, planned: &Planned, input: usize, path: Path, key: &Keypair) -> TaprootSignature {
        let key = match path {
            Path::Leaf(_) => *key,
            Path::Key(root) => key.tap_tweak(self.secp, root).to_keypair(),
        };
        let message = Message::from_digest(planned.message(input, path));
        TaprootSignature {
            signature: self.secp.sign_schnorr(&message, &key),
            sighash_type: TapSighashType::Default,
        }
    }

    /// Makes the claim, of the operator's signatures of count and state.
    ///
    /// # Errors
    /// Where the committee's signature is missing.
    pub fn claim(&self, count: &Signature, state: &Signature) -> Result<Transaction, ActError> {
        let committee = self.committee(SigningId::Claim)?;
        let witness = self.graph.bond.claim_witness(&committee, count, state);
        Ok(self.graph.claim.finalize(vec![witness]))
    }

    /// Makes the fast end.
    ///
    /// # Errors
    /// Where a signature is missing.
    pub fn finalise_fast(&self) -> Result<Transaction, ActError> {
        let signed = self.graph.signed_finalise_fast(self.signatures);
        signed.ok_or(ActError::Signature {
            id: SigningId::FinaliseFast(0),
        })
    }

    /// Makes the slow end.
    ///
    /// # Errors
    /// Where the signature is missing.
    pub fn finalise_slow(&self) -> Result<Transaction, ActError> {
        let signed = self.graph.signed_finalise_slow(self.signatures);
        signed.ok_or(ActError::Signature {
            id: SigningId::FinaliseSlow,
        })
    }

    /// Makes the transaction that takes a bond back; it backs no claim.
    ///
    /// # Errors
    /// Where values do not balance.
    pub fn withdraw(&self, operator: &Keypair) -> Result<Transaction, ActError> {
        let bond = Spent::new(self.graph.spec.bond, self.graph.claim.spent[0].clone());
        let planned = withdraw(bond, &self.graph.spec.payout)?;
        let signature = self.sign(&planned, 0, self.graph.bond.withdraw_path(), operator);
        Ok(planned.finalize(vec![self.graph.bond.withdraw_witness(&signature)]))
    }

    /// Makes a challenge.
    ///
    /// # Errors
    /// Where the committee's signature is missing.
    pub fn challenge(&self, pair: usize, challenger: &Keypair) -> Result<Transaction, ActError> {
        let planned = &self.graph.pairs[pair].stages[&Stage::Units(0)].ask;
        let committee = self.committee(SigningId::Challenge(pair as u32))?;
        let stake = self.sign(planned, STAKE_INPUT, Path::Key(None), challenger);
        Ok(planned.finalize(vec![key_witness(&committee), key_witness(&stake)]))
    }

    /// Makes an answer in a form, of the values' signatures in the order of the form's items. In `published` the prover's
    /// secret of the choice before is opened.
    ///
    /// # Errors
    /// Where a signature is missing, or the choices ask for another form.
    pub fn answer(
        &self,
        pair: usize,
        (stage, form): (Stage, Form),
        values: &[Signature],
        published: &Published,
    ) -> Result<Transaction, ActError> {
        let branch = &self.graph.pairs[pair];
        let graph = &branch.stages[&stage];
        let committee = self.committee(SigningId::Answer(pair as u32, stage, form))?;
        let failed = |reason| ActError::Move { stage, reason };
        let leaf = graph.asked.answer(form).ok_or(failed("it has no such form"))?;
        let items = leaf.witness(values, published);
        let items = items.ok_or(failed("the choices ask for another form"))?;
        let witness = graph.asked.answer_witness(&branch.keys, form, &committee, items);
        let witness = witness.ok_or(failed("it has no such form"))?;
        Ok(graph.answer.finalize(vec![witness]))
    }

    /// Makes the transaction that chooses an option behind a stage.
    ///
    /// # Errors
    /// Where a signature is missing, or no leaf lets the option be chosen.
    pub fn ask(
        &self,
        pair: usize,
        behind: Stage,
        (option, secret): (u8, &Secret),
        published: &Published,
    ) -> Result<Transaction, ActError> {
        let branch = &self.graph.pairs[pair];
        let failed = |reason| ActError::Move {
            stage: behind,
            reason,
        };
        let next = behind.next(option, branch.keys.rounds);
        let next = next.ok_or(failed("it has no such option"))?;
        let signature = |leaf: usize| {
            let id = SigningId::Ask(pair as u32, next, leaf as u32);
            self.signatures.get(id)
        };
        let answered = &branch.stages[&behind].answered;
        let witness = answered.ask_witness(&branch.keys, (option, secret), signature, published);
        let witness = witness.ok_or(failed("no leaf lets the option be chosen"))?;
        Ok(branch.stages[&next].ask.finalize(vec![witness]))
    }

    /// Finds the leaf that wins behind a stage.
    pub fn win(&self, pair: usize, stage: Stage, published: &Published) -> Option<Win> {
        let branch = &self.graph.pairs[pair];
        branch.stages[&stage].answered.win(&branch.keys, published)
    }

    /// Makes the slash by a leaf that wins.
    ///
    /// # Errors
    /// Where the committee's signature is missing.
    pub fn verdict(
        &self,
        pair: usize,
        stage: Stage,
        win: &Win,
        challenger: &Keypair,
    ) -> Result<Transaction, ActError> {
        let graph = &self.graph.pairs[pair].stages[&stage];
        let planned = graph.verdict.as_ref().ok_or(ActError::Move {
            stage,
            reason: "no leaf wins there",
        })?;
        let committee = self.committee(SigningId::Verdict(pair as u32, stage))?;
        let signature = self.sign(planned, BRANCH_INPUT, win.path(), challenger);
        let witness = graph.answered.win_witness(win, &signature);
        Ok(planned.finalize(vec![witness, key_witness(&committee)]))
    }

    /// Makes the slash of a prover that was silent.
    ///
    /// # Errors
    /// Where the committee's signature is missing.
    pub fn timeout(&self, pair: usize, stage: Stage, challenger: &Keypair) -> Result<Transaction, ActError> {
        let graph = &self.graph.pairs[pair].stages[&stage];
        let committee = self.committee(SigningId::Timeout(pair as u32, stage))?;
        let path = graph.asked.timeout_path();
        let signature = self.sign(&graph.timeout, BRANCH_INPUT, path, challenger);
        let witness = graph.asked.timeout_witness(&signature);
        Ok(graph.timeout.finalize(vec![witness, key_witness(&committee)]))
    }

    /// Makes the transaction by which the operator takes the stake of a challenger that was silent.
    ///
    /// # Errors
    /// Where the branch does not wait for the challenger.
    pub fn forfeit(
        &self,
        state: &SlotState,
        pair: usize,
        stage: Stage,
        operator: &Keypair,
    ) -> Result<Transaction, ActError> {
        let output = self.output(state, pair, stage)?;
        let planned = forfeit(&self.graph.params, output, &self.graph.spec.payout)?;
        let answered = &self.graph.pairs[pair].stages[&stage].answered;
        let signature = self.sign(&planned, 0, answered.timeout_path(), operator);
        Ok(planned.finalize(vec![answered.timeout_witness(&signature)]))
    }

    /// Makes the transaction by which a challenger takes its stake back from a prover that was silent, where main is gone.
    ///
    /// # Errors
    /// Where the branch does not wait for the prover.
    pub fn recover_late(
        &self,
        state: &SlotState,
        pair: usize,
        stage: Stage,
        challenger: &Keypair,
    ) -> Result<Transaction, ActError> {
        let branch = &self.graph.pairs[pair];
        let output = self
            .output(state, pair, stage)?
            .after(self.graph.params.move_timeout());
        let planned = recover(output, &branch.payout)?;
        let asked = &branch.stages[&stage].asked;
        let signature = self.sign(&planned, 0, asked.timeout_path(), challenger);
        Ok(planned.finalize(vec![asked.timeout_witness(&signature)]))
    }

    /// Makes the transaction by which a challenger takes its stake back by a leaf that wins, where main is gone.
    ///
    /// # Errors
    /// Where the branch does not wait for the challenger.
    pub fn recover_won(
        &self,
        state: &SlotState,
        pair: usize,
        (stage, win): (Stage, &Win),
        challenger: &Keypair,
    ) -> Result<Transaction, ActError> {
        let branch = &self.graph.pairs[pair];
        let planned = recover(self.output(state, pair, stage)?, &branch.payout)?;
        let signature = self.sign(&planned, 0, win.path(), challenger);
        let answered = &branch.stages[&stage].answered;
        Ok(planned.finalize(vec![answered.win_witness(win, &signature)]))
    }

    fn output(&self, state: &SlotState, pair: usize, stage: Stage) -> Result<Spent, ActError> {
        state.output(self.graph, pair).ok_or(ActError::Move {
            stage,
            reason: "the branch waits for nobody",
        })
    }
}
