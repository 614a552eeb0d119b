//! The tree in database rows: a row holds what several levels of nodes can be computed from.
//!
//! Storing each node by itself would cost some thirty rows for one value. Here one row holds six levels of the
//! trunk, and one row all values of a stem: three or four rows for a value in a tree of ten million.

mod format;
mod heap;
mod key;

use alloc::vec::Vec;
use alloy_primitives::B256;
use alloy_primitives::map::{Entry, HashMap};
use core::cell::RefCell;

use super::{Node, NodePath, NodeReader, StateChanges, UpdateError, update};
pub use key::{ROW_LEVELS, RowKey};

/// Reads rows of one version of the tree.
pub trait RowReader {
    /// Why a read failed: the medium's fault, never the chain's.
    type Error: core::error::Error + 'static;

    /// Reads a row; `None` when there is none.
    fn row(&self, key: &RowKey) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// Why a node could not be read from its row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError<E> {
    /// The medium failed.
    #[error("failed to read a row of the state tree: {0}")]
    Read(E),
    /// The tree has a node where there is no row.
    #[error("row {key:?} of the state tree is missing")]
    Missing {
        /// The row.
        key: RowKey,
    },
    /// The row's bytes are not in the format.
    #[error("row {key:?} of the state tree is malformed")]
    Malformed {
        /// The row.
        key: RowKey,
    },
    /// The row is of another version of the tree, or damaged.
    #[error("row {key:?} of the state tree: expected hash {expected}, got {got}")]
    Mismatch {
        /// The row.
        key: RowKey,
        /// The hash that the node above has.
        expected: B256,
        /// The hash of what the row holds.
        got: B256,
    },
    /// The row does not have this node.
    #[error("node {path:?} of the state tree is missing")]
    NoNode {
        /// The node.
        path: NodePath,
    },
}

/// The nodes of one row, by their number in it, ascending. Number 1 is the root; below `n` are `2n` and `2n + 1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    root: B256,
    nodes: Vec<(u8, Node)>,
}

impl Row {
    fn get(&self, number: u8) -> Option<&Node> {
        let at = self.nodes.binary_search_by_key(&number, |(n, _)| *n).ok()?;
        self.nodes.get(at).map(|(_, node)| node)
    }

    fn set(&mut self, number: u8, node: Option<Node>) {
        let found = self.nodes.binary_search_by_key(&number, |(n, _)| *n);
        match (found, node) {
            (Ok(at), Some(node)) => {
                if let Some((_, old)) = self.nodes.get_mut(at) {
                    *old = node;
                }
            }
            (Ok(at), None) => {
                self.nodes.remove(at);
            }
            (Err(at), Some(node)) => self.nodes.insert(at, (number, node)),
            (Err(_), None) => {}
        }
    }
}

/// Reads nodes out of rows. Keeps each row it has read: it is made for one use of one version of the tree.
pub struct RowNodes<'a, R> {
    reader: &'a R,
    rows: RefCell<HashMap<RowKey, Row>>,
}

impl<'a, R: RowReader> RowNodes<'a, R> {
    /// Reads from these rows.
    pub fn new(reader: &'a R) -> Self {
        Self {
            reader,
            rows: RefCell::default(),
        }
    }

    fn load(&self, key: RowKey) -> Result<Row, RowError<R::Error>> {
        let bytes = self
            .reader
            .row(&key)
            .map_err(RowError::Read)?
            .ok_or(RowError::Missing { key })?;
        format::decode(&key, &bytes).ok_or(RowError::Malformed { key })
    }
}

impl<R: RowReader> NodeReader for RowNodes<'_, R> {
    type Error = RowError<R::Error>;

    fn node(&self, path: &NodePath, hash: &B256) -> Result<Node, Self::Error> {
        let (key, number) = RowKey::of(path);
        let mut rows = self.rows.borrow_mut();
        let row = match rows.entry(key) {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(self.load(key)?),
        };
        // Nodes are reached from above, so a row is entered by its root.
        if number == 1 && row.root != *hash {
            return Err(RowError::Mismatch {
                key,
                expected: *hash,
                got: row.root,
            });
        }
        row.get(number).copied().ok_or(RowError::NoNode { path: *path })
    }
}

/// The new root, and the rows that differ from the version before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowUpdate {
    /// The root of the new version; zero for an empty tree.
    pub root: B256,
    /// Changed rows, keys ascending; `None` where a row is gone.
    pub rows: Vec<(RowKey, Option<Vec<u8>>)>,
}

/// Computes the rows after a block's net changes: [`update`] for a tree that is stored in rows.
///
/// # Errors
/// Those of [`update`]; nothing is changed then.
pub fn update_rows<R: RowReader>(
    root: B256,
    changes: &StateChanges,
    reader: &R,
) -> Result<RowUpdate, UpdateError<RowError<R::Error>>> {
    let nodes = RowNodes::new(reader);
    let update = update(root, changes, &nodes)?;
    // A row that was not read is new: the update reads every old node that it replaces.
    let rows = apply(nodes.rows.into_inner(), &update.nodes, |_| Ok(None)).map_err(UpdateError::Read)?;
    Ok(RowUpdate {
        root: update.root,
        rows,
    })
}

/// Computes the rows that differ after an update that was made elsewhere, keys ascending; `None` where a row is gone.
///
/// # Errors
/// When a row cannot be read or is malformed.
pub fn row_changes<R: RowReader>(
    nodes: &[(NodePath, Option<Node>)],
    reader: &R,
) -> Result<ChangedRows, RowError<R::Error>> {
    apply(HashMap::default(), nodes, |key| {
        let bytes = reader.row(&key).map_err(RowError::Read)?;
        bytes
            .map(|bytes| format::decode(&key, &bytes).ok_or(RowError::Malformed { key }))
            .transpose()
    })
}

type ChangedRows = Vec<(RowKey, Option<Vec<u8>>)>;

/// Puts changed nodes into their rows, which are in `rows` or come from `load`, or are new.
fn apply<E>(
    mut rows: HashMap<RowKey, Row>,
    nodes: &[(NodePath, Option<Node>)],
    load: impl Fn(RowKey) -> Result<Option<Row>, E>,
) -> Result<ChangedRows, E> {
    let mut changed = Vec::new();
    for (path, node) in nodes {
        let (key, number) = RowKey::of(path);
        let row = match rows.entry(key) {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(load(key)?.unwrap_or_default()),
        };
        row.set(number, *node);
        if changed.last() != Some(&key) {
            changed.push(key);
        }
    }
    changed.sort_unstable();
    changed.dedup();
    let encode = |key: RowKey| (key, rows.get(&key).and_then(|row| format::encode(&key, row)));
    Ok(changed.into_iter().map(encode).collect())
}
