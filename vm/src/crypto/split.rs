//! Splits a scalar for the curve's endomorphism (Gallant, Lambert, Vanstone 2001): two halves need half the doublings.

use k256::elliptic_curve::ops::Reduce;
use k256::elliptic_curve::scalar::IsHigh;
use k256::{Scalar, U256};

use super::field::Field;

/// A number of at most 129 bits, and its sign.
#[derive(Clone, Copy, Debug)]
pub(super) struct Half {
    /// From the least significant.
    pub(super) limbs: [u32; 8],
    pub(super) negative: bool,
}

/// The cube root of one, modulo the order, that the endomorphism multiplies by.
pub(super) const LAMBDA: U256 =
    U256::from_be_hex("5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72");
/// The two short vectors of the lattice of (i, j) with i + j LAMBDA = 0: their second parts, negated, modulo the order.
const MINUS_B1: U256 = U256::from_be_hex("00000000000000000000000000000000e4437ed6010e88286f547fa90abfe4c3");
const MINUS_B2: U256 = U256::from_be_hex("fffffffffffffffffffffffffffffffe8a280ac50774346dd765cda83db1562c");
/// 2^384 times the vectors' shares of a scalar, rounded.
const G1: U256 = U256::from_be_hex("3086d221a7d46bcde86c90e49284eb153daa8a1471e8ca7fe893209a45dbb031");
const G2: U256 = U256::from_be_hex("e4437ed6010e88286f547fa90abfe4c4221208ac9df506c61571b4ae8ac47f71");

/// Gives two halves: the scalar is the first plus LAMBDA times the second.
pub(super) fn split(scalar: &Scalar) -> [Half; 2] {
    let share = |of: &U256, times: &U256| number(&nearest(scalar, of)) * number(times);
    let second = share(&G1, &MINUS_B1) + share(&G2, &MINUS_B2);
    let first = scalar - &(second * number(&LAMBDA));
    [half(&first), half(&second)]
}

/// Multiplies, divides by 2^384 and rounds.
fn nearest(scalar: &Scalar, of: &U256) -> U256 {
    let (_, high): (U256, U256) = U256::from(*scalar).mul_wide(of);
    let rounding = U256::from(u8::from(high.bit_vartime(127)));
    high.shr_vartime(128).wrapping_add(&rounding)
}

/// A constant, or a quotient of 128 bits, as a scalar.
fn number(value: &U256) -> Scalar {
    <Scalar as Reduce<U256>>::reduce(*value)
}

fn half(scalar: &Scalar) -> Half {
    let negative = bool::from(scalar.is_high());
    let magnitude = if negative { -scalar } else { *scalar };
    let Field(limbs) = Field::from_bytes(&magnitude.to_bytes().into());
    Half { limbs, negative }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scalar(half: &Half) -> Scalar {
        assert!(
            half.limbs[5..] == [0; 3] && half.limbs[4] <= 1,
            "at most 129 bits"
        );
        let magnitude: U256 = half.limbs.iter().rev().fold(U256::ZERO, |sum, limb| {
            sum.shl_vartime(32).wrapping_add(&U256::from(*limb))
        });
        let magnitude = number(&magnitude);
        if half.negative { -magnitude } else { magnitude }
    }

    proptest! {
        #[test]
        fn halves_are_short_and_make_the_scalar(bytes: [u8; 32], near in 0_u32..4) {
            let any = <Scalar as Reduce<U256>>::reduce_bytes(&bytes.into());
            for whole in [any, Scalar::from(near), -Scalar::from(near), number(&LAMBDA) + Scalar::from(near)] {
                let [first, second] = split(&whole);
                prop_assert_eq!(scalar(&first) + scalar(&second) * number(&LAMBDA), whole);
            }
        }
    }
}
