//! The state tree's nodes in pages (docs/store.md, "Tree pages"): a path through the tree meets a few rows
//! instead of one row a node.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use alloy_primitives::map::HashMap;
use bitsect_vm::state::{Node, NodePath, NodeReader, Position, Stem};
use parking_lot::Mutex;
use redb::{ReadableTable, Table};

use super::StoreError;
use super::rows::{self, RowFault};

/// Levels of the trunk in one page: 15 positions, about 1 KiB when full. With fewer, a path takes more rows;
/// with more, a change rewrites more bytes.
const TRUNK_LEVELS: u8 = 4;
/// Slots of a trunk page: its nodes, and the inner nodes of stems at the same positions.
const TRUNK_SLOTS: u8 = 30;

/// One row of the `tree` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PageId {
    /// The trunk from this position down [`TRUNK_LEVELS`] levels.
    Trunk(Position),
    /// Everything under a stem.
    Subtree(Stem),
}

impl PageId {
    fn key(&self) -> Vec<u8> {
        let path = match self {
            Self::Trunk(position) => NodePath::Trunk(*position),
            Self::Subtree(stem) => NodePath::Subtree {
                stem: *stem,
                level: 0,
                index: 0,
            },
        };
        path.to_bytes()
    }
}

/// The page that holds a node, and the node's slot in it.
fn place(path: &NodePath) -> (PageId, u8) {
    match path {
        NodePath::Trunk(position) => {
            let (page, slot) = trunk_place(position);
            (page, slot)
        }
        NodePath::Stem(position) => {
            let (page, slot) = trunk_place(position);
            (page, slot + TRUNK_SLOTS / 2)
        }
        NodePath::Subtree { stem, level, index } => (PageId::Subtree(*stem), ((1 << level) - 1) + index),
    }
}

fn trunk_place(position: &Position) -> (PageId, u8) {
    let level = position.depth() % TRUNK_LEVELS;
    let top = position.depth() - level;
    let mut index = 0;
    for depth in top..position.depth() {
        let byte = position.prefix()[usize::from(depth / 8)];
        index = index << 1 | (byte >> (7 - depth % 8)) & 1;
    }
    (
        PageId::Trunk(Position::of(position.prefix(), top)),
        ((1 << level) - 1) + index,
    )
}

/// Finds a node in its page.
fn find(page: &[u8], slot: u8) -> Result<Option<Node>, RowFault> {
    for entry in rows::page_entries(page) {
        let (at, node) = entry?;
        if at >= slot {
            return Ok((at == slot).then_some(node));
        }
    }
    Ok(None)
}

/// Applies changed nodes to the `tree` table.
pub(super) fn apply(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    nodes: &[(NodePath, Option<Node>)],
) -> Result<(), StoreError> {
    let mut pages: HashMap<PageId, Vec<(u8, Option<Node>)>> = HashMap::default();
    for (path, node) in nodes {
        let (page, slot) = place(path);
        pages.entry(page).or_default().push((slot, *node));
    }
    // In key order, neighbours in the file are changed together.
    let mut pages: Vec<_> = pages
        .into_iter()
        .map(|(page, changes)| (page.key(), changes))
        .collect();
    pages.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    for (key, changes) in pages {
        let mut slots = match table.get(key.as_slice())? {
            Some(row) => rows::page_entries(row.value())
                .collect::<Result<BTreeMap<u8, Node>, RowFault>>()
                .map_err(|fault| StoreError::corrupt("tree", &key, fault.0))?,
            None => BTreeMap::new(),
        };
        for (slot, node) in changes {
            match node {
                Some(node) => slots.insert(slot, node),
                None => slots.remove(&slot),
            };
        }
        if slots.is_empty() {
            table.remove(key.as_slice())?;
        } else {
            table.insert(key.as_slice(), rows::put_page(&slots).as_slice())?;
        }
    }
    Ok(())
}

/// Reads tree nodes from a table. An update walks the tree in the order of its keys, so the last page of each
/// depth is usually the next one too: those are kept.
pub(super) struct PageReader {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    trunk: Vec<Option<(Position, Vec<u8>)>>,
    subtree: Option<(Stem, Vec<u8>)>,
}

impl PageReader {
    pub(super) fn new() -> Self {
        Self {
            kept: Mutex::default(),
        }
    }

    /// Reads a node; an absent one is an error, because only nodes that are in the tree are asked for.
    pub(super) fn node(
        &self,
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
        path: &NodePath,
    ) -> Result<Node, StoreError> {
        let (page, slot) = place(path);
        let found = match self.kept.lock().page(table, page)? {
            Some(row) => find(row, slot),
            None => Ok(None),
        };
        match found {
            Ok(Some(node)) => Ok(node),
            Ok(None) => Err(StoreError::corrupt(
                "tree",
                &path.to_bytes(),
                "the node is missing",
            )),
            Err(fault) => Err(StoreError::corrupt("tree", &page.key(), fault.0)),
        }
    }
}

impl Kept {
    fn page(
        &mut self,
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
        page: PageId,
    ) -> Result<Option<&[u8]>, StoreError> {
        match page {
            PageId::Trunk(position) => {
                let group = usize::from(position.depth() / TRUNK_LEVELS);
                if self.trunk.len() <= group {
                    self.trunk.resize(group + 1, None);
                }
                keep(&mut self.trunk[group], table, position, &page)
            }
            PageId::Subtree(stem) => keep(&mut self.subtree, table, stem, &page),
        }
    }
}

fn keep<'a, I: PartialEq>(
    kept: &'a mut Option<(I, Vec<u8>)>,
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    id: I,
    page: &PageId,
) -> Result<Option<&'a [u8]>, StoreError> {
    if !kept.as_ref().is_some_and(|(kept, _)| *kept == id) {
        *kept = None;
        if let Some(row) = table.get(page.key().as_slice())? {
            *kept = Some((id, row.value().to_vec()));
        }
    }
    Ok(kept.as_ref().map(|(_, row)| row.as_slice()))
}

/// The tree of an open table, as the tree's own code reads it.
pub(super) struct TableTree<'a, T> {
    pub(super) table: &'a T,
    pub(super) pages: PageReader,
}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> NodeReader for TableTree<'_, T> {
    type Error = StoreError;

    fn node(&self, path: &NodePath, _hash: &B256) -> Result<Node, StoreError> {
        self.pages.node(self.table, path)
    }
}
