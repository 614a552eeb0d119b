//! All nodes that a party ever saw, by their hash: every machine state of every run is in it at once.

use std::collections::HashMap;

use alloy_primitives::B256;
use bitsect_bridge::game::truth::{Path, Place};
use bitsect_machine::{DEPTH, Oracle, Sha256Preimage, compress, zero_root};

pub type Leaf = [u8; 64];

#[derive(Clone)]
pub struct Store {
    nodes: HashMap<B256, Leaf>,
    sha256: HashMap<B256, Sha256Preimage>,
}

pub fn hash(node: &Leaf) -> B256 {
    B256::new(*blake3::hash(node).as_bytes())
}

pub fn join(left: B256, right: B256) -> Leaf {
    let mut node = [0; 64];
    node[..32].copy_from_slice(left.as_slice());
    node[32..].copy_from_slice(right.as_slice());
    node
}

impl Store {
    /// Knows zeros only.
    pub fn new() -> Self {
        let mut store = Self {
            nodes: HashMap::new(),
            sha256: HashMap::new(),
        };
        store.insert([0; 64]);
        for level in 0..DEPTH {
            store.insert(join(zero_root(level), zero_root(level)));
        }
        store
    }

    pub fn insert(&mut self, node: Leaf) -> B256 {
        let hash = hash(&node);
        self.nodes.insert(hash, node);
        hash
    }

    /// Keeps the nodes over some leaves, a power of two.
    pub fn insert_leaves(&mut self, leaves: &[Leaf]) -> B256 {
        let mut hashes: Vec<B256> = leaves.iter().map(|leaf| self.insert(*leaf)).collect();
        while hashes.len() > 1 {
            hashes = hashes
                .chunks(2)
                .map(|pair| self.insert(join(pair[0], pair[1])))
                .collect();
        }
        hashes[0]
    }

    pub fn insert_compression(&mut self, chaining: B256, block: Leaf) -> B256 {
        let digest = compress(&chaining, &block);
        self.sha256.insert(digest, Sha256Preimage { block, chaining });
        digest
    }

    /// Learns all that another store knows.
    pub fn merge(&mut self, other: &Self) {
        self.nodes.extend(&other.nodes);
        self.sha256.extend(&other.sha256);
    }

    /// Gives the way to a place under a root, down to where a preimage is not known.
    pub fn path(&self, root: B256, place: Place) -> Path {
        let (mut node, mut level, mut siblings) = (root, DEPTH, Vec::new());
        while level > place.level
            && let Some(children) = self.nodes.get(&node)
        {
            level -= 1;
            let [left, right] = [0, 32].map(|at| B256::from_slice(&children[at..at + 32]));
            let (next, sibling) = if place.address >> 6 >> level & 1 == 1 {
                (right, left)
            } else {
                (left, right)
            };
            siblings.push(sibling);
            node = next;
        }
        siblings.reverse();
        match self.nodes.get(&node) {
            Some(leaf) if level == 0 => Path::to_leaf(place.address, *leaf, &siblings),
            _ => Path::to_node(place, node, &siblings),
        }
    }

    /// Gives the root with another node at a place.
    pub fn with_node(&mut self, root: B256, place: Place, node: B256) -> B256 {
        let path = self.path(root, place);
        let written = path.written(node).expect("the way is known");
        for position in 0..u64::from(DEPTH - place.level) {
            let (below, sibling) = (written.node(position + 1), written.sibling(position));
            let (below, sibling) = (below.unwrap(), sibling.unwrap());
            let level = u64::from(DEPTH) - 1 - position;
            if place.address >> 6 >> level & 1 == 1 {
                self.insert(join(sibling, below));
            } else {
                self.insert(join(below, sibling));
            }
        }
        written.root().unwrap()
    }

    pub fn with_leaf(&mut self, root: B256, address: u32, leaf: Leaf) -> B256 {
        let node = self.insert(leaf);
        self.with_node(root, Place::leaf(address), node)
    }
}

impl Oracle for Store {
    fn node(&self, hash: &B256) -> Option<Leaf> {
        self.nodes.get(hash).copied()
    }

    fn sha256(&self, digest: &B256) -> Option<Sha256Preimage> {
        self.sha256.get(digest).copied()
    }
}
