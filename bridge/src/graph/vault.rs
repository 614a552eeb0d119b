//! A vault output's graph: for each slot how it is assigned to it, and taken behind its claim (docs/bridge.md).

use bitcoin::key::{Keypair, Secp256k1};
use bitcoin::secp256k1::{All, Message};
use bitcoin::taproot::Signature;
use bitcoin::{TapSighashType, Transaction};

use super::sign::{Committee, Signing};
use super::{GraphError, SlotGraph, balanced};
use crate::connector::{Funds, Path, Ticket, key_witness};
use crate::transaction::{Planned, Spent, assignment, reimbursement};

/// Which end of a claim a reimbursement is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// Nobody challenged it.
    Fast,
    /// It was upheld.
    Slow,
}

impl End {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fast, Self::Slow];
}

/// Names a signature of a vault output's graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VaultSigningId {
    /// Of the assignment to a slot.
    Assignment(u32),
    /// Of an input of a slot's reimbursement.
    Reimbursement(u32, End, u32),
}

/// A vault output's way to a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultBranch {
    /// The slot.
    pub slot: u32,
    ticket: Ticket,
    /// Spends the ticket.
    pub assignment: Planned,
    /// Behind the claim's fast end.
    pub fast: Planned,
    /// Behind the claim's slow end.
    pub slow: Planned,
}

/// A vault output's graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultGraph {
    /// The output.
    pub output: Spent,
    /// The ways to slots that have a ticket, ascending by slot.
    pub branches: Vec<VaultBranch>,
}

impl VaultGraph {
    /// Builds the graph of an output of the vault.
    ///
    /// # Errors
    /// Where values do not balance.
    pub fn build<'a>(
        secp: &Secp256k1<All>,
        slots: impl IntoIterator<Item = &'a SlotGraph>,
        output: Spent,
    ) -> Result<Self, GraphError> {
        let mut branches = Vec::new();
        for (slot, graph) in (0..).zip(slots) {
            let Some(ticket) = graph.spec.ticket else { continue };
            let funds = Funds::new(secp, graph.spec.committee);
            let made = Ticket::new(secp, graph.spec.operator, graph.spec.committee);
            let spent = Spent::new(ticket, made.output());
            let assignment = balanced("assignment", assignment(spent, &output, &funds))?;
            let reimburse = |end: &Planned| {
                let planned = reimbursement(end, &assignment, output.clone(), &graph.spec.payout);
                balanced("reimbursement", planned)
            };
            branches.push(VaultBranch {
                slot,
                ticket: made,
                fast: reimburse(&graph.finalise_fast)?,
                slow: reimburse(&graph.finalise_slow)?,
                assignment,
            });
        }
        Ok(Self { output, branches })
    }

    /// Gives all signatures that the graph needs, always in the same order.
    pub fn signings(&self) -> Vec<Signing<VaultSigningId>> {
        let mut signings = Vec::new();
        let mut need = |id, planned: &Planned, input: usize, path: Path| {
            signings.push(Signing {
                id,
                path,
                message: planned.message(input, path),
            });
        };
        for branch in &self.branches {
            need(
                VaultSigningId::Assignment(branch.slot),
                &branch.assignment,
                0,
                branch.ticket.path(),
            );
            for end in End::ALL {
                for input in 0..branch.reimbursement(end).spent.len() {
                    let id = VaultSigningId::Reimbursement(branch.slot, end, input as u32);
                    need(id, branch.reimbursement(end), input, Funds::path());
                }
            }
        }
        signings
    }

    /// Gives the way to a slot; `None` where it has no ticket.
    pub fn branch(&self, slot: u32) -> Option<&VaultBranch> {
        let at = self.branches.binary_search_by_key(&slot, |branch| branch.slot);
        self.branches.get(at.ok()?)
    }
}

impl VaultBranch {
    /// Gives the reimbursement behind an end of the claim.
    pub const fn reimbursement(&self, end: End) -> &Planned {
        match end {
            End::Fast => &self.fast,
            End::Slow => &self.slow,
        }
    }

    /// Gives the assignment with its witness: the committee's signature, and the operator's own; `None` where the committee's
    /// is missing.
    pub fn signed_assignment(
        &self,
        secp: &Secp256k1<All>,
        signatures: &Committee<VaultSigningId>,
        operator: &Keypair,
    ) -> Option<Transaction> {
        let committee = signatures.get(VaultSigningId::Assignment(self.slot))?;
        let message = Message::from_digest(self.assignment.message(0, self.ticket.path()));
        let own = Signature {
            signature: secp.sign_schnorr(&message, operator),
            sighash_type: TapSighashType::Default,
        };
        Some(
            self.assignment
                .finalize(vec![self.ticket.witness(&committee, &own)]),
        )
    }

    /// Gives a reimbursement with its witnesses; `None` where a signature is missing.
    pub fn signed_reimbursement(
        &self,
        end: End,
        signatures: &Committee<VaultSigningId>,
    ) -> Option<Transaction> {
        let planned = self.reimbursement(end);
        let inputs = 0..planned.spent.len() as u32;
        let witness = |input| {
            let signature = signatures.get(VaultSigningId::Reimbursement(self.slot, end, input))?;
            Some(key_witness(&signature))
        };
        let witnesses: Option<Vec<_>> = inputs.map(witness).collect();
        Some(planned.finalize(witnesses?))
    }
}
