//! The oracle over preimages in memory, as the machine's host answers it.

use std::cell::Cell;

use alloy_primitives::B256;
use bitsect_guest::{Block, Digest};
use bitsect_machine::{Oracle, Preimages, Sha256Preimage, zero_root};
use bitsect_vm::chain::BlobRef;
use bitsect_vm::record::{UnitRecord, hashed_messages};
use bitsect_vm::state::Node;

/// What a test does to a compression before the code sees it.
type Tamper = Box<dyn Fn(&mut Sha256Preimage)>;

#[derive(Default)]
pub struct MapOracle {
    preimages: Preimages,
    chosen: Cell<Digest>,
    /// Whether something was asked for that is not here: the machine would be exhausted.
    pub exhausted: Cell<bool>,
    /// The compression that is changed, by its place in the order of calls.
    pub tamper: Option<(usize, Tamper)>,
    /// Compressions so far.
    pub calls: Cell<usize>,
}

impl MapOracle {
    pub fn of_block(block: &[u8]) -> Self {
        let mut oracle = Self::default();
        for message in hashed_messages(block).unwrap() {
            oracle.preimages.insert_sha256d(&message);
        }
        oracle
    }

    pub fn of_unit(record: &UnitRecord) -> Self {
        let mut oracle = Self::default();
        oracle.add(record);
        oracle
    }

    pub fn add(&mut self, record: &UnitRecord) {
        self.preimages.insert_unit(record).unwrap();
    }
}

fn halves(node: &Node) -> [[u8; 32]; 2] {
    [node[..32].try_into().unwrap(), node[32..].try_into().unwrap()]
}

fn to_bytes(words: &Digest) -> B256 {
    B256::from_slice(
        &words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<u8>>(),
    )
}

fn to_words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let words = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    words.collect::<Vec<_>>().try_into().unwrap()
}

impl bitsect_guest::Oracle for MapOracle {
    fn node(&self, hash: &B256) -> Node {
        self.preimages.node(hash).unwrap_or_else(|| {
            self.exhausted.set(true);
            [0; 64]
        })
    }

    fn blob(&self, blob: &BlobRef) -> Vec<u8> {
        let leaves = blob.len.div_ceil(64).max(1).next_power_of_two();
        let mut hashes = vec![blob.root];
        for level in (1..=leaves.trailing_zeros()).rev() {
            let pair = |hash: &B256| {
                // Every host knows what is behind zeros.
                let below = zero_root(level - 1);
                let node = if *hash == zero_root(level) {
                    [below.0; 2]
                } else {
                    halves(&self.node(hash))
                };
                node.map(B256::new)
            };
            hashes = hashes.iter().flat_map(pair).collect();
        }
        let leaf = |hash: &B256| {
            if *hash == zero_root(0) {
                [0; 64]
            } else {
                self.node(hash)
            }
        };
        let mut bytes: Vec<u8> = hashes.iter().flat_map(leaf).collect();
        bytes.truncate(blob.len as usize);
        bytes
    }

    fn select(&self, digest: &Digest) {
        self.chosen.set(*digest);
    }

    fn compression(&self) -> Block {
        let call = self.calls.replace(self.calls.get() + 1);
        let Some(mut found) = self.preimages.sha256(&to_bytes(&self.chosen.get())) else {
            self.exhausted.set(true);
            return [0; 16];
        };
        match &self.tamper {
            Some((at, tamper)) if *at == call => tamper(&mut found),
            _ => {}
        }
        self.chosen.set(to_words(found.chaining.as_slice()));
        to_words(&found.block)
    }

    fn selected(&self) -> Digest {
        self.chosen.get()
    }
}
