//! Bitcoin block headers and proof-of-work targets.

use alloy_primitives::{B256, U256};

use super::sha256d;
use crate::chain::BlockHash;

/// A block header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Header {
    /// The version, which derivation does not read.
    pub version: i32,
    /// The hash of the block before.
    pub previous_hash: BlockHash,
    /// The root of the transaction ids.
    pub merkle_root: B256,
    /// Seconds since 1970, as the miner says.
    pub time: u32,
    /// The target in compact form.
    pub bits: u32,
    /// The nonce.
    pub nonce: u32,
}

impl L1Header {
    /// Bytes of a header.
    pub const SIZE: usize = 80;

    /// Decodes a header: every 80 bytes are one.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 4];
            word.iter_mut()
                .zip(bytes.iter().skip(at))
                .for_each(|(to, from)| *to = *from);
            u32::from_le_bytes(word)
        };
        let hash = |at: usize| {
            let mut hash = B256::ZERO;
            hash.iter_mut()
                .zip(bytes.iter().skip(at))
                .for_each(|(to, from)| *to = *from);
            hash
        };
        Self {
            version: word(0).cast_signed(),
            previous_hash: hash(4),
            merkle_root: hash(36),
            time: word(68),
            bits: word(72),
            nonce: word(76),
        }
    }

    /// Encodes the header.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let version = self.version.to_le_bytes();
        let (time, bits, nonce) = (
            self.time.to_le_bytes(),
            self.bits.to_le_bytes(),
            self.nonce.to_le_bytes(),
        );
        let fields = version
            .iter()
            .chain(self.previous_hash.iter())
            .chain(self.merkle_root.iter());
        let fields = fields.chain(&time).chain(&bits).chain(&nonce);
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Computes the block's hash, in internal byte order.
    pub fn hash(&self) -> BlockHash {
        sha256d([self.encode().as_slice()])
    }
}

/// A proof-of-work target: a block's hash, as a little-endian number, must not be above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target(U256);

impl Target {
    /// The target whose number is this.
    pub const fn new(target: U256) -> Self {
        Self(target)
    }

    /// Expands the compact form; `None` where it is negative, zero or does not fit, which no block may have.
    pub fn from_compact(bits: u32) -> Option<Self> {
        let (exponent, mantissa) = (bits >> 24, bits & 0x007f_ffff);
        if bits & 0x0080_0000 != 0 || mantissa == 0 {
            return None;
        }
        let mantissa = U256::from(mantissa);
        let target = if exponent <= 3 {
            mantissa.wrapping_shr(8_usize.wrapping_mul(3_u32.saturating_sub(exponent) as usize))
        } else {
            mantissa.checked_shl(8_usize.saturating_mul(exponent.saturating_sub(3) as usize))?
        };
        (!target.is_zero()).then_some(Self(target))
    }

    /// Compresses to the compact form, which rounds down.
    pub fn to_compact(self) -> u32 {
        let size = self.0.bit_len().div_ceil(8);
        let mantissa: U256 = if size <= 3 {
            self.0
                .wrapping_shl(8_usize.saturating_mul(3_usize.saturating_sub(size)))
        } else {
            self.0
                .wrapping_shr(8_usize.saturating_mul(size.saturating_sub(3)))
        };
        let mut mantissa = mantissa.saturating_to::<u32>();
        let mut size = u32::try_from(size).unwrap_or(u32::MAX);
        if mantissa & 0x0080_0000 != 0 {
            // The sign bit must stay clear.
            mantissa >>= 8;
            size = size.saturating_add(1);
        }
        mantissa | (size << 24)
    }

    /// Gives the number.
    pub const fn number(self) -> U256 {
        self.0
    }

    /// Whether a block with this hash meets the target.
    pub fn is_met_by(self, hash: &BlockHash) -> bool {
        U256::from_le_bytes(hash.0) <= self.0
    }

    /// Computes the expected number of hashes: 2^256 / (target + 1).
    pub fn work(self) -> U256 {
        let Some(divisor) = self.0.checked_add(U256::ONE) else {
            return U256::ONE;
        };
        // 2^256 / d = (2^256 - d) / d + 1 = (!target) / d + 1.
        let quotient = (!self.0).checked_div(divisor).unwrap_or_default();
        quotient.saturating_add(U256::ONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn header_agrees_with_rust_bitcoin(bytes in any::<[u8; 32]>(), rest in any::<[u8; 32]>(), tail in any::<[u8; 16]>()) {
            let mut header = [0; 80];
            header[..32].copy_from_slice(&bytes);
            header[32..64].copy_from_slice(&rest);
            header[64..].copy_from_slice(&tail);
            let theirs: bitcoin::block::Header = bitcoin::consensus::deserialize(&header).unwrap();
            let ours = L1Header::decode(&header);
            prop_assert_eq!(ours.hash().0, theirs.block_hash().to_byte_array());
            prop_assert_eq!(ours.encode(), header);
            prop_assert_eq!((ours.time, ours.bits), (theirs.time, theirs.bits.to_consensus()));
        }

        #[test]
        fn target_agrees_with_rust_bitcoin(exponent in 0_u32..40, mantissa in 0_u32..0x0100_0000) {
            let bits = exponent << 24 | mantissa;
            let theirs = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(bits));
            match Target::from_compact(bits) {
                Some(ours) => {
                    prop_assert_eq!(ours.number().to_le_bytes(), theirs.to_le_bytes());
                    prop_assert_eq!(ours.to_compact(), theirs.to_compact_lossy().to_consensus());
                    prop_assert_eq!(ours.work().to_le_bytes(), theirs.to_work().to_le_bytes());
                }
                // rust-bitcoin gives zero for a negative number and cuts off what does not fit.
                None => prop_assert!(bits & 0x0080_0000 != 0 || theirs == bitcoin::Target::ZERO || exponent > 31),
            }
        }
    }
}
