//! Chain types: parameters, blocks, transactions, receipts, Bitcoin identifiers.

mod blob;
mod block;
pub mod bridge;
mod genesis;
mod params;
pub mod predeploys;
mod state;
mod units;

pub use blob::{BlobRef, Blobs, blob_root, hash_pair};
pub use block::{Block, BlockAttributes, Header, L1Info, Receipt, Transaction};
pub use genesis::{GenesisConfig, genesis_alloc, genesis_header};
pub use params::{ChainParams, DeriveParams, ExecutionParams, L1Network};
pub use state::{
    ChainState, CommittedBatch, Frame, InboxCursor, L2Tip, OpenBatch, OpenDeposit, Origin, commitment_node,
    commitment_of, committed_blob,
};
pub use units::{BlockHash, OutPoint, SATS_TO_WEI, Txid, sats_to_wei};
