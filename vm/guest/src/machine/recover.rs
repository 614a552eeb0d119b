//! Signature recovery by `bitsect_vm::crypto`, for transactions and for the precompile.

use alloc::sync::Arc;
use alloy_consensus::crypto::RecoveryError;
use alloy_consensus::crypto::backend::{CryptoProvider, install_default_provider};
use alloy_primitives::{Address, keccak256};
use bitsect_vm::crypto::recover_public_key;
use revm::precompile::{Crypto, PrecompileHalt, install_crypto};

#[derive(Debug)]
struct Recovery;

impl Recovery {
    /// The hash of the signer's public key, of which an address is the end.
    fn signer(hash: &[u8; 32], signature: &[u8; 64], odd: bool) -> Option<[u8; 32]> {
        recover_public_key(hash, signature, odd).map(|key| keccak256(key).0)
    }
}

impl CryptoProvider for Recovery {
    fn recover_signer_unchecked(&self, sig: &[u8; 65], msg: &[u8; 32]) -> Result<Address, RecoveryError> {
        let (signature, [odd]) = sig
            .split_first_chunk::<64>()
            .and_then(|(signature, end)| Some((signature, end.first_chunk::<1>()?)))
            .ok_or_else(RecoveryError::new)?;
        let hash = Self::signer(msg, signature, *odd == 1).ok_or_else(RecoveryError::new)?;
        Ok(Address::from_word(hash.into()))
    }

    /// Nothing here knows a public key beforehand.
    fn verify_and_compute_signer_unchecked(
        &self,
        _: &[u8; 65],
        _: &[u8; 64],
        _: &[u8; 32],
    ) -> Result<Address, RecoveryError> {
        Err(RecoveryError::new())
    }
}

impl Crypto for Recovery {
    fn secp256k1_ecrecover(
        &self,
        sig: &[u8; 64],
        recid: u8,
        msg: &[u8; 32],
    ) -> Result<[u8; 32], PrecompileHalt> {
        let mut hash = Self::signer(msg, sig, recid == 1).ok_or(PrecompileHalt::Secp256k1RecoverFailed)?;
        hash.iter_mut().take(12).for_each(|byte| *byte = 0);
        Ok(hash)
    }
}

/// Has all signers found by this code. Traps never: a second call changes nothing.
pub(super) fn install() {
    let _ = install_default_provider(Arc::new(Recovery));
    install_crypto(Recovery);
}
