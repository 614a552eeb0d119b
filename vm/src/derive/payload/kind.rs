//! Kinds: what transactions have in common, written once.

use alloc::vec::Vec;

use super::PayloadError;
use super::wire::Reader;
#[cfg(feature = "std")]
use super::wire::put_varint;

const CREATES: u8 = 1 << 3;
const SHAPE_SHIFT: u32 = 4;
const HAS_ACCESS_LIST: u8 = 1 << 6;

/// Bytes of calldata in front of its words.
pub(super) const SELECTOR_BYTES: u64 = 4;

/// Bytes of a word.
pub(super) const WORD_BYTES: u64 = 32;

/// The type of a transaction, as far as its fields go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum TypeCode {
    /// Legacy without a chain id.
    Legacy,
    /// Legacy with a chain id (EIP-155).
    LegacyChain,
    /// EIP-2930.
    AccessList,
    /// EIP-1559.
    DynamicFee,
    /// EIP-7702.
    SetCode,
}

impl TypeCode {
    const ALL: [Self; 5] = [
        Self::Legacy,
        Self::LegacyChain,
        Self::AccessList,
        Self::DynamicFee,
        Self::SetCode,
    ];

    /// Whether there is a tip beside the fee cap.
    pub(super) const fn has_tip(self) -> bool {
        matches!(self, Self::DynamicFee | Self::SetCode)
    }
}

/// How calldata is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Shape {
    /// None.
    Empty,
    /// A selector and words, as the ABI has it.
    Words {
        /// The first four bytes.
        selector: [u8; 4],
        /// The number of words.
        words: u64,
    },
    /// Bytes without known structure.
    Bytes {
        /// Their number.
        length: u64,
    },
}

impl Shape {
    /// Bytes of the calldata.
    pub(super) const fn length(&self) -> u64 {
        match *self {
            Self::Empty => 0,
            Self::Words { words, .. } => words.saturating_mul(WORD_BYTES).saturating_add(SELECTOR_BYTES),
            Self::Bytes { length } => length,
        }
    }
}

/// What transactions of one kind have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Kind {
    /// The transaction's type.
    pub(super) type_code: TypeCode,
    /// Whether it creates a contract.
    pub(super) creates: bool,
    /// Whether it has an access list that is not empty.
    pub(super) has_access_list: bool,
    /// How its calldata is laid out.
    pub(super) shape: Shape,
}

impl Kind {
    /// Reads a kind, refusing those that no transaction has.
    pub(super) fn read(column: &mut Reader<'_>) -> Result<Self, PayloadError> {
        let head = column.byte()?;
        let type_code = TypeCode::ALL
            .get(usize::from(head & 0x07))
            .copied()
            .ok_or_else(|| column.invalid())?;
        let creates = head & CREATES != 0;
        let has_access_list = head & HAS_ACCESS_LIST != 0;
        let legacy = matches!(type_code, TypeCode::Legacy | TypeCode::LegacyChain);
        if (creates && type_code == TypeCode::SetCode) || (has_access_list && legacy) || head & 0x80 != 0 {
            return Err(column.invalid());
        }
        let shape = match (head >> SHAPE_SHIFT) & 0x03 {
            0 => Shape::Empty,
            1 => Shape::Words {
                selector: column.array()?,
                words: column.varint()?,
            },
            2 => match column.varint()? {
                0 => return Err(column.invalid()),
                length => Shape::Bytes { length },
            },
            _ => return Err(column.invalid()),
        };
        Ok(Self {
            type_code,
            creates,
            has_access_list,
            shape,
        })
    }

    /// Writes the kind.
    #[cfg(feature = "std")]
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let shape = match self.shape {
            Shape::Empty => 0u8,
            Shape::Words { .. } => 1,
            Shape::Bytes { .. } => 2,
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            self.type_code as u8
                | flag(self.creates, CREATES)
                | flag(self.has_access_list, HAS_ACCESS_LIST)
                | (shape << SHAPE_SHIFT),
        );
        match self.shape {
            Shape::Empty => {}
            Shape::Words { selector, words } => {
                out.extend_from_slice(&selector);
                put_varint(out, words);
            }
            Shape::Bytes { length } => put_varint(out, length),
        }
    }
}

/// The transactions of each kind, as places in chain order.
pub(super) fn group(kind_of: &[usize], kinds: usize) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    groups.resize_with(kinds, Vec::new);
    for (place, kind) in kind_of.iter().enumerate() {
        if let Some(group) = groups.get_mut(*kind) {
            group.push(place);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::*;
    use alloc::vec;

    #[test]
    fn kinds_are_read_as_put() {
        let shapes = [
            Shape::Empty,
            Shape::Words {
                selector: [1, 2, 3, 4],
                words: 0,
            },
            Shape::Words {
                selector: [0xff; 4],
                words: u64::MAX,
            },
            Shape::Bytes { length: 1 },
            Shape::Bytes { length: 1 << 40 },
        ];
        for type_code in TypeCode::ALL {
            for shape in shapes {
                for (creates, has_access_list) in [(false, false), (true, false), (false, true), (true, true)]
                {
                    let kind = Kind {
                        type_code,
                        creates,
                        has_access_list,
                        shape,
                    };
                    let mut bytes = Vec::new();
                    kind.put(&mut bytes);
                    let mut reader = Reader::new(Column::Kinds, &bytes);
                    let possible = (!creates || type_code != TypeCode::SetCode)
                        && (!has_access_list || (type_code as u8) >= 2);
                    match Kind::read(&mut reader) {
                        Ok(read) => {
                            assert_eq!(read, kind);
                            assert!(possible);
                            reader.end().unwrap();
                        }
                        Err(error) => {
                            assert_eq!(
                                error,
                                PayloadError::Invalid {
                                    column: Column::Kinds
                                }
                            );
                            assert!(!possible);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn impossible_kinds_are_refused() {
        for bytes in [vec![5], vec![7], vec![0x30], vec![0x80], vec![0x20, 0]] {
            let mut reader = Reader::new(Column::Kinds, &bytes);
            assert_eq!(
                Kind::read(&mut reader),
                Err(PayloadError::Invalid {
                    column: Column::Kinds
                })
            );
        }
    }

    #[test]
    fn groups_keep_chain_order() {
        assert_eq!(
            group(&[1, 0, 1, 3, 0], 4),
            vec![vec![1, 4], vec![0, 2], vec![], vec![3]]
        );
    }
}
