//! Chain types: parameters, blocks, transactions, receipts, Bitcoin identifiers.

mod block;
mod params;
mod units;

pub use block::{Block, BlockAttributes, Header, L1Info, Receipt, Transaction};
pub use params::{ChainParams, DeriveParams, ExecutionParams, L1Network};
pub use units::{BlockHash, OutPoint, SATS_TO_WEI, Txid, sats_to_wei};
