//! The list of sessions that a member publishes after the set-up: what it wants signed, and how far it is.

use std::collections::BTreeMap;

use super::deployment::MAX_MEMBERS;
use super::{Digest, Kind, PayloadError};

/// Sessions that a member wants signed at once at most. It bounds what others keep for it.
pub const MAX_PENDING: usize = 512;
/// Entries of a list at most: what the member itself wants signed, and what it has the signatures of and others want.
pub(super) const MAX_ENTRIES: usize = MAX_PENDING * MAX_MEMBERS;
/// Bytes of an entry: the plan, and a payload hash of each kind.
pub(super) const ENTRY: usize = 32 * (1 + KINDS.len());
/// The kinds of messages of a session, in the order in which an entry names them.
pub(super) const KINDS: [Kind; 4] = [Kind::Nonces, Kind::Ready, Kind::Partials, Kind::Signatures];
/// What stands for a hash of what is not published.
const NONE: Digest = Digest([0; 32]);

/// What a member has published of one session: payload hashes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry([Option<Digest>; KINDS.len()]);

impl Entry {
    /// Makes the entry of a session of which there are only the signatures.
    pub(super) fn of_signatures(hash: Digest) -> Self {
        let mut entry = Self::default();
        entry.set(Kind::Signatures, hash);
        entry
    }

    /// Returns the payload hash of a kind.
    pub(super) fn get(&self, kind: Kind) -> Option<Digest> {
        let place = KINDS.iter().position(|one| *one == kind)?;
        self.0[place]
    }

    /// Names the payload hash of a kind.
    pub(super) fn set(&mut self, kind: Kind, hash: Digest) {
        if let Some(place) = KINDS.iter().position(|one| *one == kind) {
            self.0[place] = Some(hash);
        }
    }

    /// Tells whether the member still wants the session signed.
    pub(super) fn is_pending(&self) -> bool {
        self.get(Kind::Signatures).is_none()
    }
}

/// The entries of a list by plan.
pub(super) type List = BTreeMap<Digest, Entry>;

/// Encodes a list: entries by plan, with zeros for what is not published.
pub(super) fn encode_list(list: &List) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(list.len() * ENTRY);
    for (plan, Entry(hashes)) in list {
        bytes.extend_from_slice(plan.as_bytes());
        for hash in hashes {
            bytes.extend_from_slice(&hash.unwrap_or(NONE).0);
        }
    }
    bytes
}

/// Decodes a list. Its plans must ascend, so that each list has one encoding.
///
/// # Errors
/// [`PayloadError`], also when more is pending than may be.
pub(super) fn decode_list(bytes: &[u8]) -> Result<List, PayloadError> {
    let (entries, rest) = bytes.as_chunks::<ENTRY>();
    if !rest.is_empty() || entries.len() > MAX_ENTRIES {
        return Err(PayloadError::Length {
            expected: entries.len().min(MAX_ENTRIES) * ENTRY,
            got: bytes.len(),
        });
    }
    let mut list = List::new();
    for (index, item) in entries.iter().enumerate() {
        let [plan, hashes @ ..] = hashes(item);
        if list.last_key_value().is_some_and(|(last, _)| *last >= plan) {
            let what = "entry in order";
            return Err(PayloadError::Item { index, what });
        }
        let hashes = hashes.map(|hash| (hash != NONE).then_some(hash));
        list.insert(plan, Entry(hashes));
    }
    let got = list.values().filter(|entry| entry.is_pending()).count();
    if got > MAX_PENDING {
        return Err(PayloadError::Pending {
            most: MAX_PENDING,
            got,
        });
    }
    Ok(list)
}

fn hashes(item: &[u8; ENTRY]) -> [Digest; 1 + KINDS.len()] {
    let mut hashes = [NONE; 1 + KINDS.len()];
    for (hash, bytes) in hashes.iter_mut().zip(item.as_chunks::<32>().0) {
        *hash = Digest(*bytes);
    }
    hashes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let hash = prop::option::of((1..=255u8).prop_map(|byte| Digest([byte; 32])));
        prop::array::uniform4(hash).prop_map(Entry)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn lists_come_back(list in prop::collection::btree_map(any::<[u8; 32]>(), entry(), 0..20)) {
            let list: List = list.into_iter().map(|(plan, entry)| (Digest(plan), entry)).collect();
            let bytes = encode_list(&list);
            prop_assert_eq!(decode_list(&bytes), Ok(list.clone()));
            if list.len() > 1 {
                // The last entry once more, or before the others, is no list.
                let last = bytes[bytes.len() - ENTRY..].to_vec();
                for other in [[&bytes[..], &last].concat(), [&last[..], &bytes].concat()] {
                    let refused = matches!(decode_list(&other), Err(PayloadError::Item { .. }));
                    prop_assert!(refused);
                }
            }
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(list) = decode_list(&bytes) {
                prop_assert_eq!(encode_list(&list), bytes);
            }
        }
    }

    #[test]
    fn only_so_many_may_be_pending() {
        let plan = |number: usize| {
            let mut plan = [0; 32];
            plan[..8].copy_from_slice(&(number as u64).to_be_bytes());
            Digest(plan)
        };
        let mut list: List = (0..MAX_PENDING)
            .map(|number| (plan(number), Entry::default()))
            .collect();
        let signed = Entry::of_signatures(Digest([1; 32]));
        list.insert(plan(MAX_PENDING), signed);
        assert_eq!(decode_list(&encode_list(&list)), Ok(list.clone()));
        list.insert(plan(MAX_PENDING), Entry::default());
        assert!(matches!(
            decode_list(&encode_list(&list)),
            Err(PayloadError::Pending { got, .. }) if got == MAX_PENDING + 1
        ));
        assert!(matches!(
            decode_list(&[0; ENTRY + 1]),
            Err(PayloadError::Length {
                expected: ENTRY,
                got
            }) if got == ENTRY + 1
        ));
    }
}
