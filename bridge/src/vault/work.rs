//! A transaction that makes vault outputs, and how all members sign it: first all ways out of what it makes.

use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::schnorr;
use bitcoin::taproot::{Signature, TapNodeHash};
use bitcoin::{Amount, OutPoint, TapSighashType, Transaction};

use crate::committee::{SignError, SignRequest, Signer, Signing, Tweak};
use crate::connector::{Path, key_witness};
use crate::daemon::{DaemonStore, DaemonStoreError, Outgoing, Pledge, ReadySlot};
use crate::graph::{Committee, GraphError, VaultGraph, VaultSigningId};
use crate::setup::tweak;
use crate::transaction::Planned;

/// A transaction that makes vault outputs, before it is signed.
#[derive(Clone, Debug)]
pub(super) struct Work {
    /// What it is, for people.
    pub(super) name: String,
    pub(super) planned: Planned,
    /// How many vault outputs it makes: its first ones.
    pub(super) made: u32,
    /// The tree of scripts of its inputs.
    pub(super) root: Option<TapNodeHash>,
    /// What its inputs are let be spent for, and Bitcoin's height.
    pub(super) pledge: (Pledge, u32),
    /// The first L1 block of the first turn.
    pub(super) turn: u32,
    /// The last L1 block in which it is in time.
    pub(super) deadline: u32,
    pub(super) why: &'static str,
}

/// Why something is not signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The file failed.
    #[error(transparent)]
    Store(#[from] DaemonStoreError),
    /// Values do not balance: our own fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A signature is missing: our own fault.
    #[error("{got} signatures of {expected}")]
    Count {
        /// How many were asked for.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// We let an input be spent for something else.
    #[error("{outpoint}: expected to let it be spent for {expected:?}, got {got:?}")]
    Pledged {
        /// The input.
        outpoint: OutPoint,
        /// What it would be spent for.
        expected: Pledge,
        /// What we let it be spent for before.
        got: Pledge,
    },
}

/// Names what is signed of a vault output's graph.
pub(super) fn vault_signings(graph: &VaultGraph) -> Vec<Signing> {
    let signings = graph.signings().into_iter();
    signings
        .map(|signing| Signing {
            label: vault_label(signing.id),
            message: signing.message,
            tweak: tweak(signing.path),
        })
        .collect()
}

fn vault_label(id: VaultSigningId) -> String {
    match id {
        VaultSigningId::Assignment(slot) => format!("assignment to slot {slot}"),
        VaultSigningId::Reimbursement(slot, end, input) => {
            format!("reimbursement of slot {slot} behind {end:?}, input {input}")
        }
    }
}

/// Gives signatures of a vault output's graph their names.
pub(super) fn named(graph: &VaultGraph, signatures: Vec<schnorr::Signature>) -> Committee<VaultSigningId> {
    let ids = graph.signings().into_iter().map(|signing| signing.id);
    ids.zip(signatures).collect()
}

impl Work {
    pub(super) fn outgoing(&self, transaction: Transaction) -> Outgoing {
        Outgoing {
            label: self.name.clone(),
            why: self.why.to_owned(),
            transaction,
            fee: Amount::ZERO,
            deadline: self.deadline,
        }
    }

    pub(super) async fn sign(
        &self,
        signer: &Signer,
        slots: &[ReadySlot],
        store: &DaemonStore,
    ) -> Result<Transaction, KeepError> {
        // First all ways out: whoever has them signs the way in.
        for vout in 0..self.made {
            let signings = {
                let graphs = slots.iter().map(|slot| slot.graph.as_ref());
                let output = self.planned.output(vout);
                vault_signings(&VaultGraph::build(&Secp256k1::new(), graphs, output)?)
            };
            let name = format!("vault graph of {}, output {vout}", self.name);
            signer.sign(SignRequest { name, signings }).await?;
        }
        // From here on others may have our part of it: what the inputs are spent for is kept before.
        let inputs: Vec<OutPoint> = self
            .planned
            .transaction
            .input
            .iter()
            .map(|input| input.previous_output)
            .collect();
        let (expected, tip) = self.pledge;
        if let Some((outpoint, got)) = store.pledge(&inputs, expected, tip)? {
            return Err(KeepError::Pledged {
                outpoint,
                expected,
                got,
            });
        }
        let path = Path::Key(self.root);
        let signings = (0..inputs.len()).map(|input| Signing {
            label: format!("input {input}"),
            message: self.planned.message(input, path),
            tweak: Tweak::KeyPath(self.root),
        });
        let request = SignRequest {
            name: self.name.clone(),
            signings: signings.collect(),
        };
        let signatures = signer.sign(request).await?;
        if signatures.len() != inputs.len() {
            return Err(KeepError::Count {
                expected: inputs.len(),
                got: signatures.len(),
            });
        }
        let witness = |signature| {
            key_witness(&Signature {
                signature,
                sighash_type: TapSighashType::Default,
            })
        };
        Ok(self
            .planned
            .finalize(signatures.into_iter().map(witness).collect()))
    }
}
