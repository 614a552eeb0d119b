//! Between the chain's Bitcoin identifiers and rust-bitcoin's: the same bytes, two types.

use alloy_primitives::B256;
use bitcoin::hashes::Hash;
use bitsect_vm::chain::{L1Network, OutPoint};

/// Gives rust-bitcoin's outpoint.
pub fn outpoint(outpoint: &OutPoint) -> bitcoin::OutPoint {
    bitcoin::OutPoint {
        txid: bitcoin_txid(&outpoint.txid),
        vout: outpoint.vout,
    }
}

/// Gives the chain's outpoint.
pub fn chain_outpoint(outpoint: &bitcoin::OutPoint) -> OutPoint {
    OutPoint {
        txid: B256::new(outpoint.txid.to_byte_array()),
        vout: outpoint.vout,
    }
}

/// Gives the chain's transaction id.
pub fn txid(txid: &bitcoin::Txid) -> B256 {
    B256::new(txid.to_byte_array())
}

/// Gives rust-bitcoin's transaction id.
pub fn bitcoin_txid(txid: &B256) -> bitcoin::Txid {
    bitcoin::Txid::from_byte_array(txid.0)
}

/// Gives the chain's block hash.
pub fn block_hash(hash: &bitcoin::BlockHash) -> B256 {
    B256::new(hash.to_byte_array())
}

/// Gives rust-bitcoin's block hash.
pub fn bitcoin_hash(hash: &B256) -> bitcoin::BlockHash {
    bitcoin::BlockHash::from_byte_array(hash.0)
}

/// Gives rust-bitcoin's network.
pub const fn network(network: L1Network) -> bitcoin::Network {
    match network {
        L1Network::Bitcoin => bitcoin::Network::Bitcoin,
        L1Network::Testnet4 => bitcoin::Network::Testnet4,
        L1Network::Signet => bitcoin::Network::Signet,
        L1Network::Regtest => bitcoin::Network::Regtest,
    }
}
