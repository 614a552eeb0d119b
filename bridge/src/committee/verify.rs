//! Checks offline what a member has stored, and gives it to those who use it.

use std::collections::BTreeMap;

use bitcoin::XOnlyPublicKey;
use bitcoin::secp256k1::schnorr::Signature;

use super::payload::decode_signatures;
use super::plan::Plan;
use super::{
    Aggregate, AggregateError, Builder, Deployment, DeploymentError, Digest, Envelope, Kind, MemberId,
    MessageError, PayloadError, PlanError, Signing, Store, StoreError,
};

/// A graph with a verified signature for each signing.
#[derive(Debug)]
pub struct Signed<G> {
    /// The graph, built anew.
    pub graph: G,
    /// What is signed.
    pub signings: Vec<Signing>,
    /// The signatures, in the order of the signings.
    pub signatures: Vec<Signature>,
    /// The committee's key.
    pub key: XOnlyPublicKey,
}

/// Why what is stored is no complete set-up.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The deployment cannot be.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The members' keys do not aggregate.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The graph cannot be signed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Contributions are missing.
    #[error("contributions: expected {expected}, the store has {got}")]
    Contributions {
        /// Members.
        expected: usize,
        /// Contributions stored.
        got: usize,
    },
    /// A contribution is not its member's.
    #[error("the contribution of member {member}: {source}")]
    Contribution {
        /// Whose it should be.
        member: MemberId,
        /// What is wrong.
        source: MessageError,
    },
    /// The builder makes no graph of the contributions.
    #[error("no graph can be built of the contributions: {reason}")]
    Build {
        /// Why.
        reason: String,
    },
    /// There are no signatures yet.
    #[error("the set-up is not complete: the store has no signatures")]
    Incomplete,
    /// The signatures are of another graph.
    #[error("plan: expected {expected}, the stored signatures are of {got}")]
    Other {
        /// What the graph gives.
        expected: Digest,
        /// What the store has.
        got: Digest,
    },
    /// The signatures do not decode.
    #[error("signatures: {0}")]
    Payload(#[from] PayloadError),
    /// A signature is wrong.
    #[error("the signature of {label:?} is wrong")]
    Signature {
        /// The signing's label.
        label: String,
    },
}

/// Gives what members have contributed, as a member's store has it.
///
/// # Errors
/// [`VerifyError`] names the first that is wrong.
pub fn contributions(
    store: &Store,
    deployment: &Deployment,
) -> Result<BTreeMap<MemberId, Vec<u8>>, VerifyError> {
    let hash = deployment.hash()?;
    let mut contributions = BTreeMap::new();
    for (member, bytes) in store.contributions()? {
        let wrong = |source| VerifyError::Contribution { member, source };
        if member.index() >= deployment.members.len() {
            let (expected, got) = (deployment.members.len(), member.index() + 1);
            return Err(VerifyError::Contributions { expected, got });
        }
        let envelope =
            Envelope::open(&bytes, Kind::Contribution, deployment, &hash, member).map_err(wrong)?;
        contributions.insert(member, envelope.payload);
    }
    Ok(contributions)
}

/// Builds the graph of a member's stored contributions, and verifies every stored signature.
///
/// # Errors
/// [`VerifyError`] names the first thing that is wrong or missing.
pub fn load<B: Builder>(
    store: &Store,
    deployment: &Deployment,
    builder: &B,
) -> Result<Signed<B::Graph>, VerifyError> {
    deployment.verify()?;
    let contributions = contributions(store, deployment)?;
    let (expected, got) = (deployment.members.len(), contributions.len());
    if got != expected {
        return Err(VerifyError::Contributions { expected, got });
    }
    let failed = |error: B::Error| VerifyError::Build {
        reason: error.to_string(),
    };
    let graph = builder.build(&contributions).map_err(failed)?;
    let aggregate = Aggregate::new(deployment)?;
    let (_, plan) = Plan::of_graph(&graph, &aggregate)?;
    let (got, payload) = store.signatures()?.ok_or(VerifyError::Incomplete)?;
    let expected = plan.digest();
    if got != expected {
        return Err(VerifyError::Other { expected, got });
    }
    let signatures = decode_signatures(&payload, plan.len())?;
    if let Some(label) = plan.wrong_signature(&signatures) {
        return Err(VerifyError::Signature { label });
    }
    Ok(Signed {
        graph,
        signings: plan.signings().to_vec(),
        signatures,
        key: aggregate.key(),
    })
}
