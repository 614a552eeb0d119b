//! The outputs of the graph: who spends them, when, with which witness.

mod answered;
mod asked;
mod bond;
mod funds;
mod ticket;
mod tree;

use bitcoin::taproot::TapNodeHash;
use bitcoin::{Amount, ScriptBuf, TxOut, Witness, XOnlyPublicKey};

pub use answered::{Answered, Win};
pub use asked::Asked;
pub use bond::Bond;
pub use funds::Funds;
pub use ticket::Ticket;
pub use tree::ScriptTree;

/// How an input is spent: what its signature covers beside the transaction (BIP-0341, BIP-0342).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// By the key, tweaked by the Scripts' root where there are any.
    Key(Option<TapNodeHash>),
    /// By the leaf of this hash.
    Leaf(bitcoin::taproot::TapLeafHash),
}

/// Gives the output of a pay-to-anchor script, which anybody spends.
pub fn anchor(value: Amount) -> TxOut {
    TxOut {
        value,
        script_pubkey: ScriptBuf::new_p2a(),
    }
}

/// Gives the witness of a key path.
pub fn key_witness(signature: &bitcoin::taproot::Signature) -> Witness {
    Witness::p2tr_key_spend(signature)
}

/// A point whose discrete logarithm nobody knows (BIP-0341): outputs that only Scripts spend have it.
pub fn nobody() -> XOnlyPublicKey {
    const NOBODY: [u8; 32] = [
        0x50, 0x92, 0x9b, 0x74, 0xc1, 0xa0, 0x49, 0x54, 0xb7, 0x8b, 0x4b, 0x60, 0x35, 0xe9, 0x7a, 0x5e, 0x07,
        0x8a, 0x5a, 0x0f, 0x28, 0xec, 0x96, 0xd5, 0x47, 0xbf, 0xee, 0x9a, 0xce, 0x80, 0x3a, 0xc0,
    ];
    XOnlyPublicKey::from_slice(&NOBODY).expect("BIP-0341 gives a point of the curve")
}
