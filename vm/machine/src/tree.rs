//! The Merkle tree over memory: hashes pages that changed, and keeps nodes that are known by their hash alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use alloy_primitives::B256;
use bitsect_vm::chain::hash_pair;
use bitsect_vm::state::{Node, hash_node, hash_nodes, join};

use crate::memory::{Memory, PAGE_LEVEL, PAGES, UNHASHED};
use crate::oracle::Oracle;

/// The level of the root.
pub const DEPTH: u32 = 26;

static ZERO_ROOTS: LazyLock<[B256; DEPTH as usize + 1]> = LazyLock::new(|| {
    let mut roots = [hash_node(&[0; 64]); DEPTH as usize + 1];
    for level in 1..roots.len() {
        roots[level] = hash_pair(&roots[level - 1], &roots[level - 1]);
    }
    roots
});

/// Gives the hash of a node of this level under which all memory is zero.
///
/// # Panics
/// Above level 26.
pub fn zero_root(level: u32) -> B256 {
    ZERO_ROOTS[level as usize]
}

/// A node's place: its level, and its index among the nodes of that level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) level: u32,
    pub(crate) index: u32,
}

impl Place {
    /// The node of a level at an address.
    pub(crate) const fn at(address: u32, level: u32) -> Self {
        Self {
            level,
            index: ((address as u64) >> (6 + level)) as u32,
        }
    }

    /// The leaf at an address.
    pub(crate) const fn leaf(address: u32) -> Self {
        Self::at(address, 0)
    }

    pub(crate) const fn first_leaf(self) -> u32 {
        ((self.index as u64) << self.level) as u32
    }

    const fn leaf_count(self) -> u32 {
        1 << self.level
    }

    const fn children(self) -> [Self; 2] {
        let (level, index) = (self.level - 1, self.index * 2);
        [
            Self { level, index },
            Self {
                level,
                index: index + 1,
            },
        ]
    }

    const fn contains(self, other: Self) -> bool {
        self.level >= other.level && other.index >> (self.level - other.level) == self.index
    }

    /// Its number where the root is 1 and the children of n are 2n and 2n + 1.
    const fn heap(self) -> usize {
        (1 << (DEPTH - self.level)) + self.index as usize
    }
}

/// A preimage that the oracle does not have is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unknown(pub(crate) B256);

/// Hashes of pages and of all nodes above them.
pub(crate) struct Tree {
    /// By heap number, each exclusive-ored with the zero subtree's, so that untouched nodes are zero bytes.
    nodes: Vec<B256>,
    /// Nodes without their preimage, by first leaf. None contains another. Memory under them is zero and unread.
    opaque: BTreeMap<u32, (u32, B256)>,
    /// Opaque nodes of whole pages whose parents are not hashed yet.
    unhashed: BTreeSet<usize>,
}

impl Tree {
    /// The tree of zeros.
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![B256::ZERO; 2 * PAGES],
            opaque: BTreeMap::new(),
            unhashed: BTreeSet::new(),
        }
    }

    /// Whether there are nodes that are known by their hash alone.
    pub(crate) fn has_opaque(&self) -> bool {
        !self.opaque.is_empty()
    }

    /// Gives the nodes that are known by their hash alone: level and hash by first leaf.
    pub(crate) const fn opaque(&self) -> &BTreeMap<u32, (u32, B256)> {
        &self.opaque
    }

    /// Puts nodes that are known by their hash alone into a new tree. The memory under them is zero.
    pub(crate) fn restore(&mut self, memory: &mut Memory, opaque: &BTreeMap<u32, (u32, B256)>) {
        for (first, (level, hash)) in opaque {
            let place = Place {
                level: *level,
                index: first >> level,
            };
            self.hide(memory, place, *hash);
        }
    }

    /// Makes a node one that is known by its hash alone.
    fn hide(&mut self, memory: &mut Memory, place: Place, hash: B256) {
        memory.clear(place.first_leaf(), place.leaf_count());
        self.opaque.insert(place.first_leaf(), (place.level, hash));
        if place.level >= PAGE_LEVEL {
            self.set(place.heap(), hash);
            self.unhashed.insert(place.heap());
        }
    }

    fn get(&self, heap: usize) -> B256 {
        self.nodes[heap] ^ zero_root(DEPTH - heap.ilog2())
    }

    fn set(&mut self, heap: usize, hash: B256) {
        self.nodes[heap] = hash ^ zero_root(DEPTH - heap.ilog2());
    }

    /// Hashes what changed, and gives the root.
    pub(crate) fn root(&mut self, memory: &mut Memory) -> B256 {
        self.refresh(memory);
        self.get(1)
    }

    fn refresh(&mut self, memory: &mut Memory) {
        let mut changed: BTreeSet<usize> = core::mem::take(&mut self.unhashed);
        for page in memory.take_flagged(UNHASHED) {
            let place = Place {
                level: PAGE_LEVEL,
                index: page as u32,
            };
            if self.opaque_above(place).is_none() {
                let hash = self.page_root(memory, page);
                self.set(place.heap(), hash);
                changed.insert(place.heap());
            }
        }
        // The largest numbers are the deepest nodes: children come before their parents.
        while let Some(deepest) = changed.last().copied().filter(|heap| *heap > 1) {
            let parents: Vec<usize> = {
                let level = changed.split_off(&(1 << deepest.ilog2()));
                let mut parents: Vec<usize> = level.into_iter().map(|heap| heap / 2).collect();
                parents.dedup();
                parents
            };
            let children: Vec<Node> = parents
                .iter()
                .map(|parent| join(self.get(2 * parent), self.get(2 * parent + 1)))
                .collect();
            for (parent, hash) in parents.iter().zip(hash_nodes(&children)) {
                self.set(*parent, hash);
            }
            changed.extend(parents);
        }
    }

    fn page_root(&self, memory: &Memory, page: usize) -> B256 {
        let first = Place {
            level: PAGE_LEVEL,
            index: page as u32,
        }
        .first_leaf();
        if !memory.is_touched(page) && self.opaque.range(first..=first + 63).next().is_none() {
            return zero_root(PAGE_LEVEL);
        }
        self.page_levels(memory, page).pop().expect("a page has a root")[0]
    }

    /// Hashes a page: its leaves, then each level above, up to the page's root.
    fn page_levels(&self, memory: &Memory, page: usize) -> Vec<Vec<B256>> {
        let (leaves, _) = memory.page(page).as_chunks::<64>();
        let first = Place {
            level: PAGE_LEVEL,
            index: page as u32,
        }
        .first_leaf();
        let mut levels = vec![hash_nodes(leaves)];
        for level in 0..PAGE_LEVEL {
            let hashes = levels.last_mut().expect("the leaves are there");
            for (leaf, (_, hash)) in self
                .opaque
                .range(first..=first + 63)
                .filter(|(_, (opaque, _))| *opaque == level)
            {
                hashes[((leaf - first) >> level) as usize] = *hash;
            }
            let pairs: Vec<Node> = hashes
                .chunks_exact(2)
                .map(|pair| join(pair[0], pair[1]))
                .collect();
            levels.push(hash_nodes(&pairs));
        }
        levels
    }

    /// The opaque node that is this one or contains it.
    pub(crate) fn opaque_above(&self, place: Place) -> Option<(Place, B256)> {
        let (first, (level, hash)) = self.opaque.range(..=place.first_leaf()).next_back()?;
        let opaque = Place {
            level: *level,
            index: first >> level,
        };
        opaque.contains(place).then_some((opaque, *hash))
    }

    /// Gives a node's hash.
    ///
    /// # Errors
    /// Where it is inside a node of which the oracle lacks the preimage.
    pub(crate) fn hash(
        &mut self,
        memory: &mut Memory,
        place: Place,
        oracle: &dyn Oracle,
    ) -> Result<B256, Unknown> {
        self.expose(memory, place, oracle)?;
        if let Some((_, hash)) = self.opaque_above(place) {
            return Ok(hash);
        }
        Ok(match place.level {
            0 => hash_node(memory.leaf(place.index)),
            level if level < PAGE_LEVEL => {
                let page = (place.first_leaf() / 64) as usize;
                let within = (place.first_leaf() % 64) >> level;
                self.page_levels(memory, page)[level as usize][within as usize]
            }
            _ => {
                self.refresh(memory);
                self.get(place.heap())
            }
        })
    }

    /// Gives the siblings from a node up to the root's children. The tree must be fresh, and the node not inside an
    /// opaque one.
    pub(crate) fn siblings(&mut self, memory: &mut Memory, place: Place) -> Vec<B256> {
        self.refresh(memory);
        let mut siblings = Vec::with_capacity((DEPTH - place.level) as usize);
        let mut place = place;
        if place.level < PAGE_LEVEL {
            let first = place.first_leaf();
            let levels = self.page_levels(memory, (first / 64) as usize);
            for hashes in &levels[place.level as usize..PAGE_LEVEL as usize] {
                let level = place.level;
                siblings.push(hashes[(((first % 64) >> level) ^ 1) as usize]);
                place = Place {
                    level: level + 1,
                    index: place.index / 2,
                };
            }
        }
        let mut heap = place.heap();
        while heap > 1 {
            siblings.push(self.get(heap ^ 1));
            heap /= 2;
        }
        siblings
    }

    /// Makes a node the one that has this hash, with its memory as far as the oracle knows it.
    ///
    /// # Errors
    /// Where it is inside a node of which the oracle lacks the preimage.
    pub(crate) fn map(
        &mut self,
        memory: &mut Memory,
        place: Place,
        hash: B256,
        oracle: &dyn Oracle,
    ) -> Result<(), Unknown> {
        self.expose(memory, place, oracle)?;
        let first = place.first_leaf();
        let inside: Vec<u32> = self
            .opaque
            .range(first..=first + (place.leaf_count() - 1))
            .map(|(leaf, _)| *leaf)
            .collect();
        for leaf in inside {
            self.opaque.remove(&leaf);
        }
        self.fill(memory, place, hash, oracle);
        Ok(())
    }

    /// Makes sure that no opaque node strictly contains this one.
    fn expose(&mut self, memory: &mut Memory, place: Place, oracle: &dyn Oracle) -> Result<(), Unknown> {
        while let Some((opaque, hash)) = self.opaque_above(place).filter(|(opaque, _)| *opaque != place) {
            let node = oracle.node(&hash).ok_or(Unknown(hash))?;
            self.opaque.remove(&opaque.first_leaf());
            self.fill_children(memory, opaque, &node, oracle);
        }
        Ok(())
    }

    /// Makes sure that a leaf's bytes are in memory.
    ///
    /// # Errors
    /// Where the oracle lacks a preimage.
    pub(crate) fn reveal(
        &mut self,
        memory: &mut Memory,
        leaf: Place,
        oracle: &dyn Oracle,
    ) -> Result<(), Unknown> {
        self.expose(memory, leaf, oracle)?;
        if let Some((_, hash)) = self.opaque_above(leaf) {
            let node = oracle.node(&hash).ok_or(Unknown(hash))?;
            self.opaque.remove(&leaf.first_leaf());
            memory.write(leaf.index * 64, &node);
        }
        Ok(())
    }

    /// Makes sure that a leaf can be written as a whole: its old bytes need not be known.
    ///
    /// # Errors
    /// Where it is strictly inside a node of which the oracle lacks the preimage.
    pub(crate) fn release(
        &mut self,
        memory: &mut Memory,
        leaf: Place,
        oracle: &dyn Oracle,
    ) -> Result<(), Unknown> {
        self.expose(memory, leaf, oracle)?;
        self.opaque.remove(&leaf.first_leaf());
        Ok(())
    }

    fn fill(&mut self, memory: &mut Memory, place: Place, hash: B256, oracle: &dyn Oracle) {
        if hash == zero_root(place.level) {
            memory.clear(place.first_leaf(), place.leaf_count());
        } else if let Some(node) = oracle.node(&hash) {
            if place.level == 0 {
                memory.write(place.index * 64, &node);
            } else {
                self.fill_children(memory, place, &node, oracle);
            }
        } else {
            self.hide(memory, place, hash);
        }
    }

    fn fill_children(&mut self, memory: &mut Memory, place: Place, node: &Node, oracle: &dyn Oracle) {
        let (left, right) = node.split_at(32);
        for (child, hash) in place.children().into_iter().zip([left, right]) {
            self.fill(memory, child, B256::from_slice(hash), oracle);
        }
    }
}
