//! Authorities of EIP-7702: who signed an authorization.

use alloy_consensus::crypto::secp256k1::recover_signer;
use alloy_primitives::{Address, U256};
use revm::context::transaction::{AuthorizationTr, RecoveredAuthorization, SignedAuthorization};
use revm::context_interface::either::Either;

/// An authorization as the EVM sees it.
///
/// Its signer is recovered as a transaction's is, by what the build chose for that: libsecp256k1 natively,
/// `crate::crypto` on the machine. The library's own type knows no such choice (11.7 M steps where 2.2 M do). It stays
/// lazy, for the EVM asks only where chain id and nonce could be right.
#[derive(Clone, Copy, Debug)]
pub struct EvmAuthorization<'a>(pub(super) &'a Either<SignedAuthorization, RecoveredAuthorization>);

impl AuthorizationTr for EvmAuthorization<'_> {
    fn authority(&self) -> Option<Address> {
        match self.0 {
            Either::Left(signed) => recover_authority(signed),
            Either::Right(recovered) => recovered.authority(),
        }
    }

    fn chain_id(&self) -> U256 {
        self.0.chain_id()
    }

    fn nonce(&self) -> u64 {
        self.0.nonce()
    }

    fn address(&self) -> Address {
        self.0.address()
    }
}

/// Recovers the signer of an authorization. `None` for a parity above 1, a high s, and where there is no signer.
fn recover_authority(signed: &SignedAuthorization) -> Option<Address> {
    recover_signer(&signed.signature().ok()?, signed.signature_hash()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::recover_public_key;
    use alloy_eips::eip7702::Authorization;
    use alloy_primitives::{Signature, uint};
    use k256::ecdsa::SigningKey;
    use proptest::prelude::*;

    const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

    /// What `crate::crypto` makes of it, which is what the machine runs.
    fn by_our_crypto(signed: &SignedAuthorization) -> Option<Address> {
        let signature = signed.signature().ok()?;
        if signature.s() > ORDER >> 1 {
            return None;
        }
        let bytes = [signature.r().to_be_bytes::<32>(), signature.s().to_be_bytes()].concat();
        let key = recover_public_key(&signed.signature_hash(), bytes.as_array()?, signature.v())?;
        Some(Address::from_raw_public_key(&key))
    }

    /// Numbers near zero, the order and its half, and any.
    fn number() -> impl Strategy<Value = U256> {
        let near = prop::sample::select(vec![U256::ZERO, ORDER >> 1, ORDER]);
        let near = (near, 0_u8..10)
            .prop_map(|(end, by)| end.wrapping_add(U256::from(by)).wrapping_sub(U256::from(5)));
        prop_oneof![2 => any::<[u8; 32]>().prop_map(U256::from_be_bytes), 1 => near]
    }

    fn authorization() -> impl Strategy<Value = Authorization> {
        (any::<u64>(), any::<[u8; 20]>(), any::<u64>()).prop_map(|(chain_id, address, nonce)| Authorization {
            chain_id: U256::from(chain_id),
            address: address.into(),
            nonce,
        })
    }

    proptest! {
        #[test]
        fn three_ways_agree(inner in authorization(), parity in 0_u8..3, r in number(), s in number()) {
            let signed = SignedAuthorization::new_unchecked(inner, parity, r, s);
            let authority = recover_authority(&signed);
            prop_assert_eq!(authority, signed.recover_authority().ok());
            prop_assert_eq!(authority, by_our_crypto(&signed));
        }

        #[test]
        fn the_signer_is_found(inner in authorization(), secret in 1_u128.., high: bool) {
            let key = SigningKey::from_slice(&U256::from(secret).to_be_bytes::<32>()).unwrap();
            let made = key.sign_prehash_recoverable(inner.signature_hash().as_slice()).unwrap();
            let mut signature = Signature::from(made);
            if high {
                signature = Signature::new(signature.r(), ORDER - signature.s(), !signature.v());
            }
            let signed = inner.into_signed(signature);
            let expected = (!high).then(|| Address::from_public_key(key.verifying_key()));
            prop_assert_eq!(recover_authority(&signed), expected);
            prop_assert_eq!(by_our_crypto(&signed), expected);
            prop_assert_eq!(EvmAuthorization(&Either::Left(signed)).authority(), expected);
        }
    }
}
