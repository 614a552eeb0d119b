//! Public keys out of signatures (SEC 1, 4.1.6).

use k256::elliptic_curve::ff::PrimeField;
use k256::elliptic_curve::ops::{Invert, Reduce};
use k256::{Scalar, U256};

use super::field::Field;
use super::point::{Affine, combination};
use super::split::split;

/// Recovers the public key, x and y, that made a signature `r ‖ s` of a hash; `odd` is the parity of y of the point
/// whose x is r. `None` where there is none. A high s is taken, as by Ethereum's ecrecover.
pub fn recover_public_key(hash: &[u8; 32], signature: &[u8; 64], odd: bool) -> Option<[u8; 64]> {
    let (r_bytes, s_bytes) = signature.split_first_chunk::<32>()?;
    let r = scalar(r_bytes)?;
    let s = scalar(s_bytes.first_chunk()?)?;
    let z = <Scalar as Reduce<U256>>::reduce_bytes(&(*hash).into());
    let x = Field::from_bytes(r_bytes);
    let y = x.squared().times(&x).plus(&Field::small(7)).root()?;
    let y = if y.is_odd() == odd { y } else { y.negated() };
    let inverse = Option::<Scalar>::from(r.invert_vartime())?;
    let (of_generator, of_point) = (-(z * inverse), s * inverse);
    let key = combination(&split(&of_generator), &split(&of_point), &Affine { x, y }).affine()?;
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&key.x.to_bytes());
    bytes[32..].copy_from_slice(&key.y.to_bytes());
    Some(bytes)
}

/// Adds `tweak` times the generator to the point that an x-only key names (BIP-0340: the one whose y is even). Gives
/// the sum's x; `None` where the key names no point, or the sum is infinity.
pub fn tweaked_key(key: &[u8; 32], tweak: &[u8; 32]) -> Option<[u8; 32]> {
    let x = Field::from_bytes(key);
    // x is below the field's prime.
    (x.normal().to_bytes() == *key).then_some(())?;
    let y = x.squared().times(&x).plus(&Field::small(7)).root()?;
    let y = if y.is_odd() { y.negated() } else { y };
    let tweak = <Scalar as Reduce<U256>>::reduce_bytes(&(*tweak).into());
    let sum = combination(&split(&tweak), &split(&Scalar::ONE), &Affine { x, y }).affine()?;
    Some(sum.x.to_bytes())
}

/// Reads a number that is neither zero nor above the order.
fn scalar(bytes: &[u8; 32]) -> Option<Scalar> {
    let scalar = Option::<Scalar>::from(Scalar::from_repr((*bytes).into()))?;
    (scalar != Scalar::ZERO).then_some(scalar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
    use proptest::prelude::*;

    /// What the library says, which refuses a high s: its negative with the other parity is the same signature.
    fn theirs(hash: &[u8; 32], signature: &[u8; 64], odd: bool) -> Option<[u8; 64]> {
        let signature = Signature::from_slice(signature).ok()?;
        let low = signature.normalize_s();
        let id = RecoveryId::new(odd ^ low.is_some(), false);
        let key = VerifyingKey::recover_from_prehash(hash, &low.unwrap_or(signature), id).ok()?;
        key.to_encoded_point(false).as_bytes()[1..].try_into().ok()
    }

    /// Numbers near zero, the order and the field's prime, and any.
    fn number() -> impl Strategy<Value = [u8; 32]> {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let near = prop::sample::select(vec!["00", order]).prop_flat_map(|hex| {
            let end = alloy_primitives::U256::from_str_radix(hex, 16).unwrap();
            (-5_i32..5).prop_map(move |by| {
                let by_abs = alloy_primitives::U256::from(by.unsigned_abs());
                let number = if by < 0 {
                    end.wrapping_sub(by_abs)
                } else {
                    end.wrapping_add(by_abs)
                };
                number.to_be_bytes()
            })
        });
        prop_oneof![3 => any::<[u8; 32]>(), 1 => near]
    }

    proptest! {
        #[test]
        fn agrees_with_the_library(hash: [u8; 32], r in number(), s in number(), odd: bool) {
            let signature: [u8; 64] = [r, s].concat().try_into().unwrap();
            prop_assert_eq!(recover_public_key(&hash, &signature, odd), theirs(&hash, &signature, odd));
        }

        #[test]
        fn finds_the_signer(secret in 1_u128.., hash: [u8; 32]) {
            let mut bytes = [0; 32];
            bytes[16..].copy_from_slice(&secret.to_be_bytes());
            let key = SigningKey::from_slice(&bytes).unwrap();
            let (signature, id) = key.sign_prehash_recoverable(&hash).unwrap();
            let found = recover_public_key(&hash, &signature.to_bytes().into(), id.is_y_odd()).unwrap();
            let expected = key.verifying_key().to_encoded_point(false);
            prop_assert_eq!(&found[..], &expected.as_bytes()[1..]);
        }
    }

    proptest! {
        #[test]
        fn tweaks_as_the_library_does(key in number(), tweak in number()) {
            use k256::elliptic_curve::ops::MulByGenerator;
            use k256::elliptic_curve::point::{AffineCoordinates, DecompressPoint};
            let point = k256::AffinePoint::decompress(&key.into(), 0.into());
            let theirs = Option::<k256::AffinePoint>::from(point).and_then(|point| {
                let tweak = <Scalar as Reduce<U256>>::reduce_bytes(&tweak.into());
                let sum = k256::ProjectivePoint::mul_by_generator(&tweak) + k256::ProjectivePoint::from(point);
                (sum != k256::ProjectivePoint::IDENTITY).then(|| sum.to_affine().x().into())
            });
            prop_assert_eq!(tweaked_key(&key, &tweak), theirs);
        }
    }

    #[test]
    fn sums_that_meet_themselves_are_right() {
        // With s = z the two scalars are negatives of each other; the point may be the generator or its negative.
        let generator = k256::AffinePoint::GENERATOR;
        let r: [u8; 32] = k256::elliptic_curve::point::AffineCoordinates::x(&generator).into();
        for odd in [false, true] {
            for number in [1_u8, 2, 3, 5, 255] {
                let mut hash = [0; 32];
                hash[31] = number;
                let signature: [u8; 64] = [r, hash].concat().try_into().unwrap();
                assert_eq!(
                    recover_public_key(&hash, &signature, odd),
                    theirs(&hash, &signature, odd)
                );
            }
        }
    }
}
