//! Where a node stands in the tree, and the bytes a database stores it under.

use alloc::vec::Vec;
use alloy_primitives::FixedBytes;
use core::cmp::Ordering;

/// The first 31 bytes of a tree key: the path to a group of 256 values.
pub type Stem = FixedBytes<31>;

/// The deepest position above a stem: the bits of a stem.
pub const MAX_DEPTH: u8 = 248;

/// Levels of nodes under a stem: the lowest holds pairs of the 256 values.
pub const SUBTREE_LEVELS: u8 = 8;

/// A position above or at the stems: the first `depth` bits of a stem, the rest zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    depth: u8,
    prefix: Stem,
}

impl Position {
    /// The root of the tree.
    pub const ROOT: Self = Self {
        depth: 0,
        prefix: Stem::ZERO,
    };

    /// Returns the position `depth` bits down the path to `stem`; at most [`MAX_DEPTH`].
    pub fn of(stem: &Stem, depth: u8) -> Self {
        let depth = depth.min(MAX_DEPTH);
        let mut prefix = *stem;
        for (i, byte) in prefix.iter_mut().enumerate() {
            let kept = usize::from(depth).saturating_sub(i.saturating_mul(8)).min(8);
            *byte &= !(0xffu16 >> kept) as u8;
        }
        Self { depth, prefix }
    }

    /// Returns the number of bits from the root.
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// Returns the bits, followed by zeros.
    pub fn prefix(&self) -> &Stem {
        &self.prefix
    }

    /// Returns the child on one side; `None` below [`MAX_DEPTH`].
    pub fn child(&self, right: bool) -> Option<Self> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let mut prefix = self.prefix;
        if right {
            set_bit(prefix.as_mut_slice(), self.depth);
        }
        Some(Self {
            depth: self.depth.saturating_add(1),
            prefix,
        })
    }

    /// Tells whether the path to `stem` goes through here.
    pub fn covers(&self, stem: &Stem) -> bool {
        Self::of(stem, self.depth).prefix == self.prefix
    }
}

/// Tells which way the path to `stem` turns at `depth`: `true` is right.
pub(super) fn bit(stem: &Stem, depth: u8) -> bool {
    stem.get(usize::from(depth >> 3))
        .is_some_and(|byte| byte & (0x80 >> (depth & 7)) != 0)
}

fn set_bit(bytes: &mut [u8], at: u8) {
    if let Some(byte) = bytes.get_mut(usize::from(at >> 3)) {
        *byte |= 0x80 >> (at & 7);
    }
}

/// The place of one node, independent of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodePath {
    /// An inner node above the stems, or the outer node of the stem that stands there.
    Trunk(Position),
    /// The inner node of the stem whose outer node is at this position.
    Stem(Position),
    /// A node under a stem. It does not move when the stem's position changes.
    Subtree {
        /// The stem.
        stem: Stem,
        /// 0 for the subtree's root to 7 for the pairs of values.
        level: u8,
        /// The node's number within its level, from the left; below `2^level`.
        index: u8,
    },
}

/// Bytes of the longest encoded path.
pub const MAX_PATH_LEN: usize = 33;

const TRUNK: u8 = 0;
const STEM: u8 = 1;
const SUBTREE: u8 = 2;

impl NodePath {
    /// Encodes the path: a byte for the kind, the bits of the path, a one bit, and zero bits to the end of the byte.
    ///
    /// Among the paths of one kind, those below a node are a contiguous range around it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let padded = self.padded();
        let len = padded
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last.saturating_add(1));
        padded.iter().take(len).copied().collect()
    }

    /// Decodes a path; `None` when the bytes are not what [`Self::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, path) = bytes.split_first()?;
        let last = path.last()?;
        let bits = path
            .len()
            .checked_mul(8)?
            .checked_sub(1)?
            .checked_sub(last.trailing_zeros() as usize)?;
        let bits = u8::try_from(bits).ok()?;
        let mut padded = [0u8; 32];
        padded.get_mut(..path.len())?.copy_from_slice(path);
        let stem = Stem::from_slice(padded.get(..31)?);
        let path = match *kind {
            TRUNK if bits <= MAX_DEPTH => Self::Trunk(Position::of(&stem, bits)),
            STEM if bits <= MAX_DEPTH => Self::Stem(Position::of(&stem, bits)),
            SUBTREE => {
                let level = bits.checked_sub(MAX_DEPTH)?;
                let index = u16::from(*padded.last()?) >> 8u8.saturating_sub(level);
                Self::Subtree {
                    stem,
                    level,
                    index: u8::try_from(index).ok()?,
                }
            }
            _ => return None,
        };
        (path.to_bytes() == bytes).then_some(path)
    }

    fn padded(&self) -> [u8; MAX_PATH_LEN] {
        let mut out = [0; MAX_PATH_LEN];
        let (kind, depth, prefix, last) = match self {
            Self::Trunk(position) => (TRUNK, position.depth, &position.prefix, 0),
            Self::Stem(position) => (STEM, position.depth, &position.prefix, 0),
            Self::Subtree { stem, level, index } => {
                let last = (u16::from(*index) << 8u8.saturating_sub(*level)) as u8;
                (SUBTREE, MAX_DEPTH.saturating_add(*level), stem, last)
            }
        };
        if let Some((first, path)) = out.split_first_mut() {
            *first = kind;
            for (to, from) in path.iter_mut().zip(prefix.iter().chain([&last])) {
                *to = *from;
            }
            set_bit(path, depth);
        }
        out
    }
}

impl Ord for NodePath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.padded().cmp(&other.padded())
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.depth == other.depth {
            true => self.prefix.cmp(&other.prefix),
            false => NodePath::Trunk(*self).cmp(&NodePath::Trunk(*other)),
        }
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialOrd for NodePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn any_path() -> impl Strategy<Value = NodePath> {
        (any::<[u8; 31]>(), 0u8..=248, 0u8..8, any::<u8>(), 0u8..3).prop_map(
            |(stem, depth, level, index, kind)| {
                let stem = Stem::from(stem);
                match kind {
                    0 => NodePath::Trunk(Position::of(&stem, depth)),
                    1 => NodePath::Stem(Position::of(&stem, depth)),
                    _ => NodePath::Subtree {
                        stem,
                        level,
                        index: index & ((1u16 << level) - 1) as u8,
                    },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn bytes_round_trip(path in any_path()) {
            let bytes = path.to_bytes();
            prop_assert!(bytes.len() <= MAX_PATH_LEN);
            prop_assert_eq!(NodePath::from_bytes(&bytes), Some(path));
        }

        #[test]
        fn bytes_are_canonical(bytes in prop::collection::vec(any::<u8>(), 0..36)) {
            if let Some(path) = NodePath::from_bytes(&bytes) {
                prop_assert_eq!(path.to_bytes(), bytes);
            }
        }

        #[test]
        fn order_is_that_of_the_bytes(a in any_path(), b in any_path()) {
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        }

        #[test]
        fn paths_below_surround_a_path(stem: [u8; 31], other: [u8; 31], a in 0u8..=248, b in 0u8..=248) {
            let (stem, other) = (Stem::from(stem), Stem::from(other));
            let (top, low) = (Position::of(&stem, a.min(b)), Position::of(&stem, a.max(b)));
            prop_assert!(top.covers(&stem) && top.covers(low.prefix()));
            // Nothing that is not below `top` sorts between `top` and something below it.
            let outside = Position::of(&other, a.max(b));
            if !top.covers(&other) {
                let (top, low, outside) =
                    (NodePath::Trunk(top), NodePath::Trunk(low), NodePath::Trunk(outside));
                prop_assert_eq!(outside < top, outside < low);
            }
        }
    }

    #[test]
    fn literal_bytes() {
        assert_eq!(NodePath::Trunk(Position::ROOT).to_bytes(), [0, 0x80]);
        assert_eq!(NodePath::Stem(Position::ROOT).to_bytes(), [1, 0x80]);
        let stem = Stem::repeat_byte(0xff);
        assert_eq!(NodePath::Trunk(Position::of(&stem, 7)).to_bytes(), [0, 0xff]);
        assert_eq!(
            NodePath::Trunk(Position::of(&stem, 8)).to_bytes(),
            [0, 0xff, 0x80]
        );
        let pair = NodePath::Subtree {
            stem,
            level: 7,
            index: 5,
        };
        assert_eq!(pair.to_bytes(), [vec![2], vec![0xff; 31], vec![0x0b]].concat());
    }

    #[test]
    fn a_position_at_the_depth_of_stems_has_no_child() {
        let position = Position::of(&Stem::repeat_byte(1), MAX_DEPTH);
        assert_eq!(position.child(true), None);
        assert_eq!(
            Position::ROOT.child(true).map(|p| (p.depth(), p.prefix()[0])),
            Some((1, 0x80))
        );
    }
}
