//! Which row a node is in.

use alloc::vec::Vec;

use super::super::path::bit;
use super::super::{NodePath, Position, Stem};

/// Levels of the trunk in one row: a row of 64 hashes is 2 KB, half a database page.
pub const ROW_LEVELS: u8 = 6;

/// The numbers of the inner nodes of stems in a row follow those of the trunk.
pub(super) const STEM_NUMBERS: u8 = 1 << ROW_LEVELS;

/// The key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// [`ROW_LEVELS`] levels of the trunk from this position down. Its depth is a multiple of [`ROW_LEVELS`].
    Trunk(Position),
    /// The values under a stem.
    Stem(Stem),
}

impl RowKey {
    /// Finds the row of a node, and the node's number in it.
    pub(super) fn of(path: &NodePath) -> (Self, u8) {
        match path {
            NodePath::Trunk(position) => trunk(position),
            NodePath::Stem(position) => {
                let (key, number) = trunk(position);
                (key, number | STEM_NUMBERS)
            }
            NodePath::Subtree { stem, level, index } => {
                (Self::Stem(*stem), 1u8.wrapping_shl((*level).into()) | index)
            }
        }
    }

    /// Encodes the key: 0 and the bits of the position, a one bit, and zero bits to the end of the byte; or 1 and the stem.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Trunk(position) => NodePath::Trunk(*position).to_bytes(),
            Self::Stem(stem) => [1].iter().chain(stem.iter()).copied().collect(),
        }
    }

    /// Decodes a key; `None` when the bytes are not what [`Self::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (1, stem) => Stem::try_from(stem).ok().map(Self::Stem),
            _ => match NodePath::from_bytes(bytes)? {
                NodePath::Trunk(position) if position.depth().is_multiple_of(ROW_LEVELS) => {
                    Some(Self::Trunk(position))
                }
                _ => None,
            },
        }
    }
}

fn trunk(position: &Position) -> (RowKey, u8) {
    let top = position
        .depth()
        .saturating_sub(position.depth().wrapping_rem(ROW_LEVELS));
    let number =
        (top..position.depth()).fold(1u8, |n, depth| (n << 1) | u8::from(bit(position.prefix(), depth)));
    (RowKey::Trunk(Position::of(position.prefix(), top)), number)
}
