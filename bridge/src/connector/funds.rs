//! Outputs of the committee's key alone: main, the connectors, the reimburse connector.

use bitcoin::key::{Secp256k1, TapTweak};
use bitcoin::secp256k1::All;
use bitcoin::{Amount, ScriptBuf, TxOut, XOnlyPublicKey};

use super::Path;

/// An output whose only way on is the key path of `Q`: what was pre-signed, and nothing else. How old it has to be is in
/// the spending input's sequence (BIP-0068), which the signature covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funds {
    script_pubkey: ScriptBuf,
}

impl Funds {
    /// Makes the output of the committee's key.
    pub fn new(secp: &Secp256k1<All>, committee: XOnlyPublicKey) -> Self {
        let (key, _) = committee.tap_tweak(secp, None);
        Self {
            script_pubkey: ScriptBuf::new_p2tr_tweaked(key),
        }
    }

    /// Gives the output with a value.
    pub fn output(&self, value: Amount) -> TxOut {
        TxOut {
            value,
            script_pubkey: self.script_pubkey.clone(),
        }
    }

    /// How it is spent.
    pub const fn path() -> Path {
        Path::Key(None)
    }
}
