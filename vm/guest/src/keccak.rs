//! Keccak-256 (FIPS 202's permutation, Ethereum's padding) on 32-bit words.
//!
//! Lanes are pairs of words, low word first. Six lanes are kept inverted, which saves most of chi's negations ("lane
//! complementing" in the Keccak implementation overview, 2.2). On a machine without rotations, splitting lanes by
//! even and odd bits would gain less than it costs.

#![expect(
    clippy::indexing_slicing,
    reason = "lanes are constants below 25, rounds below 24"
)]

/// Words of the state that a message block goes into: 136 bytes.
const RATE_WORDS: usize = 34;
const RATE: usize = 4 * RATE_WORDS;
/// Lanes that are kept inverted.
const INVERTED: [usize; 6] = [1, 2, 8, 12, 17, 20];

/// What iota adds, by round.
const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// The state: 25 lanes.
type State = [u32; 50];

/// A lane: low word, high word.
#[derive(Clone, Copy)]
struct Lane(u32, u32);

impl Lane {
    #[inline(always)]
    fn of(state: &State, lane: usize) -> Self {
        let at = lane.wrapping_mul(2);
        Self(state[at], state[at.wrapping_add(1)])
    }

    #[inline(always)]
    fn put(self, state: &mut State, lane: usize) {
        let at = lane.wrapping_mul(2);
        state[at] = self.0;
        state[at.wrapping_add(1)] = self.1;
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(self.0 ^ other.0, self.1 ^ other.1)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0, self.1 & other.1)
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0, self.1 | other.1)
    }

    #[inline(always)]
    fn not(self) -> Self {
        Self(!self.0, !self.1)
    }

    #[inline(always)]
    fn rotated(self, by: u32) -> Self {
        let (low, high) = if by < 32 {
            (self.0, self.1)
        } else {
            (self.1, self.0)
        };
        match by % 32 {
            0 => Self(low, high),
            by => {
                let back = 32_u32.wrapping_sub(by);
                let join = |up: u32, down: u32| up.wrapping_shl(by) | down.wrapping_shr(back);
                Self(join(low, high), join(high, low))
            }
        }
    }
}

/// One round, from one state into another.
#[inline(always)]
fn round(from: &State, to: &mut State, constant: u64) {
    let column = |x: usize| {
        let lane = |y: usize| Lane::of(from, x.wrapping_add(y));
        lane(0).xor(lane(5)).xor(lane(10)).xor(lane(15)).xor(lane(20))
    };
    let (c0, c1, c2, c3, c4) = (column(0), column(1), column(2), column(3), column(4));
    let d = [
        c4.xor(c1.rotated(1)),
        c0.xor(c2.rotated(1)),
        c1.xor(c3.rotated(1)),
        c2.xor(c4.rotated(1)),
        c3.xor(c0.rotated(1)),
    ];
    // Theta's second half, rho and pi of one lane.
    let moved = |lane: usize, by: u32| Lane::of(from, lane).xor(d[lane % 5]).rotated(by);

    let (a, e, i, o, u) = (
        moved(0, 0),
        moved(6, 44),
        moved(12, 43),
        moved(18, 21),
        moved(24, 14),
    );
    let iota = Lane(constant as u32, (constant >> 32) as u32);
    a.xor(e.or(i)).xor(iota).put(to, 0);
    e.xor(i.not().or(o)).put(to, 1);
    i.xor(o.and(u)).put(to, 2);
    o.xor(u.or(a)).put(to, 3);
    u.xor(a.and(e)).put(to, 4);

    let (a, e, i, o, u) = (
        moved(3, 28),
        moved(9, 20),
        moved(10, 3),
        moved(16, 45),
        moved(22, 61),
    );
    a.xor(e.or(i)).put(to, 5);
    e.xor(i.and(o)).put(to, 6);
    i.xor(o.or(u.not())).put(to, 7);
    o.xor(u.or(a)).put(to, 8);
    u.xor(a.and(e)).put(to, 9);

    let (a, e, i, o, u) = (
        moved(1, 1),
        moved(7, 6),
        moved(13, 25),
        moved(19, 8),
        moved(20, 18),
    );
    let inverted = o.not();
    a.xor(e.or(i)).put(to, 10);
    e.xor(i.and(o)).put(to, 11);
    i.xor(inverted.and(u)).put(to, 12);
    inverted.xor(u.or(a)).put(to, 13);
    u.xor(a.and(e)).put(to, 14);

    let (a, e, i, o, u) = (
        moved(4, 27),
        moved(5, 36),
        moved(11, 10),
        moved(17, 15),
        moved(23, 56),
    );
    let inverted = o.not();
    a.xor(e.and(i)).put(to, 15);
    e.xor(i.or(o)).put(to, 16);
    i.xor(inverted.or(u)).put(to, 17);
    inverted.xor(u.and(a)).put(to, 18);
    u.xor(a.or(e)).put(to, 19);

    let (a, e, i, o, u) = (
        moved(2, 62),
        moved(8, 55),
        moved(14, 39),
        moved(15, 41),
        moved(21, 2),
    );
    let inverted = e.not();
    a.xor(inverted.and(i)).put(to, 20);
    inverted.xor(i.or(o)).put(to, 21);
    i.xor(o.and(u)).put(to, 22);
    o.xor(u.or(a)).put(to, 23);
    u.xor(a.and(e)).put(to, 24);
}

/// Keccak-f[1600] of a state with inverted lanes.
fn permute(state: &mut State) {
    let mut other = [0; 50];
    for [even, odd] in ROUND_CONSTANTS.as_chunks::<2>().0 {
        round(state, &mut other, *even);
        round(&other, state, *odd);
    }
}

/// Puts a block of the message into the state.
fn absorb(state: &mut State, block: &[u32; RATE_WORDS]) {
    for (to, from) in state.iter_mut().zip(block) {
        *to ^= from;
    }
    permute(state);
}

/// Hashes bytes.
pub fn keccak256(bytes: &[u8]) -> [u32; 8] {
    let mut state = [0; 50];
    for lane in INVERTED {
        Lane(u32::MAX, u32::MAX).put(&mut state, lane);
    }
    let (blocks, rest) = bytes.as_chunks::<RATE>();
    let mut block = [0; RATE_WORDS];
    for bytes in blocks {
        fill(&mut block, bytes);
        absorb(&mut state, &block);
    }
    block = [0; RATE_WORDS];
    fill(&mut block, rest);
    if let Some(word) = block.get_mut(rest.len() / 4) {
        *word ^= 1_u32.wrapping_shl(8_u32.wrapping_mul(rest.len() as u32 % 4));
    }
    block[RATE_WORDS - 1] ^= 0x8000_0000;
    absorb(&mut state, &block);
    for lane in INVERTED {
        Lane::of(&state, lane).not().put(&mut state, lane);
    }
    let mut hash = [0; 8];
    for (to, from) in hash.iter_mut().zip(&state) {
        *to = from.to_le();
    }
    hash
}

/// Copies at most a block's bytes to its start.
#[allow(unsafe_code, reason = "a safe conversion would copy byte by byte")]
fn fill(block: &mut [u32; RATE_WORDS], bytes: &[u8]) {
    const { assert!(cfg!(target_endian = "little"), "bytes are taken for words") };
    let len = bytes.len().min(RATE);
    // SAFETY: both have this many bytes, and every pattern of them is a word.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), block.as_mut_ptr().cast(), len) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn hash(bytes: &[u8]) -> Vec<u8> {
        keccak256(bytes)
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    proptest! {
        #[test]
        fn agrees_with_the_library(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(hash(&bytes), alloy_primitives::keccak256(&bytes).to_vec());
        }
    }

    #[test]
    fn every_length_around_a_block() {
        for len in 0..300 {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            assert_eq!(
                hash(&bytes),
                alloy_primitives::keccak256(&bytes).to_vec(),
                "{len}"
            );
        }
    }
}
