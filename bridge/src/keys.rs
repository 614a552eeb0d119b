//! What others know of a party's secrets: ends of Winternitz chains and locks, and how they are written down.

use std::collections::BTreeMap;

use bitcoin::hashes::Hash;
use bitsect_judge::winternitz::{ChainHash, PublicKey, checksum_digits, value_digits};

use crate::game::{Item, Stage};
use crate::params::Rounds;
use crate::secret::{ClaimItem, Lock, PairPath, PartySeed};

/// The locks of a side, by the stage behind which the choice is made, then by option.
pub type Locks = BTreeMap<Stage, Vec<Lock>>;

/// The keys of a slot's claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimKeys(BTreeMap<ClaimItem, PublicKey>);

/// What the prover has in a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProverKeys {
    values: BTreeMap<(Stage, Item), PublicKey>,
    /// Its locks.
    pub locks: Locks,
}

/// Why a party's keys cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keys: expected {expected} bytes, got {got}")]
pub struct KeysError {
    /// The bytes that these rounds need.
    pub expected: usize,
    /// The bytes that there are.
    pub got: usize,
}

const HASH: usize = 20;

const fn ends(bytes: usize) -> usize {
    value_digits(bytes) + checksum_digits(bytes)
}

/// Takes hashes from the front.
struct Hashes<'a>(core::slice::Iter<'a, ChainHash>);

impl<'a> Hashes<'a> {
    fn new(bytes: &'a [u8], count: usize) -> Result<Self, KeysError> {
        let (hashes, rest) = bytes.as_chunks::<HASH>();
        if hashes.len() != count || !rest.is_empty() {
            return Err(KeysError {
                expected: count * HASH,
                got: bytes.len(),
            });
        }
        Ok(Self(hashes.iter()))
    }

    fn key(&mut self, bytes: usize) -> PublicKey {
        let ends = self.0.by_ref().take(ends(bytes)).copied().collect();
        PublicKey::from_ends(ends, bytes).expect("the number of hashes was checked")
    }

    fn locks(&mut self, rounds: Rounds) -> Locks {
        let stages = Stage::all(rounds).into_iter();
        stages
            .map(|stage| {
                let locks = self.0.by_ref().take(usize::from(stage.options()));
                (stage, locks.map(|hash| Lock::from_byte_array(*hash)).collect())
            })
            .collect()
    }
}

fn items(rounds: Rounds) -> impl Iterator<Item = (Stage, Item)> {
    let stages = Stage::all(rounds).into_iter();
    stages.flat_map(|stage| stage.all_items().into_iter().map(move |item| (stage, item)))
}

fn lock_count(rounds: Rounds) -> usize {
    let options = Stage::all(rounds).into_iter().map(Stage::options);
    options.map(usize::from).sum()
}

/// Gives a party's locks of a pair.
pub fn locks(seed: &PartySeed, pair: &PairPath, rounds: Rounds) -> Locks {
    let stages = Stage::all(rounds).into_iter();
    stages
        .map(|stage| {
            let options = 0..stage.options();
            let locks = options.map(|option| seed.secret(pair, stage, option, rounds).lock());
            (stage, locks.collect())
        })
        .collect()
}

/// Writes locks, in the order of stages and options: 20 bytes each.
pub fn encode_locks(locks: &Locks, rounds: Rounds) -> Vec<u8> {
    let stages = Stage::all(rounds).into_iter();
    let locks = stages.flat_map(|stage| locks.get(&stage).into_iter().flatten());
    locks.flat_map(|lock| lock.to_byte_array()).collect()
}

/// Gives the bytes of a party's locks of a pair.
pub fn locks_bytes(rounds: Rounds) -> usize {
    lock_count(rounds) * HASH
}

/// Reads a challenger's locks.
///
/// # Errors
/// Where their length is not that of these rounds.
pub fn decode_locks(bytes: &[u8], rounds: Rounds) -> Result<Locks, KeysError> {
    Ok(Hashes::new(bytes, lock_count(rounds))?.locks(rounds))
}

impl ClaimKeys {
    /// Derives the keys of a slot's claim; the pair's number does not matter.
    pub fn derive(seed: &PartySeed, slot: &PairPath) -> Self {
        let seed = seed.winternitz();
        let keys = ClaimItem::ALL.into_iter();
        Self(
            keys.map(|item| (item, seed.key(&slot.claim(item), item.bytes()).public_key()))
                .collect(),
        )
    }

    /// Gives a value's key.
    pub fn key(&self, item: ClaimItem) -> &PublicKey {
        &self.0[&item]
    }

    /// Gives the bytes of the keys as they are written.
    pub fn bytes() -> usize {
        let ends = ClaimItem::ALL.into_iter().map(|item| ends(item.bytes()));
        ends.sum::<usize>() * HASH
    }

    /// Writes the keys: 20 bytes for each digit.
    pub fn encode(&self) -> Vec<u8> {
        self.0.values().flat_map(|key| key.ends().concat()).collect()
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// Where the length is another.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeysError> {
        let mut hashes = Hashes::new(bytes, Self::bytes() / HASH)?;
        let keys = ClaimItem::ALL.into_iter();
        Ok(Self(keys.map(|item| (item, hashes.key(item.bytes()))).collect()))
    }
}

impl ProverKeys {
    /// Derives the prover's keys of a pair.
    pub fn derive(seed: &PartySeed, pair: &PairPath, rounds: Rounds) -> Self {
        let winternitz = seed.winternitz();
        let values = items(rounds).map(|(stage, item)| {
            let key = winternitz.key(&pair.value(stage, item, rounds), item.bytes());
            ((stage, item), key.public_key())
        });
        Self {
            values: values.collect(),
            locks: locks(seed, pair, rounds),
        }
    }

    /// Gives a value's key.
    ///
    /// # Panics
    /// Where the stage has no such value: our own fault.
    pub fn key(&self, stage: Stage, item: Item) -> &PublicKey {
        let key = self.values.get(&(stage, item));
        key.unwrap_or_else(|| panic!("{stage:?} publishes {item:?}"))
    }

    /// Gives the bytes of keys and locks as they are written.
    pub fn bytes(rounds: Rounds) -> usize {
        let keys: usize = items(rounds).map(|(_, item)| ends(item.bytes())).sum();
        keys * HASH + locks_bytes(rounds)
    }

    /// Writes keys and locks: 20 bytes for each digit and option.
    pub fn encode(&self, rounds: Rounds) -> Vec<u8> {
        let keys = items(rounds).flat_map(|(stage, item)| self.key(stage, item).ends().concat());
        keys.chain(encode_locks(&self.locks, rounds)).collect()
    }

    /// Reads keys and locks.
    ///
    /// # Errors
    /// Where the length is not that of these rounds.
    pub fn decode(bytes: &[u8], rounds: Rounds) -> Result<Self, KeysError> {
        let mut hashes = Hashes::new(bytes, Self::bytes(rounds) / HASH)?;
        let values = items(rounds).map(|(stage, item)| ((stage, item), hashes.key(item.bytes())));
        let values = values.collect();
        Ok(Self {
            values,
            locks: hashes.locks(rounds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use proptest::prelude::*;

    const ROUNDS: Rounds = Rounds { units: 2, trace: 2 };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn keys_read_as_written(seed: [u8; 32], slot: u32, pair: u32) {
            let (seed, pair) = (PartySeed::new(seed), PairPath { deployment: B256::repeat_byte(3), slot, pair });
            let keys = ProverKeys::derive(&seed, &pair, ROUNDS);
            let bytes = keys.encode(ROUNDS);
            prop_assert_eq!(ProverKeys::decode(&bytes, ROUNDS).unwrap(), keys);
            prop_assert!(ProverKeys::decode(&bytes[1..], ROUNDS).is_err());
            prop_assert!(ProverKeys::decode(&bytes[20..], ROUNDS).is_err());
            let claim = ClaimKeys::derive(&seed, &pair);
            prop_assert_eq!(ClaimKeys::decode(&claim.encode()).unwrap(), claim);
            let own = locks(&seed, &pair, ROUNDS);
            prop_assert_eq!(decode_locks(&encode_locks(&own, ROUNDS), ROUNDS).unwrap(), own);
        }
    }
}
