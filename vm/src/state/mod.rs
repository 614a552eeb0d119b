//! The state: how it is read, how a block changes it, and the tree that commits to it (docs/state-tree.md).

mod changes;
mod flat;
mod hash;
mod key;
mod memory;
mod node;
mod path;
mod pending;
mod proof;
mod reader;
mod row;
mod update;
mod walk;

pub use changes::{AccountChange, StateChanges};
pub use flat::{FlatState, MissingCode};
pub use hash::{EMPTY, Node, STEM_TAG, hash_node, hash_nodes, join};
pub use key::{
    BASIC_DATA, CHUNK_LEN, CODE_HASH, HEADER_CHUNKS, HEADER_CODE, HEADER_SLOTS, HEADER_STORAGE, TreeKey,
    chunk_count, chunk_key, chunks, header_key, pack_basic_data, slot_key, unpack_account,
};
pub use memory::MemoryState;
pub use node::{NodeReader, TreeUpdate, UpdateError};
pub use path::{MAX_DEPTH, MAX_PATH_LEN, NodePath, Position, SUBTREE_LEVELS, Stem};
pub use proof::{
    AccountProof, MAX_PROOF_NODES, Proof, ProofError, SlotProof, prove, prove_account, verify_account,
    verify_proof,
};
pub use reader::{Account, StateReader};
pub use row::{ROW_LEVELS, RowError, RowKey, RowNodes, RowReader, RowUpdate, row_changes, update_rows};
pub use update::update;
pub use walk::{TreeError, TreeState};

#[cfg(test)]
mod proof_tests;
#[cfg(test)]
mod tests;
