//! Keys and signatures.

use alloy_primitives::B256;
use bitcoin::hashes::{Hash, hash160};

use super::{TOP, checksum_digits, digits_of, value_digits};
use crate::script::number;

/// A hash of a chain.
pub type ChainHash = [u8; 20];

/// The secret from which a party derives all its keys.
#[derive(Clone)]
pub struct Seed([u8; 32]);

/// Where a key is used: one key for each value that a party ever publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyPath {
    /// The deployment's hash.
    pub deployment: B256,
    /// The operator's slot.
    pub slot: u32,
    /// The challenger's number within the slot.
    pub pair: u32,
    /// The move within the game.
    pub step: u32,
    /// The value within the move.
    pub value: u32,
}

/// A key that has signed nothing yet: signing consumes it.
pub struct SecretKey {
    starts: Vec<ChainHash>,
    bytes: usize,
}

/// What Scripts know of a key: the last hash of each digit's chain, the checksum's behind the value's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    ends: Vec<ChainHash>,
    bytes: usize,
}

/// A signature: each digit and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    digits: Vec<(u8, ChainHash)>,
    bytes: usize,
}

/// Why a signature is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It has another number of digits than the key.
    #[error("{got} digits, the key has {expected}")]
    Length {
        /// The digits of the signature.
        got: usize,
        /// The digits of the key.
        expected: usize,
    },
    /// A digit is above 15.
    #[error("digit {index} is {digit}, at most 15")]
    Digit {
        /// Its index.
        index: usize,
        /// The digit.
        digit: u8,
    },
    /// A hash is not on the digit's chain.
    #[error("digit {index}: its hash does not lead to the key")]
    Chain {
        /// Its index.
        index: usize,
    },
    /// The checksum is that of another value.
    #[error("the checksum is that of another value")]
    Checksum,
}

/// Hashes along a chain.
fn advance(start: ChainHash, times: u8) -> ChainHash {
    (0..times).fold(start, |hash, _| hash160::Hash::hash(&hash).to_byte_array())
}

impl Seed {
    /// Takes 32 secret bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Derives the key of a value of so many bytes.
    pub fn key(&self, path: &KeyPath, bytes: usize) -> SecretKey {
        let count = value_digits(bytes) + checksum_digits(bytes);
        let starts = (0..count as u32).map(|digit| self.start(path, digit)).collect();
        SecretKey { starts, bytes }
    }

    fn start(&self, path: &KeyPath, digit: u32) -> ChainHash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"bitsect winternitz 1");
        hasher.update(path.deployment.as_slice());
        for number in [path.slot, path.pair, path.step, path.value, digit] {
            hasher.update(&number.to_le_bytes());
        }
        let mut start = [0; 20];
        start.copy_from_slice(&hasher.finalize().as_bytes()[..20]);
        start
    }
}

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(secret)")
    }
}

impl core::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SecretKey(secret, {} bytes)", self.bytes)
    }
}

impl SecretKey {
    /// Gives the public key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey {
            ends: self.starts.iter().map(|start| advance(*start, TOP)).collect(),
            bytes: self.bytes,
        }
    }

    /// Signs a value. Use a [`Signer`](super::Signer), which remembers what was signed.
    ///
    /// # Panics
    /// Where the value's length is not the key's: lengths are constants of the protocol.
    pub(super) fn sign(self, value: &[u8]) -> Signature {
        assert_eq!(value.len(), self.bytes, "a value of the key's length");
        let digits = digits_of(value).into_iter().zip(self.starts);
        Signature {
            digits: digits
                .map(|(digit, start)| (digit, advance(start, digit)))
                .collect(),
            bytes: self.bytes,
        }
    }
}

impl PublicKey {
    /// Takes the ends of the chains of a key for values of so many bytes, as another party sends them; `None` where
    /// their number is another.
    pub fn from_ends(ends: Vec<ChainHash>, bytes: usize) -> Option<Self> {
        let count = value_digits(bytes) + checksum_digits(bytes);
        (ends.len() == count).then_some(Self { ends, bytes })
    }

    /// Gives the bytes of the values that it is for.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the ends of the chains, the value's digits first.
    pub fn ends(&self) -> &[ChainHash] {
        &self.ends
    }

    /// Checks a signature and gives the value.
    ///
    /// # Errors
    /// The digit that is wrong.
    pub fn verify(&self, signature: &Signature) -> Result<Vec<u8>, SignatureError> {
        let (got, expected) = (signature.digits.len(), self.ends.len());
        if got != expected || signature.bytes != self.bytes {
            return Err(SignatureError::Length { got, expected });
        }
        for (index, ((digit, hash), end)) in signature.digits.iter().zip(&self.ends).enumerate() {
            if *digit > TOP {
                return Err(SignatureError::Digit { index, digit: *digit });
            }
            if advance(*hash, TOP - digit) != *end {
                return Err(SignatureError::Chain { index });
            }
        }
        let value = signature.value();
        let digits = signature.digits.iter().map(|(digit, _)| *digit);
        if !digits.eq(digits_of(&value)) {
            return Err(SignatureError::Checksum);
        }
        Ok(value)
    }
}

impl Signature {
    /// Gives the items of the witness, bottom first: the value's highest digit is on top, below it its hash; below the
    /// value is the checksum, its highest digit lowest.
    pub fn witness(&self) -> Vec<Vec<u8>> {
        let (value, checksum) = self
            .digits
            .split_at(value_digits(self.bytes).min(self.digits.len()));
        let pairs = checksum.iter().rev().chain(value);
        pairs
            .flat_map(|(digit, hash)| [hash.to_vec(), number::encode(i64::from(*digit))])
            .collect()
    }

    /// Reads a signature from the items of a witness, as another party's transaction shows them; `None` where they are
    /// no digits and hashes.
    pub fn from_witness(items: &[Vec<u8>], bytes: usize) -> Option<Self> {
        let pairs = items.chunks(2).map(|pair| match pair {
            [hash, digit] => {
                // Consensus takes digits that are not minimal too, and they are the same digits.
                let digit = bitcoin::script::read_scriptint_non_minimal(digit).ok()?;
                Some((u8::try_from(digit).ok()?, hash.as_slice().try_into().ok()?))
            }
            _ => None,
        });
        let mut checksum = pairs.collect::<Option<Vec<(u8, ChainHash)>>>()?;
        let mut digits = checksum.split_off(checksum_digits(bytes).min(checksum.len()));
        digits.extend(checksum.into_iter().rev());
        Some(Self { digits, bytes })
    }

    fn value(&self) -> Vec<u8> {
        let digits = &self.digits[..value_digits(self.bytes)];
        digits.chunks(2).map(|pair| pair[0].0 | pair[1].0 << 4).collect()
    }
}
