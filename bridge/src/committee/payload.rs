//! The payloads of messages. Each has one encoding and a length that is known before.

use bitcoin::secp256k1::schnorr::Signature;
use musig2::secp::MaybeScalar;
use musig2::{BinaryEncoding, PARTIAL_SIGNATURE_SIZE, PUB_NONCE_SIZE, PartialSignature, PubNonce};

use super::Digest;
use super::message::SIGNATURE;

/// Bytes of a counter.
const COUNTER: usize = 8;
/// Bytes of one member's entry in a readiness.
const PLACE: usize = COUNTER + 32;

/// Why a payload does not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Another length than what was agreed on gives.
    #[error("payload: expected {expected} bytes, got {got}")]
    Length {
        /// The length it must have.
        expected: usize,
        /// Its length.
        got: usize,
    },
    /// An item is no point, no number or no signature.
    #[error("payload: item {index} is no {what}")]
    Item {
        /// Which, from 0.
        index: usize,
        /// What it should be.
        what: &'static str,
    },
    /// A list names more that is to be signed than a member may want at once.
    #[error("payload: expected at most {most} pending sessions, got {got}")]
    Pending {
        /// The most.
        most: usize,
        /// How many there are.
        got: usize,
    },
}

/// The hash of a graph, and the hash of what it wants signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GraphHashes {
    pub graph: Digest,
    pub plan: Digest,
}

impl GraphHashes {
    pub(super) fn encode(&self) -> Vec<u8> {
        [self.graph.0, self.plan.0].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, PayloadError> {
        let [graph, plan] = items::<32>(bytes, 2)?[..] else {
            return Err(length(64, bytes));
        };
        Ok(Self {
            graph: Digest(*graph),
            plan: Digest(*plan),
        })
    }
}

/// Which nonces of a member: its counter, and the hash of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub counter: u64,
    pub hash: Digest,
}

/// Encodes the nonces of all members, by member.
pub(super) fn encode_places(places: &[Place]) -> Vec<u8> {
    let place = |place: &Place| [&place.counter.to_le_bytes()[..], place.hash.as_bytes()].concat();
    places.iter().flat_map(place).collect()
}

pub(super) fn decode_places(bytes: &[u8], members: usize) -> Result<Vec<Place>, PayloadError> {
    let place = |item: &[u8; PLACE]| {
        let (counter, hash) = item
            .split_first_chunk::<COUNTER>()
            .expect("a place begins with its counter");
        Place {
            counter: u64::from_le_bytes(*counter),
            hash: Digest(hash.try_into().expect("32 bytes follow the counter")),
        }
    };
    Ok(items::<PLACE>(bytes, members)?.into_iter().map(place).collect())
}

pub(super) fn encode_nonces(counter: u64, nonces: &[PubNonce]) -> Vec<u8> {
    let mut bytes = counter.to_le_bytes().to_vec();
    for nonce in nonces {
        bytes.extend_from_slice(&nonce.to_bytes());
    }
    bytes
}

/// Reads the counter of nonces, which needs no graph.
pub(super) fn nonces_counter(bytes: &[u8]) -> Result<u64, PayloadError> {
    let (counter, _) = bytes
        .split_first_chunk::<COUNTER>()
        .ok_or_else(|| length(COUNTER, bytes))?;
    Ok(u64::from_le_bytes(*counter))
}

pub(super) fn decode_nonces(bytes: &[u8], count: usize) -> Result<Vec<PubNonce>, PayloadError> {
    let expected = COUNTER + count * PUB_NONCE_SIZE;
    if bytes.len() != expected {
        return Err(length(expected, bytes));
    }
    let nonces = items::<PUB_NONCE_SIZE>(&bytes[COUNTER..], count)?;
    each(nonces, "public nonce", |item| PubNonce::from_bytes(item).ok())
}

pub(super) fn encode_partials(partials: &[PartialSignature]) -> Vec<u8> {
    partials.iter().flat_map(MaybeScalar::serialize).collect()
}

pub(super) fn decode_partials(bytes: &[u8], count: usize) -> Result<Vec<PartialSignature>, PayloadError> {
    let partials = items::<PARTIAL_SIGNATURE_SIZE>(bytes, count)?;
    each(partials, "partial signature", |item| {
        MaybeScalar::from_slice(item).ok()
    })
}

pub(super) fn encode_signatures(signatures: &[Signature]) -> Vec<u8> {
    signatures
        .iter()
        .flat_map(|signature| signature.serialize())
        .collect()
}

pub(super) fn decode_signatures(bytes: &[u8], count: usize) -> Result<Vec<Signature>, PayloadError> {
    let signatures = items::<SIGNATURE>(bytes, count)?;
    each(signatures, "signature", |item| Signature::from_slice(item).ok())
}

fn length(expected: usize, bytes: &[u8]) -> PayloadError {
    PayloadError::Length {
        expected,
        got: bytes.len(),
    }
}

/// Cuts bytes into exactly so many items.
fn items<const N: usize>(bytes: &[u8], count: usize) -> Result<Vec<&[u8; N]>, PayloadError> {
    if bytes.len() != N * count {
        return Err(length(N * count, bytes));
    }
    Ok(bytes.as_chunks::<N>().0.iter().collect())
}

fn each<const N: usize, T>(
    items: Vec<&[u8; N]>,
    what: &'static str,
    read: impl Fn(&[u8; N]) -> Option<T>,
) -> Result<Vec<T>, PayloadError> {
    let read = |(index, item)| read(item).ok_or(PayloadError::Item { index, what });
    items.into_iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use musig2::SecNonce;
    use musig2::secp::{G, Scalar};
    use proptest::prelude::*;

    use super::*;

    fn nonce(seed: [u8; 32]) -> PubNonce {
        SecNonce::build_with_pubkey(seed, Scalar::one() * G)
            .build()
            .public_nonce()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn graphs_come_back(graph: [u8; 32], plan: [u8; 32]) {
            let hashes = GraphHashes { graph: Digest(graph), plan: Digest(plan) };
            prop_assert_eq!(GraphHashes::decode(&hashes.encode()), Ok(hashes));
        }

        #[test]
        fn places_come_back(list in prop::collection::vec((any::<u64>(), any::<[u8; 32]>()), 0..9)) {
            let places: Vec<_> =
                list.into_iter().map(|(counter, hash)| Place { counter, hash: Digest(hash) }).collect();
            let bytes = encode_places(&places);
            prop_assert_eq!(decode_places(&bytes, places.len()), Ok(places.clone()));
            prop_assert!(decode_places(&bytes, places.len() + 1).is_err());
        }

        #[test]
        fn nonces_come_back(counter: u64, seeds in prop::collection::vec(any::<[u8; 32]>(), 0..5)) {
            let nonces: Vec<_> = seeds.into_iter().map(nonce).collect();
            let bytes = encode_nonces(counter, &nonces);
            prop_assert_eq!(nonces_counter(&bytes), Ok(counter));
            prop_assert_eq!(decode_nonces(&bytes, nonces.len()), Ok(nonces.clone()));
            prop_assert!(decode_nonces(&bytes, nonces.len() + 1).is_err());
        }

        #[test]
        fn partials_and_signatures_come_back(seeds in prop::collection::vec(any::<[u8; 32]>(), 0..5)) {
            let partials: Vec<_> = seeds.iter().map(MaybeScalar::reduce_from).collect();
            let bytes = encode_partials(&partials);
            prop_assert_eq!(decode_partials(&bytes, partials.len()), Ok(partials));
            let signatures: Vec<_> =
                seeds.iter().map(|seed| Signature::from_slice(&[*seed, *seed].concat()).unwrap()).collect();
            let bytes = encode_signatures(&signatures);
            prop_assert_eq!(decode_signatures(&bytes, signatures.len()), Ok(signatures));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0..5usize) {
            // A decoder that accepts must give back the same bytes.
            if let Ok(hashes) = GraphHashes::decode(&bytes) {
                prop_assert_eq!(hashes.encode(), bytes.clone());
            }
            if let Ok(places) = decode_places(&bytes, count) {
                prop_assert_eq!(encode_places(&places), bytes.clone());
            }
            if let (Ok(counter), Ok(nonces)) = (nonces_counter(&bytes), decode_nonces(&bytes, count)) {
                prop_assert_eq!(encode_nonces(counter, &nonces), bytes.clone());
            }
            if let Ok(partials) = decode_partials(&bytes, count) {
                prop_assert_eq!(encode_partials(&partials), bytes.clone());
            }
        }
    }

    #[test]
    fn items_that_are_none_are_named() {
        let mut bytes = encode_nonces(1, &[nonce([1; 32]), nonce([2; 32])]);
        bytes[COUNTER + PUB_NONCE_SIZE] = 7;
        let item = |index, what| PayloadError::Item { index, what };
        assert_eq!(decode_nonces(&bytes, 2), Err(item(1, "public nonce")));
        assert_eq!(decode_partials(&[0xff; 64], 2), Err(item(0, "partial signature")));
        assert_eq!(
            decode_partials(&[0; 63], 2),
            Err(PayloadError::Length {
                expected: 64,
                got: 63
            })
        );
        assert_eq!(
            nonces_counter(&[1, 2]),
            Err(PayloadError::Length { expected: 8, got: 2 })
        );
    }
}
