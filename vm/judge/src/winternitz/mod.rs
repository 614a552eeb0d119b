//! Winternitz one-time signatures of values that Scripts read: 4-bit digits, a checksum, HASH160 chains of 15.
//!
//! A value of `n` bytes is `2n` digits, the lower half of each byte first, then the digits of the checksum
//! `15 * 2n - (sum of the digits)`, lowest first. The signature of digit `d` is its chain's start hashed `d` times, and
//! the public key is the start hashed 15 times. Who wants to raise a digit has to invert a hash in the checksum, and who
//! wants to lower it has to invert one there.

mod key;
mod signer;
mod verify;

pub use key::{ChainHash, KeyPath, PublicKey, SecretKey, Seed, Signature, SignatureError};
pub use signer::{MemoryStore, SignatureStore, Signer, SignerError};
pub use verify::{Reading, verify};

/// The largest digit, and the length of a chain in hashes.
pub const TOP: u8 = 15;

/// Gives the number of a value's digits.
pub const fn value_digits(bytes: usize) -> usize {
    2 * bytes
}

/// Gives the number of the checksum's digits: as many as its largest value needs.
pub const fn checksum_digits(bytes: usize) -> usize {
    let mut largest = TOP as usize * value_digits(bytes);
    let mut digits = 0;
    while largest > 0 {
        largest /= 16;
        digits += 1;
    }
    digits
}

/// Gives the digits of a value and of its checksum.
fn digits_of(value: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = value.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect();
    let sum: usize = digits.iter().copied().map(usize::from).sum();
    let mut checksum = usize::from(TOP) * digits.len() - sum;
    for _ in 0..checksum_digits(value.len()) {
        digits.push((checksum & 15) as u8);
        checksum >>= 4;
    }
    digits
}
