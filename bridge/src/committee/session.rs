//! One session of MuSig2 (BIP-0327): nonces, their aggregates, partial signatures, signatures.
//!
//! Secret nonces live in memory only, in a type that cannot be copied, and signing takes it by value: a set of nonces
//! signs one session, or none.

use bitcoin::secp256k1::schnorr::Signature;
use musig2::errors::SigningError;
use musig2::secp::Point;
use musig2::{AggNonce, CompactSignature, PartialSignature, PubNonce, SecNonce};

use super::keys::{MemberKeys, random};
use super::payload::{Place, encode_nonces, encode_places};
use super::plan::{Plan, spread};
use super::{Deployment, Digest, KeyError, MemberId, aggregate::point, message::payload_hash};

/// We cannot sign. Peers have no part in it.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There are no random numbers.
    #[error(transparent)]
    Random(#[from] KeyError),
    /// The session has other nonces of ours than we hold the secrets of.
    #[error("the session has other nonces of ours than those of counter {counter}")]
    Nonces {
        /// The counter of what we hold.
        counter: u64,
    },
    /// Our own partial signature is wrong: keys that do not fit, or a machine that computes wrongly.
    #[error("cannot sign {label:?}: {source}")]
    Sign {
        /// The signing's label.
        label: String,
        /// The library's answer.
        source: SigningError,
    },
    /// Partial signatures that all verify gave a signature that does not.
    #[error("the signature of {label:?}, of partial signatures that verify, is wrong")]
    Aggregate {
        /// The signing's label.
        label: String,
    },
}

/// A member's public nonces, one for each signing.
pub(super) struct PublicNonces {
    pub place: Place,
    pub nonces: Vec<PubNonce>,
}

/// Our secret nonces. Neither Clone nor Debug, on purpose.
pub(super) struct SecretNonces {
    counter: u64,
    secrets: Vec<(SecNonce, PubNonce)>,
}

impl SecretNonces {
    /// Draws nonces, and gives the public ones with their encoding.
    ///
    /// Each comes from fresh randomness, mixed with key, message, and place, as BIP-0327 advises.
    ///
    /// # Errors
    /// [`SessionError::Random`].
    pub(super) fn draw(
        plan: &Plan,
        keys: &MemberKeys,
        counter: u64,
    ) -> Result<(Self, PublicNonces, Vec<u8>), SessionError> {
        let digest = plan.digest();
        let mut seeds = Vec::with_capacity(plan.len());
        for _ in 0..plan.len() {
            seeds.push(random()?);
        }
        let secrets = spread(seeds, |index, seed| {
            let key: Point = plan.context(index).aggregated_pubkey();
            let place = [
                &digest.0[..],
                &counter.to_le_bytes(),
                &(index as u64).to_le_bytes(),
            ]
            .concat();
            let message = plan.signings()[index].message;
            let secret = SecNonce::generate(seed, keys.signing_scalar(), key, message, place);
            let public = secret.public_nonce();
            (secret, public)
        });
        let nonces: Vec<_> = secrets.iter().map(|(_, public)| public.clone()).collect();
        let payload = encode_nonces(counter, &nonces);
        let place = Place {
            counter,
            hash: payload_hash(&payload),
        };
        Ok((Self { counter, secrets }, PublicNonces { place, nonces }, payload))
    }

    /// Signs a session. Takes the nonces, so that they sign nothing else.
    ///
    /// # Errors
    /// [`SessionError::Nonces`], [`SessionError::Sign`]; the nonces are gone then, too.
    pub(super) fn sign(
        self,
        plan: &Plan,
        keys: &MemberKeys,
        session: &Session,
        me: MemberId,
    ) -> Result<Vec<PartialSignature>, SessionError> {
        let Self { counter, secrets } = self;
        if session.places[me.index()].counter != counter || secrets.len() != plan.len() {
            return Err(SessionError::Nonces { counter });
        }
        let signed = spread(secrets, |index, (secret, public)| {
            // The counter alone would let a mix-up sign with an aggregate that lacks our nonce.
            if public != session.nonces[me.index()][index] {
                return Err(SessionError::Nonces { counter });
            }
            let Signing { label, message } = of(plan, index);
            let nonce = &session.aggregated[index];
            musig2::sign_partial(plan.context(index), keys.signing_scalar(), secret, nonce, message).map_err(
                |source| SessionError::Sign {
                    label: label.to_owned(),
                    source,
                },
            )
        });
        signed.into_iter().collect()
    }
}

/// A signing's parts that signing needs.
struct Signing<'p> {
    label: &'p str,
    message: &'p [u8; 32],
}

fn of(plan: &Plan, index: usize) -> Signing<'_> {
    let signing = &plan.signings()[index];
    Signing {
        label: &signing.label,
        message: &signing.message,
    }
}

/// Nonces of all members: what one set of partial signatures is for.
pub(super) struct Session {
    id: Digest,
    places: Vec<Place>,
    nonces: Vec<Vec<PubNonce>>,
    aggregated: Vec<AggNonce>,
}

impl Session {
    /// Computes the id of the session of these nonces.
    pub(super) fn id_of(plan: &Plan, places: &[Place]) -> Digest {
        let (plan, places) = (plan.digest(), encode_places(places));
        Digest::tagged("bitsect/committee/session", &[plan.as_bytes(), &places])
    }

    /// Makes the session of these nonces, by member.
    pub(super) fn new(plan: &Plan, members: &[&PublicNonces]) -> Self {
        let places: Vec<_> = members.iter().map(|member| member.place).collect();
        let nonces: Vec<_> = members.iter().map(|member| member.nonces.clone()).collect();
        let aggregated = spread((0..plan.len()).collect(), |_, index: usize| {
            AggNonce::sum(nonces.iter().map(|member| &member[index]))
        });
        Self {
            id: Self::id_of(plan, &places),
            places,
            nonces,
            aggregated,
        }
    }

    pub(super) fn id(&self) -> Digest {
        self.id
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Checks a member's partial signatures, and returns the label of the first wrong one.
    pub(super) fn wrong_partial(
        &self,
        plan: &Plan,
        deployment: &Deployment,
        member: MemberId,
        partials: &[PartialSignature],
    ) -> Option<String> {
        let share = point(&deployment.member(member).signing);
        let good = spread(partials.to_vec(), |index, partial| {
            let nonce = &self.nonces[member.index()][index];
            let message = of(plan, index).message;
            let (context, aggregated) = (plan.context(index), &self.aggregated[index]);
            musig2::verify_partial(context, partial, aggregated, share, nonce, message).is_ok()
        });
        plan.label_of_first(&good)
    }

    /// Puts the partial signatures of all members together, and checks what comes out as Bitcoin does.
    ///
    /// # Errors
    /// [`SessionError::Aggregate`].
    pub(super) fn aggregate(
        &self,
        plan: &Plan,
        members: &[&[PartialSignature]],
    ) -> Result<Vec<Signature>, SessionError> {
        let signed = spread((0..plan.len()).collect(), |_, index: usize| {
            let Signing { label, message } = of(plan, index);
            let wrong = || SessionError::Aggregate {
                label: label.to_owned(),
            };
            let partials = members.iter().map(|member| member[index]);
            let (context, nonce) = (plan.context(index), &self.aggregated[index]);
            let signature: CompactSignature =
                musig2::aggregate_partial_signatures(context, nonce, partials, message)
                    .map_err(|_| wrong())?;
            let signature = Signature::from_slice(&signature.serialize()).map_err(|_| wrong())?;
            if !plan.is_signature(index, &signature) {
                return Err(wrong());
            }
            Ok(signature)
        });
        signed.into_iter().collect()
    }
}
