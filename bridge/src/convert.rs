//! Bitcoin's identifiers as the chain's pure code has them.

use alloy_primitives::B256;
use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Txid};
use bitsect_vm::chain;

/// Gives an outpoint as the chain has it.
pub fn chain_outpoint(outpoint: &OutPoint) -> chain::OutPoint {
    chain::OutPoint {
        txid: chain_txid(&outpoint.txid),
        vout: outpoint.vout,
    }
}

/// Gives a txid as the chain has it.
pub fn chain_txid(txid: &Txid) -> B256 {
    B256::new(txid.to_byte_array())
}
