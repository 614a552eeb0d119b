//! The L1 cursor: the last Bitcoin block read, and what is needed to judge the next header.

use alloc::vec::Vec;
use alloy_primitives::U256;
use alloy_rlp::{RlpDecodable, RlpEncodable};

use super::bitcoin::{L1Header, Target};
use crate::chain::{BlockHash, L1Network};

/// How many header times and fee rates medians are taken over (BIP-0113).
pub const MEDIAN_WINDOW: usize = 11;
/// Blocks between two difficulty adjustments.
const ADJUSTMENT_INTERVAL: u32 = 2016;
/// Seconds that an adjustment interval should take: two weeks.
const TARGET_TIMESPAN: u32 = 1_209_600;
/// Seconds after which the test network lets a block have the easiest target (BIP-0094).
const EASY_BLOCK_AFTER: u32 = 1_200;
/// Seconds that the first block of an interval may be before the last one of the previous interval (BIP-0094).
const MAX_TIMEWARP: u32 = 600;

/// The last L1 block read.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct L1Cursor {
    /// Its hash, in internal byte order.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// Hashes that its chain is expected to have taken since the first block that a deployment reads.
    pub work: U256,
    /// The times of the last eleven blocks, oldest first.
    pub times: Vec<u32>,
    /// The fee rates of the same blocks, sat per 1,000 vB.
    pub fee_rates: Vec<u64>,
    /// Its target in compact form.
    pub bits: u32,
    /// The time of the first block in its adjustment interval.
    pub interval_start_time: u32,
    /// The target of the first block in its adjustment interval, in compact form.
    pub interval_start_bits: u32,
    /// The target of the last block in the interval that did not use the test network's easy target.
    pub last_hard_bits: u32,
}

/// Why a header does not follow the cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The block has another parent.
    #[error("previous hash: expected {expected}, got {got}")]
    PreviousHash {
        /// The cursor's hash.
        expected: BlockHash,
        /// The header's.
        got: BlockHash,
    },
    /// The difficulty rule asks for another target.
    #[error("bits: expected {expected:#010x}, got {got:#010x}")]
    Bits {
        /// What the rule gives.
        expected: u32,
        /// The header's.
        got: u32,
    },
    /// The hash is above the target.
    #[error("proof of work: hash {hash} is above the target {bits:#010x}")]
    ProofOfWork {
        /// The block's hash.
        hash: BlockHash,
        /// The target in compact form.
        bits: u32,
    },
    /// The time is too early.
    #[error("time: expected at least {least}, got {got}")]
    Time {
        /// The earliest allowed; more than a header can say where the median is the last second there is.
        least: u64,
        /// The header's.
        got: u32,
    },
    /// Heights end here.
    #[error("height: {height} is the last one")]
    Height {
        /// The cursor's height.
        height: u32,
    },
}

impl L1Network {
    /// Gives the easiest target, in compact form.
    pub const fn easiest_bits(self) -> u32 {
        match self {
            Self::Bitcoin | Self::Testnet4 => 0x1d00_ffff,
            Self::Signet => 0x1e03_77ae,
            Self::Regtest => 0x207f_ffff,
        }
    }

    /// Gives the blocks between two halvings of the subsidy.
    pub const fn halving_interval(self) -> u32 {
        match self {
            Self::Regtest => 150,
            _ => 210_000,
        }
    }
}

impl L1Cursor {
    /// Gives the median of the last eleven times (BIP-0113), seconds since 1970.
    pub fn median_time_past(&self) -> u32 {
        median(self.times.clone())
    }

    /// Gives the median of the last eleven blocks' average fee rates, sat per 1,000 vB.
    pub fn median_fee_rate(&self) -> u64 {
        median(self.fee_rates.clone())
    }

    /// Checks of the next block what its hash alone can show: that it has the work that the easiest header needs which
    /// may follow.
    ///
    /// The machine asks it of its advice before it asks for the block, so that nobody makes up a block for less.
    ///
    /// # Errors
    /// [`HeaderError::ProofOfWork`], [`HeaderError::Height`].
    pub fn verify_work(&self, network: L1Network, hash: &BlockHash) -> Result<(), HeaderError> {
        // Only the test network looks at the time, and lets a late block be the easiest.
        let bits = self.expected_bits(network, self.next_height()?, u32::MAX);
        verify_target(bits, hash)?;
        Ok(())
    }

    fn next_height(&self) -> Result<u32, HeaderError> {
        let height = self.height;
        height.checked_add(1).ok_or(HeaderError::Height { height })
    }

    /// Moves to the next block, whose average fee rate is `fee_rate` sat per 1,000 vB.
    ///
    /// # Errors
    /// Where the header breaks a rule; the cursor is unchanged then.
    pub fn advance(
        &mut self,
        network: L1Network,
        header: &L1Header,
        fee_rate: u64,
    ) -> Result<(), HeaderError> {
        let height = self.next_height()?;
        let work = self.verify(network, height, header)?;
        let starts_interval = height.is_multiple_of(ADJUSTMENT_INTERVAL);
        let is_easy = network == L1Network::Testnet4 && header.bits == network.easiest_bits();
        if starts_interval {
            self.interval_start_time = header.time;
            self.interval_start_bits = header.bits;
        }
        if starts_interval || !is_easy {
            self.last_hard_bits = header.bits;
        }
        self.hash = header.hash();
        self.height = height;
        self.work = self.work.saturating_add(work);
        self.bits = header.bits;
        push_window(&mut self.times, header.time);
        push_window(&mut self.fee_rates, fee_rate);
        Ok(())
    }

    fn verify(&self, network: L1Network, height: u32, header: &L1Header) -> Result<U256, HeaderError> {
        if header.previous_hash != self.hash {
            return Err(HeaderError::PreviousHash {
                expected: self.hash,
                got: header.previous_hash,
            });
        }
        let expected = self.expected_bits(network, height, header.time);
        if header.bits != expected {
            return Err(HeaderError::Bits {
                expected,
                got: header.bits,
            });
        }
        let least = self.least_time(network, height);
        if u64::from(header.time) < least {
            return Err(HeaderError::Time {
                least,
                got: header.time,
            });
        }
        Ok(verify_target(header.bits, &header.hash())?.work())
    }

    fn least_time(&self, network: L1Network, height: u32) -> u64 {
        let after_median = u64::from(self.median_time_past()).saturating_add(1);
        let limits_timewarp = network == L1Network::Testnet4 && height.is_multiple_of(ADJUSTMENT_INTERVAL);
        let last = self.times.last().copied().unwrap_or_default();
        if limits_timewarp {
            after_median.max(last.saturating_sub(MAX_TIMEWARP).into())
        } else {
            after_median
        }
    }

    fn expected_bits(&self, network: L1Network, height: u32, time: u32) -> u32 {
        if network == L1Network::Regtest {
            return self.bits;
        }
        if height.is_multiple_of(ADJUSTMENT_INTERVAL) {
            return self.adjusted_bits(network);
        }
        if network != L1Network::Testnet4 {
            return self.bits;
        }
        let last = self.times.last().copied().unwrap_or_default();
        if time > last.saturating_add(EASY_BLOCK_AFTER) {
            network.easiest_bits()
        } else {
            self.last_hard_bits
        }
    }

    fn adjusted_bits(&self, network: L1Network) -> u32 {
        let last = self.times.last().copied().unwrap_or_default();
        // A negative span counts as the shortest, as in Bitcoin Core.
        let span = last.saturating_sub(self.interval_start_time);
        let span = span.clamp(TARGET_TIMESPAN / 4, TARGET_TIMESPAN.saturating_mul(4));
        // BIP-0094: from the interval's first block, which never has the easy target.
        let base = if network == L1Network::Testnet4 {
            self.interval_start_bits
        } else {
            self.bits
        };
        let easiest = Target::from_compact(network.easiest_bits())
            .map(Target::number)
            .unwrap_or_default();
        let base = Target::from_compact(base).map(Target::number).unwrap_or(easiest);
        let scaled = base
            .saturating_mul(U256::from(span))
            .checked_div(U256::from(TARGET_TIMESPAN));
        Target::new(scaled.unwrap_or(easiest).min(easiest)).to_compact()
    }
}

fn verify_target(bits: u32, hash: &BlockHash) -> Result<Target, HeaderError> {
    let target = Target::from_compact(bits).filter(|target| target.is_met_by(hash));
    target.ok_or(HeaderError::ProofOfWork { hash: *hash, bits })
}

fn push_window<T>(window: &mut Vec<T>, value: T) {
    window.push(value);
    let excess = window.len().saturating_sub(MEDIAN_WINDOW);
    window.drain(..excess);
}

fn median<T: Ord + Copy + Default>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use proptest::prelude::*;

    fn cursor(bits: u32) -> L1Cursor {
        L1Cursor {
            hash: B256::ZERO,
            height: 2014,
            work: U256::ZERO,
            times: vec![1_000_000],
            fee_rates: vec![1000],
            bits,
            interval_start_time: 0,
            interval_start_bits: bits,
            last_hard_bits: bits,
        }
    }

    #[test]
    fn adjusts_like_mainnet_block_32256() {
        // The first adjustment upwards: from 0x1d00ffff to 0x1d00d86a, with the interval's real times.
        let mut cursor = cursor(0x1d00_ffff);
        cursor.height = 32_255;
        cursor.interval_start_time = 1_261_130_161;
        cursor.times = vec![1_262_152_739];
        assert_eq!(cursor.expected_bits(L1Network::Bitcoin, 32_256, 0), 0x1d00_d86a);
    }

    #[test]
    fn adjustment_is_clamped_both_ways() {
        let mut cursor = cursor(0x1c05_a3f4);
        cursor.interval_start_time = 0;
        cursor.times = vec![u32::MAX];
        let slow = Target::from_compact(cursor.adjusted_bits(L1Network::Bitcoin)).unwrap();
        assert_eq!(slow.to_compact(), 0x1c16_8fd0);
        cursor.interval_start_time = u32::MAX;
        cursor.times = vec![0];
        assert_eq!(cursor.adjusted_bits(L1Network::Bitcoin), 0x1c01_68fd);
    }

    #[test]
    fn testnet4_allows_an_easy_block_only_when_late() {
        let cursor = cursor(0x1c05_a3f4);
        assert_eq!(
            cursor.expected_bits(L1Network::Testnet4, 2015, 1_001_200),
            0x1c05_a3f4
        );
        assert_eq!(
            cursor.expected_bits(L1Network::Testnet4, 2015, 1_001_201),
            0x1d00_ffff
        );
    }

    proptest! {
        /// What a hash must show is what the easiest header of any time must.
        #[test]
        fn a_hash_that_any_header_may_have_has_the_work(
            network in prop::sample::select(vec![
                L1Network::Bitcoin, L1Network::Testnet4, L1Network::Signet, L1Network::Regtest,
            ]),
            height in 2_010_u32..2_020,
            last in any::<u32>(),
            time in any::<u32>(),
            steps in -2_000_i64..2_000,
        ) {
            let mut cursor = cursor(0x1c05_a3f4);
            (cursor.height, cursor.times) = (height - 1, vec![last]);
            let near = u32::try_from(i64::from(last) + steps).unwrap_or(last);
            let work = |bits| Target::from_compact(bits).unwrap().number();
            let most = work(cursor.expected_bits(network, height, u32::MAX));
            for time in [time, near] {
                prop_assert!(work(cursor.expected_bits(network, height, time)) <= most);
            }
            let hash = |number: U256| B256::from(number.to_le_bytes());
            prop_assert!(cursor.verify_work(network, &hash(most)).is_ok());
            let above = cursor.verify_work(network, &hash(most + U256::from(1)));
            let is_refused = matches!(above, Err(HeaderError::ProofOfWork { .. }));
            prop_assert!(is_refused);
        }
    }

    #[test]
    fn refuses_without_a_change() {
        let mut cursor = cursor(0x207f_ffff);
        let before = cursor.clone();
        let header = L1Header {
            version: 1,
            previous_hash: B256::repeat_byte(1),
            merkle_root: B256::ZERO,
            time: 2_000_000,
            bits: 0x207f_ffff,
            nonce: 0,
        };
        let error = cursor.advance(L1Network::Regtest, &header, 0).unwrap_err();
        assert!(matches!(error, HeaderError::PreviousHash { .. }));
        let wrong_bits = L1Header {
            previous_hash: B256::ZERO,
            bits: 0x1d00_ffff,
            ..header
        };
        assert!(matches!(
            cursor.advance(L1Network::Regtest, &wrong_bits, 0),
            Err(HeaderError::Bits {
                expected: 0x207f_ffff,
                got: 0x1d00_ffff
            })
        ));
        let early = L1Header {
            previous_hash: B256::ZERO,
            time: 1_000_000,
            ..header
        };
        assert!(matches!(
            cursor.advance(L1Network::Regtest, &early, 0),
            Err(HeaderError::Time {
                least: 1_000_001,
                got: 1_000_000
            })
        ));
        assert_eq!(cursor, before);
    }

    #[test]
    fn no_time_is_above_a_median_at_the_last_second() {
        let mut cursor = L1Cursor {
            times: vec![u32::MAX],
            ..cursor(0x207f_ffff)
        };
        let header = L1Header {
            version: 2,
            previous_hash: B256::ZERO,
            merkle_root: B256::ZERO,
            time: u32::MAX,
            bits: 0x207f_ffff,
            nonce: 0,
        };
        let error = cursor.advance(L1Network::Regtest, &header, 0);
        assert!(matches!(error, Err(HeaderError::Time { got: u32::MAX, .. })));
    }
}
