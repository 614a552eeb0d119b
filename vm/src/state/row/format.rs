//! The bytes of a row (docs/state-tree.md, "Rows").

use alloc::vec::Vec;
use alloy_primitives::{B256, KECCAK256_EMPTY};

use super::super::hash::{EMPTY, STEM_TAG, halves};
use super::super::path::{SUBTREE_LEVELS, bit};
use super::super::pending::{Child, Pending};
use super::super::update::{parse_stem, stem_word};
use super::super::{NodePath, Position, Stem};
use super::Row;
use super::key::{ROW_LEVELS, RowKey, STEM_NUMBERS};

/// An entry's first byte from here on is a stem's: plus its levels below the row's root.
const STEM_ENTRY: u8 = 1 << ROW_LEVELS;

/// What a trunk row is computed from, from left to right.
enum Entry {
    /// The root of the row below with these bits.
    Below { bits: u8, hash: B256 },
    /// A stem, `level` levels below the row's root.
    Stem { level: u8, stem: Stem, root: B256 },
}

impl Entry {
    fn turns_right(&self, position: Position, top: u8) -> bool {
        match self {
            Self::Below { bits, .. } => {
                let level = position.depth().saturating_sub(top);
                (*bits << level) & (1 << ROW_LEVELS >> 1) != 0
            }
            Self::Stem { stem, .. } => bit(stem, position.depth()),
        }
    }
}

/// Reads a row; `None` when the bytes are not a row.
pub(super) fn decode(key: &RowKey, bytes: &[u8]) -> Option<Row> {
    let mut pending = Pending::default();
    let top = match key {
        RowKey::Trunk(position) => trunk_nodes(&mut pending, *position, *position, &entries(bytes)?)?,
        RowKey::Stem(stem) => value_nodes(&mut pending, stem, 0, 0, &values(bytes)?),
    };
    let (root, nodes) = pending.finish(top);
    let mut nodes: Vec<_> = nodes
        .into_iter()
        .filter_map(|(path, node)| Some((RowKey::of(&path).1, node?)))
        .collect();
    nodes.sort_unstable_by_key(|(number, _)| *number);
    Some(Row { root, nodes })
}

/// Writes a row; `None` when nothing is left in it.
pub(super) fn encode(key: &RowKey, row: &Row) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match key {
        RowKey::Trunk(position) => write_trunk(row, *position, 1, 0, &mut out),
        RowKey::Stem(_) => write_values(row, &mut out),
    }
    (!out.is_empty()).then_some(out)
}

fn entries(mut bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        let (entry, rest) = if let Some(level) = first.checked_sub(STEM_ENTRY) {
            let (stem, rest) = rest.split_first_chunk::<31>()?;
            let (root, rest) = rest.split_first_chunk::<32>()?;
            (
                Entry::Stem {
                    level,
                    stem: stem.into(),
                    root: root.into(),
                },
                rest,
            )
        } else {
            let (hash, rest) = rest.split_first_chunk::<32>()?;
            (
                Entry::Below {
                    bits: *first,
                    hash: hash.into(),
                },
                rest,
            )
        };
        bytes = rest;
        entries.push(entry);
    }
    (!entries.is_empty()).then_some(entries)
}

fn trunk_nodes(pending: &mut Pending, top: Position, position: Position, entries: &[Entry]) -> Option<Child> {
    let level = position.depth().saturating_sub(top.depth());
    match entries {
        [] => return Some(Child::EMPTY),
        [
            Entry::Stem {
                level: at,
                stem,
                root,
            },
        ] if *at == level && level < ROW_LEVELS && position.covers(stem) => {
            let word = Child::Hash(stem_word(stem));
            let inner = pending.push(NodePath::Stem(position), word, Child::Hash(*root));
            return Some(pending.push(NodePath::Trunk(position), inner, Child::Hash(STEM_TAG)));
        }
        [Entry::Below { hash, .. }] if level == ROW_LEVELS => return Some(Child::Hash(*hash)),
        _ if level >= ROW_LEVELS => return None,
        _ => {}
    }
    let split = entries.partition_point(|entry| !entry.turns_right(position, top.depth()));
    let (left, right) = entries.split_at_checked(split)?;
    let left = trunk_nodes(pending, top, position.child(false)?, left)?;
    let right = trunk_nodes(pending, top, position.child(true)?, right)?;
    Some(pending.push(NodePath::Trunk(position), left, right))
}

fn write_trunk(row: &Row, position: Position, number: u8, level: u8, out: &mut Vec<u8>) {
    let Some(node) = row.get(number) else {
        return;
    };
    let (left, right) = halves(node);
    if right == STEM_TAG {
        let stem = row
            .get(number | STEM_NUMBERS)
            .and_then(|node| parse_stem(position, node));
        if let Some((stem, root)) = stem {
            out.push(STEM_ENTRY | level);
            out.extend(stem.iter().chain(root.iter()));
        }
        return;
    }
    let below = level.saturating_add(1);
    for (is_right, hash) in [(false, left), (true, right)] {
        let child = number.wrapping_mul(2) | u8::from(is_right);
        if hash == EMPTY {
            continue;
        }
        if below == ROW_LEVELS {
            out.push(child & (STEM_ENTRY.wrapping_sub(1)));
            out.extend(hash.iter());
        } else if let Some(position) = position.child(is_right) {
            write_trunk(row, position, child, below, out);
        }
    }
}

fn values(mut bytes: &[u8]) -> Option<Vec<(u8, B256)>> {
    let mut values: Vec<(u8, B256)> = Vec::new();
    while let Some(([sub_index, len], rest)) = bytes.split_first_chunk::<2>() {
        let (digits, rest) = rest.split_at_checked((*len).into())?;
        let value = match digits {
            [] => KECCAK256_EMPTY,
            [0, ..] => return None,
            digits => pad(digits)?,
        };
        if values.last().is_some_and(|(last, _)| last >= sub_index) {
            return None;
        }
        values.push((*sub_index, value));
        bytes = rest;
    }
    (bytes.is_empty() && !values.is_empty()).then_some(values)
}

/// Puts zeros before the digits of a value.
fn pad(digits: &[u8]) -> Option<B256> {
    let mut value = B256::ZERO;
    let zeros = value.len().checked_sub(digits.len())?;
    value.get_mut(zeros..)?.copy_from_slice(digits);
    Some(value)
}

fn value_nodes(pending: &mut Pending, stem: &Stem, level: u8, index: u8, values: &[(u8, B256)]) -> Child {
    if values.is_empty() {
        return Child::EMPTY;
    }
    let height = SUBTREE_LEVELS.saturating_sub(1).saturating_sub(level);
    let split = values.partition_point(|(sub_index, _)| (sub_index >> height) & 1 == 0);
    let (left, right) = values.split_at_checked(split).unwrap_or((values, &[]));
    let (left, right) = if height == 0 {
        let value = |values: &[(u8, B256)]| Child::Hash(values.first().map_or(EMPTY, |(_, value)| *value));
        (value(left), value(right))
    } else {
        let (below, index) = (level.saturating_add(1), index.wrapping_mul(2));
        (
            value_nodes(pending, stem, below, index, left),
            value_nodes(pending, stem, below, index | 1, right),
        )
    };
    pending.push(
        NodePath::Subtree {
            stem: *stem,
            level,
            index,
        },
        left,
        right,
    )
}

fn write_values(row: &Row, out: &mut Vec<u8>) {
    let pairs = row
        .nodes
        .iter()
        .filter_map(|(number, node)| Some((number.checked_sub(128)?, node)));
    for (pair, node) in pairs {
        let (left, right) = halves(node);
        for (sub_index, value) in [(pair.wrapping_mul(2), left), (pair.wrapping_mul(2) | 1, right)] {
            if value == EMPTY {
                continue;
            }
            let zeros = value.iter().take_while(|byte| **byte == 0).count();
            let digits = if value == KECCAK256_EMPTY {
                &[]
            } else {
                value.get(zeros..).unwrap_or_default()
            };
            out.push(sub_index);
            out.push(digits.len() as u8);
            out.extend(digits);
        }
    }
}
