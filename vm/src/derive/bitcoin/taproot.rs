//! Taproot outputs (BIP-0341): derivation recomputes the ones it must recognise.

use alloc::vec::Vec;
use alloy_primitives::B256;
use sha2::{Digest, Sha256};

use super::script::OP_1;
use crate::crypto::tweaked_key;

/// Leaf version of BIP-0342 scripts.
const TAPSCRIPT: u8 = 0xc0;

fn tagged_hash<'a>(tag: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let tag = Sha256::digest(tag.as_bytes());
    let mut hasher = Sha256::new();
    hasher.update(tag);
    hasher.update(tag);
    parts.into_iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// Hashes a leaf script of at most 252 bytes, the longest whose compact size is one byte.
///
/// `None` for a longer script.
pub fn tap_leaf_hash(script: &[u8]) -> Option<B256> {
    let len = u8::try_from(script.len()).ok().filter(|len| *len < 0xfd)?;
    Some(B256::new(tagged_hash("TapLeaf", [&[TAPSCRIPT, len][..], script])))
}

/// Gives the scriptPubKey of a taproot output with this x-only internal key and merkle root.
///
/// `None` when the key is not on the curve.
pub fn tweaked_script(internal_key: &B256, merkle_root: Option<&B256>) -> Option<Vec<u8>> {
    let root = merkle_root.map(B256::as_slice).unwrap_or_default();
    let tweak = tagged_hash("TapTweak", [internal_key.as_slice(), root]);
    // A tweak at or above the group order has probability 2^-128; that it is reduced only makes such an output
    // unrecognisable.
    let output = tweaked_key(internal_key, &tweak)?;
    let mut script = Vec::with_capacity(34);
    script.extend([OP_1, 32]);
    script.extend_from_slice(&output);
    Some(script)
}

/// Gives the scriptPubKey of an output that only this x-only key can spend, by key path (BIP-0086).
pub fn key_spend_script(key: &B256) -> Option<Vec<u8>> {
    tweaked_script(key, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::key::{Secp256k1, UntweakedPublicKey};
    use bitcoin::taproot::{LeafVersion, TapLeafHash, TapNodeHash};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn agrees_with_rust_bitcoin(secret in any::<[u8; 32]>(), script in proptest::collection::vec(any::<u8>(), 0..252)) {
            let secp = Secp256k1::new();
            let Ok(secret) = bitcoin::secp256k1::SecretKey::from_slice(&secret) else { return Ok(()) };
            let key: UntweakedPublicKey = secret.x_only_public_key(&secp).0;
            let internal = B256::new(key.serialize());
            let leaf = TapLeafHash::from_script(bitcoin::Script::from_bytes(&script), LeafVersion::TapScript);
            let ours = tap_leaf_hash(&script).unwrap();
            prop_assert_eq!(ours.0, *AsRef::<[u8; 32]>::as_ref(&leaf));
            for root in [None, Some(TapNodeHash::from(leaf))] {
                let theirs = bitcoin::ScriptBuf::new_p2tr(&secp, key, root);
                let merkle = root.map(|_| ours);
                prop_assert_eq!(tweaked_script(&internal, merkle.as_ref()).unwrap(), theirs.into_bytes());
            }
        }
    }
}
