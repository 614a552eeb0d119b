//! What another member did wrong. A fault is named and shown; it never stops us.

use super::client::ClientError;
use super::{Digest, Kind, MemberId, MessageError, PayloadError};

/// What a member did wrong, and with which kind of message.
#[derive(Debug, thiserror::Error)]
#[error("member {member}, {}: {cause}", kind.name())]
pub struct Fault {
    /// Who.
    pub member: MemberId,
    /// With what.
    pub kind: Kind,
    /// What.
    pub cause: FaultCause,
}

/// What is wrong with a message, or its absence.
#[derive(Debug, thiserror::Error)]
pub enum FaultCause {
    /// The member's daemon cannot be read.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It is no message of that member.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The payload does not decode.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The status is no status.
    #[error("status: {reason}")]
    Status {
        /// Where and what.
        reason: String,
    },
    /// The builder refuses the contribution.
    #[error("contribution refused: {reason}")]
    ContributionRefused {
        /// The builder's reason.
        reason: String,
    },
    /// A contribution is fixed once it was seen.
    #[error("contribution changed: expected {expected}, got {got}")]
    ContributionChanged {
        /// The hash of the one seen first.
        expected: Digest,
        /// The hash of the other.
        got: Digest,
    },
    /// The same contributions gave another graph.
    #[error("graph hash: expected {expected}, got {got}")]
    Graph {
        /// Ours.
        expected: Digest,
        /// Theirs.
        got: Digest,
    },
    /// The same graph hash with other messages to sign.
    #[error("hash of the signings: expected {expected}, got {got}")]
    Plan {
        /// Ours.
        expected: Digest,
        /// Theirs.
        got: Digest,
    },
    /// A counter goes back: an old message, or the member lost its store.
    #[error("nonces: counter {got} after {seen}; if its store was lost, restart the other members")]
    NoncesOld {
        /// The highest seen.
        seen: u64,
        /// The one that came after it.
        got: u64,
    },
    /// Two sets of nonces under one counter: a lie, or two daemons with one key.
    #[error("nonces: two sets under the counter {counter}")]
    NoncesTwice {
        /// The counter.
        counter: u64,
    },
    /// The member has other nonces of somebody than we have, under the same counter.
    #[error("ready: other nonces of member {of} under the counter {counter} than we have")]
    NoncesOther {
        /// Whose nonces.
        of: MemberId,
        /// The counter.
        counter: u64,
    },
    /// A message names another session or plan than its payload.
    #[error("session: expected {expected}, got {got}")]
    Session {
        /// The payload's.
        expected: Digest,
        /// The message's.
        got: Digest,
    },
    /// A partial signature is wrong.
    #[error("the partial signature of {label:?} is wrong")]
    Partial {
        /// The signing's label.
        label: String,
    },
    /// A signature does not verify under the committee's key.
    #[error("the signature of {label:?} is wrong")]
    Signature {
        /// The signing's label.
        label: String,
    },
}
