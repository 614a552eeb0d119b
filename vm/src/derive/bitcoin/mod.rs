//! Bitcoin's own formats, as far as derivation reads them: headers, transactions, blocks, scripts.
//!
//! The `bitcoin` crate needs a C library and cannot be built for the machine; tests compare this code with it.

mod block;
mod header;
mod reader;
mod script;
mod taproot;
mod transaction;

pub use block::{L1Block, merkle_root};
pub use header::{L1Header, Target};
pub use reader::DecodeError;
#[cfg(feature = "std")]
pub(crate) use reader::Reader;
pub use script::{Instruction, Instructions, op_return_data, push_bytes};
pub(crate) use script::{OP_1, OP_CHECKSIG, OP_CSV, OP_DROP, OP_ENDIF, OP_IF, OP_RETURN};
pub use taproot::{key_spend_script, tap_leaf_hash, tweaked_script};
#[cfg(feature = "std")]
pub(crate) use transaction::Parts;
pub use transaction::{L1Transaction, TxIn, TxOut};

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

/// Hashes with SHA-256 twice, over parts in order.
pub fn sha256d<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> B256 {
    let mut hasher = Sha256::new();
    parts.into_iter().for_each(|part| hasher.update(part));
    B256::new(Sha256::digest(hasher.finalize()).into())
}
