//! New nodes whose hashes are not computed yet, so that they can be hashed many at a time.

use alloc::vec::Vec;
use alloy_primitives::B256;

use super::hash::{EMPTY, join};
use super::{Node, NodePath, hash_nodes};

/// Half of a node: a hash or value that is known, or the hash of a new node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::state) enum Child {
    Hash(B256),
    New(usize),
}

impl Child {
    pub(in crate::state) const EMPTY: Self = Self::Hash(EMPTY);
}

struct NewNode {
    path: NodePath,
    bytes: Node,
    /// The node that holds this one's hash, and whether in its right half.
    parent: Option<(usize, bool)>,
    height: usize,
}

/// The difference between two versions of the tree, while it grows.
#[derive(Default)]
pub(in crate::state) struct Pending {
    nodes: Vec<NewNode>,
    /// Nodes by height: those of one height do not need each other's hashes.
    heights: Vec<Vec<usize>>,
    removed: Vec<NodePath>,
}

impl Pending {
    /// Adds a node.
    pub(in crate::state) fn push(&mut self, path: NodePath, left: Child, right: Child) -> Child {
        let id = self.nodes.len();
        let mut height = 0usize;
        let mut half = |child: Child, is_right: bool| match child {
            Child::Hash(hash) => hash,
            Child::New(below) => {
                if let Some(node) = self.nodes.get_mut(below) {
                    node.parent = Some((id, is_right));
                    height = height.max(node.height.saturating_add(1));
                }
                EMPTY
            }
        };
        let bytes = join(half(left, false), half(right, true));
        self.nodes.push(NewNode {
            path,
            bytes,
            parent: None,
            height,
        });
        if self.heights.len() <= height {
            self.heights.resize_with(height.saturating_add(1), Vec::new);
        }
        if let Some(ids) = self.heights.get_mut(height) {
            ids.push(id);
        }
        Child::New(id)
    }

    /// Records that the node at `path` is gone.
    pub(in crate::state) fn remove(&mut self, path: NodePath) {
        self.removed.push(path);
    }

    /// Hashes from the lowest nodes up. Gives the hash of `top` and the changed nodes.
    pub(in crate::state) fn finish(mut self, top: Child) -> (B256, Vec<(NodePath, Option<Node>)>) {
        let mut root = match top {
            Child::Hash(hash) => hash,
            Child::New(_) => EMPTY,
        };
        for ids in core::mem::take(&mut self.heights) {
            let hashes = hash_nodes(
                ids.iter()
                    .filter_map(|id| self.nodes.get(*id))
                    .map(|node| &node.bytes),
            );
            for (id, hash) in ids.iter().zip(hashes) {
                match self.nodes.get(*id).and_then(|node| node.parent) {
                    Some((parent, is_right)) => {
                        if let Some(parent) = self.nodes.get_mut(parent) {
                            let (left, right) = parent.bytes.split_at_mut(32);
                            let half = if is_right { right } else { left };
                            half.copy_from_slice(hash.as_slice());
                        }
                    }
                    None if top == Child::New(*id) => root = hash,
                    None => {}
                }
            }
        }
        let new = self.nodes.into_iter().map(|node| (node.path, Some(node.bytes)));
        (
            root,
            new.chain(self.removed.into_iter().map(|path| (path, None)))
                .collect(),
        )
    }
}
