//! What members say to each other: one envelope for every kind, signed with the member's identity key.
//!
//! `version (1) || kind (1) || deployment (32) || member (2, LE) || session (32) || signature (64) || payload`

use bitcoin::key::{Secp256k1, Verification};
use bitcoin::secp256k1::Message as SignedDigest;
use bitcoin::secp256k1::schnorr::Signature;
use serde::{Deserialize, Serialize};

use super::keys::MemberKeys;
use super::list::{ENTRY, MAX_ENTRIES};
use super::plan::MAX_SIGNINGS;
use super::{Deployment, Digest, MemberId};

/// The format's version: a message's first byte.
const VERSION: u8 = 1;
/// Bytes before the payload.
pub(super) const HEADER: usize = 1 + 1 + 32 + 2 + 32 + SIGNATURE;
/// Bytes of a BIP-0340 signature.
pub(super) const SIGNATURE: usize = 64;
/// Bytes of a contribution at most. A slot's public keys and hash locks are about half a megabyte.
pub const MAX_CONTRIBUTION: usize = 32 << 20;
/// Bytes of a status at most: a fault of every kind for each of 31 others, 200 bytes each that may have to be escaped,
/// the sessions that are shown, and some air.
const MAX_STATUS: usize = 256 << 10;
/// Bytes of every small payload at most.
const MAX_SMALL: usize = 4096;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What the member has published and seen. The only kind that is not about the set-up itself.
    Status,
    /// The member's contribution to the graph.
    Contribution,
    /// The hash of the graph that the member has built.
    Graph,
    /// Public nonces of one round.
    Nonces,
    /// The nonces of all members that the member would sign with.
    Ready,
    /// Partial signatures of one session.
    Partials,
    /// The signatures, once they are complete.
    Signatures,
    /// What the member wants signed after the set-up, and has published of it.
    Sessions,
}

impl Kind {
    /// Every kind, in the order in which a set-up comes to them.
    pub const ALL: [Self; 8] = [
        Self::Status,
        Self::Contribution,
        Self::Graph,
        Self::Nonces,
        Self::Ready,
        Self::Partials,
        Self::Signatures,
        Self::Sessions,
    ];

    /// Returns the name in URLs and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Contribution => "contribution",
            Self::Graph => "graph",
            Self::Nonces => "nonces",
            Self::Ready => "ready",
            Self::Partials => "partials",
            Self::Signatures => "signatures",
            Self::Sessions => "sessions",
        }
    }

    /// Finds a kind by its name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns how long a message may be, in bytes, with its header.
    pub fn limit(self) -> usize {
        let payload = match self {
            Self::Status => MAX_STATUS,
            Self::Contribution => MAX_CONTRIBUTION,
            Self::Graph | Self::Ready => MAX_SMALL,
            Self::Nonces => 8 + musig2::PUB_NONCE_SIZE * MAX_SIGNINGS,
            Self::Partials => musig2::PARTIAL_SIGNATURE_SIZE * MAX_SIGNINGS,
            Self::Signatures => SIGNATURE * MAX_SIGNINGS,
            Self::Sessions => ENTRY * MAX_ENTRIES,
        };
        HEADER + payload
    }

    /// Returns how long a message about so many signings may be, in bytes, with its header.
    pub(super) fn limit_of(self, signings: usize) -> usize {
        match self {
            Self::Nonces => HEADER + 8 + musig2::PUB_NONCE_SIZE * signings,
            Self::Partials => HEADER + musig2::PARTIAL_SIGNATURE_SIZE * signings,
            Self::Signatures => HEADER + SIGNATURE * signings,
            Self::Status | Self::Contribution | Self::Graph | Self::Ready | Self::Sessions => self.limit(),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Status => 0,
            Self::Contribution => 1,
            Self::Graph => 2,
            Self::Nonces => 3,
            Self::Ready => 4,
            Self::Partials => 5,
            Self::Signatures => 6,
            Self::Sessions => 7,
        }
    }
}

/// Why bytes are no message of that member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Too few or too many bytes.
    #[error("message: expected {HEADER} to {most} bytes, got {got}")]
    Length {
        /// The most.
        most: usize,
        /// How many there are.
        got: usize,
    },
    /// Another version of the format.
    #[error("message version: expected {VERSION}, got {got}")]
    Version {
        /// The first byte.
        got: u8,
    },
    /// Not the kind that was asked for.
    #[error("message kind: expected {expected}, got {got}")]
    Kind {
        /// The kind asked for.
        expected: u8,
        /// The second byte.
        got: u8,
    },
    /// A message of another deployment.
    #[error("deployment: expected {expected}, got {got}")]
    Deployment {
        /// Ours.
        expected: Digest,
        /// The message's.
        got: Digest,
    },
    /// A message of another member, or of none.
    #[error("member: expected {expected}, got {got}")]
    Member {
        /// Who was asked.
        expected: MemberId,
        /// Who speaks.
        got: MemberId,
    },
    /// The signature is not the member's.
    #[error("the signature is not by the member's identity key")]
    Signature,
}

/// A signed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What it is.
    pub kind: Kind,
    /// The deployment's hash.
    pub deployment: Digest,
    /// Who speaks.
    pub member: MemberId,
    /// What the payload belongs to: of nonces and signatures the plan, of readiness and partial signatures the session.
    pub session: Digest,
    /// The member's signature over all the rest.
    pub signature: Signature,
    /// The content.
    pub payload: Vec<u8>,
}

impl Envelope {
    /// Signs a message.
    pub(super) fn sign(
        kind: Kind,
        deployment: Digest,
        member: MemberId,
        session: Digest,
        payload: Vec<u8>,
        keys: &MemberKeys,
    ) -> Self {
        let digest = signed_digest(kind, &deployment, member, &session, &payload);
        // Without auxiliary randomness the same message has the same bytes, whoever asks and whenever.
        let signature = Secp256k1::new().sign_schnorr_no_aux_rand(&digest, keys.identity_pair());
        Self {
            kind,
            deployment,
            member,
            session,
            signature,
            payload,
        }
    }

    /// Encodes the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.extend_from_slice(&[VERSION, self.kind.byte()]);
        bytes.extend_from_slice(self.deployment.as_bytes());
        bytes.extend_from_slice(&self.member.0.to_le_bytes());
        bytes.extend_from_slice(self.session.as_bytes());
        bytes.extend_from_slice(self.signature.as_ref());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Decodes a message of a kind. Says nothing of who signed it.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8], kind: Kind) -> Result<Self, MessageError> {
        let length = MessageError::Length {
            most: kind.limit(),
            got: bytes.len(),
        };
        if bytes.len() > kind.limit() {
            return Err(length);
        }
        let mut rest = bytes;
        let mut header = || -> Option<_> {
            let [version, byte] = take::<2>(&mut rest)?;
            let deployment = Digest(take(&mut rest)?);
            let member = MemberId(u16::from_le_bytes(take(&mut rest)?));
            let session = Digest(take(&mut rest)?);
            let signature: [u8; SIGNATURE] = take(&mut rest)?;
            Some((version, byte, deployment, member, session, signature))
        };
        let (version, byte, deployment, member, session, signature) = header().ok_or(length)?;
        if version != VERSION {
            return Err(MessageError::Version { got: version });
        }
        if byte != kind.byte() {
            return Err(MessageError::Kind {
                expected: kind.byte(),
                got: byte,
            });
        }
        Ok(Self {
            kind,
            deployment,
            member,
            session,
            signature: Signature::from_slice(&signature).map_err(|_| MessageError::Signature)?,
            payload: rest.to_vec(),
        })
    }

    /// Decodes a message and checks that a member of the deployment signed it.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn open(
        bytes: &[u8],
        kind: Kind,
        deployment: &Deployment,
        hash: &Digest,
        member: MemberId,
    ) -> Result<Self, MessageError> {
        let envelope = Self::decode(bytes, kind)?;
        if envelope.deployment != *hash {
            return Err(MessageError::Deployment {
                expected: *hash,
                got: envelope.deployment,
            });
        }
        if envelope.member != member {
            return Err(MessageError::Member {
                expected: member,
                got: envelope.member,
            });
        }
        envelope.verify(&Secp256k1::verification_only(), deployment)?;
        Ok(envelope)
    }

    /// Computes the hash by which a status names what was published.
    pub fn payload_hash(&self) -> Digest {
        payload_hash(&self.payload)
    }

    fn verify<C: Verification>(
        &self,
        secp: &Secp256k1<C>,
        deployment: &Deployment,
    ) -> Result<(), MessageError> {
        let Self {
            kind,
            deployment: hash,
            member,
            session,
            signature,
            payload,
        } = self;
        let digest = signed_digest(*kind, hash, *member, session, payload);
        let identity = &deployment.member(*member).identity;
        secp.verify_schnorr(signature, &digest, identity)
            .map_err(|_| MessageError::Signature)
    }
}

pub(super) fn payload_hash(payload: &[u8]) -> Digest {
    Digest::tagged("bitsect/committee/payload", &[payload])
}

fn signed_digest(
    kind: Kind,
    deployment: &Digest,
    member: MemberId,
    session: &Digest,
    payload: &[u8],
) -> SignedDigest {
    let digest = Digest::tagged(
        "bitsect/committee/message",
        &[
            &[VERSION, kind.byte()],
            deployment.as_bytes(),
            &member.0.to_le_bytes(),
            session.as_bytes(),
            payload_hash(payload).as_bytes(),
        ],
    );
    SignedDigest::from_digest(digest.0)
}

/// Takes bytes from the front.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::committee::tests::harness::{deployment, keys};

    fn envelope(
        kind: Kind,
        member: u16,
        session: [u8; 32],
        payload: Vec<u8>,
    ) -> (Deployment, Digest, Envelope) {
        let deployment = deployment(3);
        let hash = deployment.hash().unwrap();
        let signed = Envelope::sign(
            kind,
            hash,
            MemberId(member),
            Digest(session),
            payload,
            &keys(member.try_into().unwrap()),
        );
        (deployment, hash, signed)
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop::sample::select(Kind::ALL.to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn messages_come_back(
            kind in kind(),
            member in 0..3u16,
            session: [u8; 32],
            payload in prop::collection::vec(any::<u8>(), 0..2000),
        ) {
            let (deployment, hash, signed) = envelope(kind, member, session, payload);
            let opened = Envelope::open(&signed.encode(), kind, &deployment, &hash, MemberId(member));
            prop_assert_eq!(opened, Ok(signed));
        }

        #[test]
        fn a_changed_byte_is_refused(
            kind in kind(),
            payload in prop::collection::vec(any::<u8>(), 1..200),
            at: prop::sample::Index,
            by in 1..=255u8,
        ) {
            let (deployment, hash, signed) = envelope(kind, 1, [5; 32], payload);
            let mut bytes = signed.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            prop_assert!(Envelope::open(&bytes, kind, &deployment, &hash, MemberId(1)).is_err());
        }

        #[test]
        fn any_bytes_are_answered(kind in kind(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let deployment = deployment(3);
            let hash = deployment.hash().unwrap();
            prop_assert!(Envelope::open(&bytes, kind, &deployment, &hash, MemberId(0)).is_err());
        }
    }

    #[test]
    fn each_rule_has_its_error() {
        let (deployment, hash, signed) = envelope(Kind::Graph, 1, [0; 32], vec![1; 10]);
        let open =
            |bytes: &[u8], kind, member| Envelope::open(bytes, kind, &deployment, &hash, MemberId(member));
        let bytes = signed.encode();
        assert_eq!(
            open(&bytes, Kind::Ready, 1),
            Err(MessageError::Kind { expected: 4, got: 2 })
        );
        assert_eq!(
            open(&bytes, Kind::Graph, 2),
            Err(MessageError::Member {
                expected: MemberId(2),
                got: MemberId(1)
            })
        );
        assert!(matches!(
            open(&bytes[..HEADER - 1], Kind::Graph, 1),
            Err(MessageError::Length { got, .. }) if got == HEADER - 1
        ));
        let long = vec![VERSION; Kind::Graph.limit() + 1];
        assert!(matches!(
            open(&long, Kind::Graph, 1),
            Err(MessageError::Length { .. })
        ));
        let mut version = bytes.clone();
        version[0] = 9;
        assert_eq!(
            open(&version, Kind::Graph, 1),
            Err(MessageError::Version { got: 9 })
        );
        let other = Digest([1; 32]);
        assert!(matches!(
            Envelope::open(&bytes, Kind::Graph, &deployment, &other, MemberId(1)),
            Err(MessageError::Deployment { .. })
        ));
        let forged = Envelope::sign(Kind::Graph, hash, MemberId(1), Digest([0; 32]), vec![1], &keys(2));
        assert_eq!(
            open(&forged.encode(), Kind::Graph, 1),
            Err(MessageError::Signature)
        );
    }

    #[test]
    fn a_signature_serves_one_kind_and_session_only() {
        let (deployment, hash, signed) = envelope(Kind::Graph, 1, [0; 32], vec![1; 10]);
        let mut bytes = signed.encode();
        bytes[1] = Kind::Ready.byte();
        assert_eq!(
            Envelope::open(&bytes, Kind::Ready, &deployment, &hash, MemberId(1)),
            Err(MessageError::Signature)
        );
        let mut other = signed;
        other.session.0[0] ^= 1;
        assert_eq!(
            Envelope::open(&other.encode(), Kind::Graph, &deployment, &hash, MemberId(1)),
            Err(MessageError::Signature)
        );
    }
}
