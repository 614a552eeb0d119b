//! A slot's graph: all its outputs, transactions, and the signatures of the committee that it needs.

mod pair;
mod sign;
mod vault;

use alloy_primitives::B256;
use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::All;
use bitcoin::{OutPoint, ScriptBuf, TxOut, XOnlyPublicKey};
use bitsect_judge::step::Cut;
use bitsect_vm::chain::bridge::output_id;
use bitsect_vm::check::check_advice;

use crate::connector::{Bond, Funds};
use crate::convert::chain_outpoint;
use crate::keys::{ClaimKeys, Locks, ProverKeys};
use crate::leaf::Program;
use crate::params::{Params, ParamsError};
use crate::transaction::{Planned, Spent, ValueError, claim, finalise_fast, finalise_slow};

pub use pair::{PairGraph, StageGraph};
pub use sign::{Committee, Signatures, Signing, SigningId};
pub use vault::{End, VaultBranch, VaultGraph, VaultSigningId};

/// A challenger's side of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSpec {
    /// The challenger's key.
    pub key: XOnlyPublicKey,
    /// Where it is paid.
    pub payout: ScriptBuf,
    /// Its stake, and what the output holds.
    pub stake: (OutPoint, TxOut),
    /// Its locks.
    pub locks: Locks,
    /// The prover's keys and locks of the pair.
    pub prover: ProverKeys,
}

/// All that a slot's graph follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSpec {
    /// The committee's key.
    pub committee: XOnlyPublicKey,
    /// The operator's key.
    pub operator: XOnlyPublicKey,
    /// Where the operator is paid.
    pub payout: ScriptBuf,
    /// The bond: its script follows from the rest.
    pub bond: OutPoint,
    /// The output of the committee's key with which the slot's claim gets a vault output; without one claims are about the
    /// chain's state alone.
    pub ticket: Option<OutPoint>,
    /// The chain state at the slot's start, cut.
    pub start: Cut,
    /// The claim's keys.
    pub claim: ClaimKeys,
    /// The challengers.
    pub pairs: Vec<PairSpec>,
}

impl SlotSpec {
    /// Gives the advice of the claim's last unit: the check of the ticket.
    pub fn check(&self) -> Option<B256> {
        let ticket = self.ticket.as_ref().map(chain_outpoint);
        ticket.map(|ticket| check_advice(&output_id(&ticket)))
    }
}

/// A slot's graph.
#[derive(Debug)]
pub struct SlotGraph {
    /// The parameters.
    pub params: Params,
    /// What it was made from.
    pub spec: SlotSpec,
    /// The bond's output.
    pub bond: Bond,
    /// The claim.
    pub claim: Planned,
    /// Its end where nobody challenges.
    pub finalise_fast: Planned,
    /// Its end where it is upheld.
    pub finalise_slow: Planned,
    /// The branches.
    pub pairs: Vec<PairGraph>,
}

/// Why there is no graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A parameter breaks a rule.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// A transaction does not balance.
    #[error("{transaction}: {error}")]
    Value {
        /// The transaction.
        transaction: &'static str,
        /// How it does not.
        error: ValueError,
    },
    /// A stake is not what it has to be.
    #[error("stake of pair {pair}: {field}: expected {expected}, got {got}")]
    Stake {
        /// The challenger's number.
        pair: usize,
        /// The field.
        field: &'static str,
        /// What it has to be.
        expected: String,
        /// What it is.
        got: String,
    },
}

pub(crate) fn balanced(
    transaction: &'static str,
    planned: Result<Planned, ValueError>,
) -> Result<Planned, GraphError> {
    planned.map_err(|error| GraphError::Value { transaction, error })
}

impl SlotGraph {
    /// Builds the graph.
    ///
    /// # Errors
    /// Where parameters or outputs break a rule.
    pub fn build(
        secp: &Secp256k1<All>,
        program: &Program,
        params: Params,
        spec: SlotSpec,
    ) -> Result<Self, GraphError> {
        let challengers = spec.pairs.len();
        params.verify(challengers)?;
        let funds = Funds::new(secp, spec.committee);
        let bond = Bond::new(secp, &spec.claim, spec.committee, spec.operator, params.rounds);
        let output = TxOut {
            value: bitcoin::Amount::from_sat(params.bond_sats),
            script_pubkey: bond.script_pubkey(),
        };
        let claim = balanced(
            "claim",
            claim(&params, Spent::new(spec.bond, output), &funds, challengers),
        )?;
        let finalise_fast = finalise_fast(&params, &claim, &funds, &spec.payout, challengers);
        let finalise_slow = finalise_slow(&params, &claim, &funds, &spec.payout);
        let pairs = (0..challengers)
            .map(|pair| PairGraph::build(secp, program, &params, &spec, &claim, pair))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            finalise_fast: balanced("finalise fast", finalise_fast)?,
            finalise_slow: balanced("finalise slow", finalise_slow)?,
            params,
            spec,
            bond,
            claim,
            pairs,
        })
    }
}
