//! The committee: `n` members sign one graph with one key, and then whatever all of them ask for (docs/committee.md).
//!
//! This folder knows nothing of transactions. It carries opaque contributions between members, has a [`Builder`] make
//! the graph of them, and signs with MuSig2 (BIP-0327) what the graph asks for. After the set-up, [`Signer`] signs lists
//! of messages that every member derives by itself.

mod aggregate;
mod ask;
mod board;
mod cli;
mod client;
mod deployment;
mod digest;
mod fault;
mod joint;
mod keys;
mod list;
mod message;
mod payload;
mod peer;
mod plan;
mod run;
mod server;
mod session;
mod setup;
mod signer;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::BTreeMap;

use bitcoin::taproot::TapNodeHash;

pub use aggregate::{Aggregate, AggregateError};
pub use ask::{AskError, ask_contribution};
pub use cli::{CommitteeCommand, Party, Place};
pub use client::ClientError;
pub use deployment::{Deployment, DeploymentError, Member, MemberId, Role, chain_file_hash};
pub use digest::Digest;
pub use fault::{Fault, FaultCause};
pub use joint::JointError;
pub use keys::{KeyError, MemberKeys, Seed};
pub use list::MAX_PENDING;
pub use message::{Envelope, Kind, MAX_CONTRIBUTION, MessageError};
pub use payload::PayloadError;
pub use plan::{MAX_SIGNINGS, PlanError};
pub use run::{RunError, RunOptions, run};
pub use session::SessionError;
pub use setup::SetupError;
pub use signer::{Service, SignError, SignRequest, Signer, SignerError};
pub use status::{
    FaultReport, MemberReport, MemberStatus, Progress, SessionReport, SessionsReport, Summary, query,
};
pub use store::{Store, StoreError};
pub use verify::{Signed, VerifyError, contributions, load};

/// One signature of the committee's key that the graph needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// What is signed, for people: the transaction, and its input where there are several. At most 200 bytes.
    pub label: String,
    /// The BIP-0341 signature hash.
    pub message: [u8; 32],
    /// Which form of the key signs.
    pub tweak: Tweak,
}

/// Which form of the committee's key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tweak {
    /// The key stands in a leaf: the aggregate key as it is.
    Leaf,
    /// The key is an output's key path, tweaked by the root of its scripts (BIP-0341); none when it has no scripts.
    KeyPath(Option<TapNodeHash>),
}

/// A graph of transactions that the committee signs.
pub trait Graph {
    /// Returns what is to be signed, always in the same order.
    fn signings(&self) -> Vec<Signing>;

    /// Returns the hash of everything that members must agree on.
    fn hash(&self) -> [u8; 32];
}

/// Makes the graph out of what the members contribute.
pub trait Builder: Send + 'static {
    /// The graph.
    type Graph: Graph;
    /// Why there is no graph.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Makes our contribution: what others need of us beside signatures. Asked once; then it is fixed.
    ///
    /// # Errors
    /// When we cannot contribute, which ends the set-up.
    fn contribution(&self) -> Result<Vec<u8>, Self::Error>;

    /// Checks one member's contribution by itself. One that is refused does not count as seen.
    ///
    /// # Errors
    /// Names what is wrong with it. Must depend on nothing but the deployment, the member and the bytes.
    fn verify_contribution(&self, member: MemberId, contribution: &[u8]) -> Result<(), Self::Error>;

    /// Builds the graph from the contributions of all members. Everybody must get the same.
    ///
    /// # Errors
    /// Names what does not fit together.
    fn build(&self, contributions: &BTreeMap<MemberId, Vec<u8>>) -> Result<Self::Graph, Self::Error>;
}
