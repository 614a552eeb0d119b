//! The bytes of a row (docs/state-tree.md, "Rows").

use alloc::vec::Vec;
use alloy_primitives::{B256, KECCAK256_EMPTY};

use super::super::hash::{EMPTY, STEM_TAG, halves, join};
use super::super::update::{parse_stem, stem_word};
use super::super::{Node, NodePath, Position, Stem};
use super::Row;
use super::heap::Heap;
use super::key::{ROW_LEVELS, RowKey, STEM_NUMBERS};

/// An entry's first byte from here on is a stem's: plus its levels below the row's root.
const STEM_ENTRY: u8 = 1 << ROW_LEVELS;

/// The number of the first pair of values in a stem row.
const PAIR_NUMBERS: u8 = 128;

/// What a trunk row is computed from, from left to right.
enum Entry {
    /// The root of the row below with these bits.
    Below { bits: u8, hash: B256 },
    /// A stem, `level` levels below the row's root.
    Stem { level: u8, stem: Stem, root: B256 },
}

/// Reads a row; `None` when the bytes are not a row.
pub(super) fn decode(key: &RowKey, bytes: &[u8]) -> Option<Row> {
    match key {
        RowKey::Trunk(position) => trunk_nodes(*position, &entries(bytes)?),
        RowKey::Stem(_) => value_nodes(&values(bytes)?),
    }
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

fn trunk_nodes(top: Position, entries: &[Entry]) -> Option<Row> {
    let mut heap = Heap::new();
    let (mut lowest, mut stems) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Entry::Below { bits, hash } => {
                heap.set(STEM_NUMBERS | bits, *hash)?;
                lowest.push(STEM_NUMBERS | bits);
            }
            Entry::Stem { level, stem, root } if *level < ROW_LEVELS && top.covers(stem) => {
                let position = Position::of(stem, top.depth().checked_add(*level)?);
                let (_, number) = RowKey::of(&NodePath::Trunk(position));
                stems.push((number, join(stem_word(stem), *root)));
            }
            Entry::Stem { .. } => return None,
        }
    }
    let inner = heap.add(stems.iter().map(|(number, node)| (number | STEM_NUMBERS, *node)));
    let outer = stems
        .iter()
        .zip(inner)
        .map(|((number, _), hash)| (*number, join(hash, STEM_TAG)));
    let outer = heap.add(outer);
    let mut numbers: Vec<u8> = stems.iter().map(|(number, _)| *number).collect();
    for (number, hash) in numbers.iter().zip(outer) {
        heap.set(*number, hash)?;
    }
    if lowest.is_empty() {
        let level = numbers.iter().filter_map(|number| number.checked_ilog2()).max()?;
        (lowest, numbers) = numbers
            .into_iter()
            .partition(|number| number.checked_ilog2() == Some(level));
    }
    lowest.sort_unstable();
    heap.finish(lowest, &numbers)
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

fn value_nodes(values: &[(u8, B256)]) -> Option<Row> {
    let mut pairs: Vec<(u8, Node)> = Vec::with_capacity(values.len());
    for (sub_index, value) in values {
        let number = PAIR_NUMBERS | (sub_index >> 1);
        if pairs.last().is_none_or(|(last, _)| *last != number) {
            pairs.push((number, join(EMPTY, EMPTY)));
        }
        let (left, right) = pairs.last_mut()?.1.split_at_mut(32);
        let half = if sub_index & 1 == 0 { left } else { right };
        half.copy_from_slice(value.as_slice());
    }
    let numbers: Vec<u8> = pairs.iter().map(|(number, _)| *number).collect();
    let mut heap = Heap::new();
    let hashes = heap.add(pairs);
    for (number, hash) in numbers.iter().zip(hashes) {
        heap.set(*number, hash)?;
    }
    heap.finish(numbers, &[])
}

fn write_values(row: &Row, out: &mut Vec<u8>) {
    let pairs = row
        .nodes
        .iter()
        .filter_map(|(number, node)| Some((number.checked_sub(PAIR_NUMBERS)?, node)));
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
