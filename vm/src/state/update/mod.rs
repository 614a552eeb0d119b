//! The update of the tree by a block's net changes.
//!
//! The shape of the new version is found first, top down, by reading only the nodes on the way to changed
//! values. It depends on which subtrees are empty, never on a hash, so all hashing is left to the end.

mod write;

use alloc::vec::Vec;
use alloy_primitives::B256;

use super::hash::{EMPTY, STEM_TAG, halves};
use super::path::{MAX_DEPTH, SUBTREE_LEVELS, bit};
use super::pending::{Child, Pending};
use super::{Node, NodePath, NodeReader, Position, StateChanges, Stem, TreeUpdate, UpdateError};
use write::{Write, writes};

/// Computes the tree after a block's net changes from the tree with this root.
///
/// The new root depends on the new state alone. Reversed changes lead back to the same root and nodes.
///
/// # Errors
/// When a node cannot be read or is malformed, a balance needs more than 16 bytes, or changed code is not there.
pub fn update<R: NodeReader>(
    root: B256,
    changes: &StateChanges,
    reader: &R,
) -> Result<TreeUpdate, UpdateError<R::Error>> {
    let writes = writes(changes)?;
    let mut updater = Updater {
        reader,
        pending: Pending::default(),
    };
    let position = Position::ROOT;
    let (part, old) = updater.trunk(position, root, &writes)?;
    let top = updater.settle(position, part, old);
    let (root, nodes) = updater.pending.finish(top);
    Ok(TreeUpdate { root, nodes })
}

/// A stem that is not empty, wherever it will stand.
#[derive(Clone, Copy)]
struct StemPart {
    stem: Stem,
    subtree: Child,
}

/// What a position of the trunk holds in the new version.
enum Part {
    Empty,
    /// The same as in the old version, of unknown kind; not empty.
    Kept(B256),
    /// An inner node, already pending.
    Inner(Child),
    /// A stem alone: it may still move up.
    Stem(StemPart),
}

/// What a position of the trunk held in the old version, as far as its nodes must be removed or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Old {
    Nothing,
    Inner,
    Stem,
}

struct Updater<'a, R> {
    reader: &'a R,
    pending: Pending,
}

impl<R: NodeReader> Updater<'_, R> {
    fn read(&self, path: NodePath, hash: &B256) -> Result<(B256, B256), UpdateError<R::Error>> {
        self.reader
            .node(&path, hash)
            .map(|node| halves(&node))
            .map_err(UpdateError::Read)
    }

    /// Reads the inner node of the stem at `position`: the stem and the root of its subtree.
    fn read_stem(&self, position: Position, hash: &B256) -> Result<(Stem, B256), UpdateError<R::Error>> {
        let path = NodePath::Stem(position);
        let node: Node = self.reader.node(&path, hash).map_err(UpdateError::Read)?;
        parse_stem(position, &node).ok_or(UpdateError::Malformed { path })
    }

    /// Applies the writes below `position`, where the old version has `hash`.
    fn trunk(
        &mut self,
        position: Position,
        hash: B256,
        writes: &[Write],
    ) -> Result<(Part, Old), UpdateError<R::Error>> {
        if writes.is_empty() {
            return Ok(if hash == EMPTY {
                (Part::Empty, Old::Nothing)
            } else {
                (Part::Kept(hash), Old::Inner)
            });
        }
        if hash == EMPTY {
            let stems = self.stems(writes, None)?;
            return Ok((self.plant(position, &stems), Old::Nothing));
        }
        let path = NodePath::Trunk(position);
        let (left, right) = self.read(path, &hash)?;
        if right == STEM_TAG {
            let (stem, root) = self.read_stem(position, &left)?;
            let stems = self.stems(writes, Some((stem, root)))?;
            let part = match stems.as_slice() {
                [only] if only.stem == stem && only.subtree == Child::Hash(root) => Part::Kept(hash),
                stems => self.plant(position, stems),
            };
            return Ok((part, Old::Stem));
        }
        let (Some(left_position), Some(right_position)) = (position.child(false), position.child(true))
        else {
            return Err(UpdateError::Malformed { path });
        };
        let (left_writes, right_writes) = split(writes, position.depth());
        let left_part = self.trunk(left_position, left, left_writes)?;
        let right_part = self.trunk(right_position, right, right_writes)?;
        let left_part = self.lone(left_position, left_part, &right_part.0)?;
        let right_part = self.lone(right_position, right_part, &left_part.0)?;
        let part = match (&left_part.0, &right_part.0) {
            (Part::Kept(l), Part::Kept(r)) if (*l, *r) == (left, right) => {
                return Ok((Part::Kept(hash), Old::Inner));
            }
            (Part::Empty, Part::Empty) => Part::Empty,
            (Part::Empty, Part::Stem(stem)) | (Part::Stem(stem), Part::Empty) => Part::Stem(*stem),
            _ => {
                let left = self.settle(left_position, left_part.0, left_part.1);
                let right = self.settle(right_position, right_part.0, right_part.1);
                return Ok((Part::Inner(self.pending.push(path, left, right)), Old::Inner));
            }
        };
        // Whatever stood at the children is gone or goes up.
        self.settle(left_position, Part::Empty, left_part.1);
        self.settle(right_position, Part::Empty, right_part.1);
        Ok((part, Old::Inner))
    }

    /// Finds out whether a kept part whose sibling is now empty is a stem, which then has to move up.
    fn lone(
        &self,
        position: Position,
        (part, old): (Part, Old),
        sibling: &Part,
    ) -> Result<(Part, Old), UpdateError<R::Error>> {
        let (Part::Kept(hash), Part::Empty) = (&part, sibling) else {
            return Ok((part, old));
        };
        let (left, right) = self.read(NodePath::Trunk(position), hash)?;
        if right != STEM_TAG {
            return Ok((part, Old::Inner));
        }
        let (stem, root) = self.read_stem(position, &left)?;
        Ok((
            Part::Stem(StemPart {
                stem,
                subtree: Child::Hash(root),
            }),
            Old::Stem,
        ))
    }

    /// Applies writes stem by stem to an empty tree or one with a single stem. Gives the stems that are not empty.
    fn stems(
        &mut self,
        mut writes: &[Write],
        mut present: Option<(Stem, B256)>,
    ) -> Result<Vec<StemPart>, UpdateError<R::Error>> {
        let mut parts = Vec::new();
        while let Some(first) = writes.first() {
            let stem = first.stem;
            let (own, rest) = partition(writes, |write| write.stem == stem);
            writes = rest;
            let root = match present {
                Some((present_stem, root)) if present_stem <= stem => {
                    present = None;
                    if present_stem != stem {
                        parts.push(StemPart {
                            stem: present_stem,
                            subtree: Child::Hash(root),
                        });
                    }
                    if present_stem == stem { root } else { EMPTY }
                }
                _ => EMPTY,
            };
            let subtree = self.subtree(&stem, 0, 0, root, own)?;
            if subtree != Child::EMPTY {
                parts.push(StemPart { stem, subtree });
            }
        }
        parts.extend(present.map(|(stem, root)| StemPart {
            stem,
            subtree: Child::Hash(root),
        }));
        Ok(parts)
    }

    /// Builds the trunk over stems in a place that held nothing or one stem.
    fn plant(&mut self, position: Position, stems: &[StemPart]) -> Part {
        match stems {
            [] => return Part::Empty,
            [stem] => return Part::Stem(*stem),
            _ => {}
        }
        let (Some(left_position), Some(right_position)) = (position.child(false), position.child(true))
        else {
            // Different stems part before their bits end.
            return Part::Empty;
        };
        let (left, right) = partition(stems, |part| !bit(&part.stem, position.depth()));
        let left = self.plant(left_position, left);
        let left = self.settle(left_position, left, Old::Nothing);
        let right = self.plant(right_position, right);
        let right = self.settle(right_position, right, Old::Nothing);
        Part::Inner(self.pending.push(NodePath::Trunk(position), left, right))
    }

    /// Gives a part its place: adds the nodes of a stem and removes what stood there and is not overwritten.
    fn settle(&mut self, position: Position, part: Part, old: Old) -> Child {
        let (trunk, stem) = (NodePath::Trunk(position), NodePath::Stem(position));
        match part {
            Part::Kept(hash) => Child::Hash(hash),
            Part::Empty => {
                if old != Old::Nothing {
                    self.pending.remove(trunk);
                }
                if old == Old::Stem {
                    self.pending.remove(stem);
                }
                Child::EMPTY
            }
            Part::Inner(child) => {
                if old == Old::Stem {
                    self.pending.remove(stem);
                }
                child
            }
            Part::Stem(part) => {
                let inner = self
                    .pending
                    .push(stem, Child::Hash(stem_word(&part.stem)), part.subtree);
                self.pending.push(trunk, inner, Child::Hash(STEM_TAG))
            }
        }
    }

    /// Applies the writes below one node under a stem.
    fn subtree(
        &mut self,
        stem: &Stem,
        level: u8,
        index: u8,
        hash: B256,
        writes: &[Write],
    ) -> Result<Child, UpdateError<R::Error>> {
        if writes.is_empty() {
            return Ok(Child::Hash(hash));
        }
        let path = NodePath::Subtree {
            stem: *stem,
            level,
            index,
        };
        let (old_left, old_right) = if hash == EMPTY {
            (EMPTY, EMPTY)
        } else {
            self.read(path, &hash)?
        };
        let height = SUBTREE_LEVELS.saturating_sub(1).saturating_sub(level);
        let (left_writes, right_writes) = partition(writes, |write| (write.sub_index >> height) & 1 == 0);
        let (left, right) = if height == 0 {
            let value = |writes: &[Write], old| Child::Hash(writes.last().map_or(old, |write| write.value));
            (value(left_writes, old_left), value(right_writes, old_right))
        } else {
            let (below, index) = (level.saturating_add(1), index.wrapping_mul(2));
            let left = self.subtree(stem, below, index, old_left, left_writes)?;
            (
                left,
                self.subtree(stem, below, index | 1, old_right, right_writes)?,
            )
        };
        if (left, right) == (Child::Hash(old_left), Child::Hash(old_right)) {
            return Ok(Child::Hash(hash));
        }
        if (left, right) == (Child::EMPTY, Child::EMPTY) {
            self.pending.remove(path);
            return Ok(Child::EMPTY);
        }
        Ok(self.pending.push(path, left, right))
    }
}

/// Reads the inner node of a stem that stands at `position`: the stem and the root of its subtree.
pub(super) fn parse_stem(position: Position, node: &Node) -> Option<(Stem, B256)> {
    let (word, root) = halves(node);
    let (zero, stem) = word.split_last()?;
    let stem = Stem::from_slice(stem);
    (*zero == 0 && root != EMPTY && position.covers(&stem)).then_some((stem, root))
}

/// The left half of a stem's inner node: the stem and a zero byte.
pub(super) fn stem_word(stem: &Stem) -> B256 {
    super::key::tree_key(stem, 0)
}

/// Splits sorted writes by the side they are on at `depth`.
fn split(writes: &[Write], depth: u8) -> (&[Write], &[Write]) {
    debug_assert!(depth < MAX_DEPTH);
    partition(writes, |write| !bit(&write.stem, depth))
}

/// Splits a slice where `is_left` stops to hold.
fn partition<T>(items: &[T], is_left: impl Fn(&T) -> bool) -> (&[T], &[T]) {
    items
        .split_at_checked(items.partition_point(is_left))
        .unwrap_or((items, &[]))
}
