//! Chain types: parameters, blocks, transactions, receipts, Bitcoin identifiers.

mod block;
mod genesis;
mod params;
pub mod predeploys;
mod units;

pub use block::{Block, BlockAttributes, Header, L1Info, Receipt, Transaction};
pub use genesis::{GenesisConfig, genesis_alloc, genesis_header};
pub use params::{ChainParams, DeriveParams, ExecutionParams, L1Network};
pub use units::{BlockHash, OutPoint, SATS_TO_WEI, Txid, sats_to_wei};
