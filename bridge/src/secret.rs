//! A party's secrets, all from one seed: Winternitz keys, and what opens its locks.

use alloy_primitives::B256;
use bitcoin::hashes::{Hash, hash160};
use bitsect_judge::winternitz::{KeyPath, Seed};

use crate::game::{Item, Stage};
use crate::params::Rounds;

/// What a lock is: the HASH160 of its secret.
pub type Lock = hash160::Hash;

/// What opens a lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; 20]);

/// The seed of all that a party publishes or opens.
#[derive(Clone)]
pub struct PartySeed([u8; 32]);

/// A pair of a slot and a challenger, within a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairPath {
    /// The deployment's hash.
    pub deployment: B256,
    /// The slot.
    pub slot: u32,
    /// The challenger's number among the slot's.
    pub pair: u32,
}

/// The pair under which a slot's claim has its keys.
const CLAIM: u32 = u32::MAX;

/// A value of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClaimItem {
    /// How many units after the slot's start.
    Count,
    /// The chain state then, cut to 24 bytes.
    State,
}

impl ClaimItem {
    /// Both, the first uppermost in the witness.
    pub const ALL: [Self; 2] = [Self::Count, Self::State];

    /// Gives its length in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Count => 4,
            Self::State => 24,
        }
    }
}

impl Secret {
    /// Gives the lock that it opens.
    pub fn lock(&self) -> Lock {
        hash160::Hash::hash(&self.0)
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(secret)")
    }
}

impl core::fmt::Debug for PartySeed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PartySeed(secret)")
    }
}

impl PairPath {
    /// Gives the path of a value's key.
    pub fn value(&self, stage: Stage, item: Item, rounds: Rounds) -> KeyPath {
        self.at(stage.number(rounds), item.number())
    }

    /// Gives the path under which a choice is remembered, as if it were a signed value.
    pub fn choice(&self, stage: Stage, rounds: Rounds) -> KeyPath {
        self.at(stage.number(rounds), u32::MAX)
    }

    /// Gives the path of a claim's value in this slot.
    pub const fn claim(&self, item: ClaimItem) -> KeyPath {
        let claim = Self { pair: CLAIM, ..*self };
        claim.at(0, item as u32)
    }

    const fn at(&self, step: u32, value: u32) -> KeyPath {
        KeyPath {
            deployment: self.deployment,
            slot: self.slot,
            pair: self.pair,
            step,
            value,
        }
    }
}

impl PartySeed {
    /// Takes 32 secret bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Gives the seed of the Winternitz keys.
    pub const fn winternitz(&self) -> Seed {
        Seed::new(self.0)
    }

    /// Gives what opens the lock of an option behind a stage.
    pub fn secret(&self, pair: &PairPath, stage: Stage, option: u8, rounds: Rounds) -> Secret {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"bitsect lock 1");
        hasher.update(pair.deployment.as_slice());
        for number in [pair.slot, pair.pair, stage.number(rounds), u32::from(option)] {
            hasher.update(&number.to_le_bytes());
        }
        let mut secret = [0; 20];
        secret.copy_from_slice(&hasher.finalize().as_bytes()[..20]);
        Secret(secret)
    }
}
