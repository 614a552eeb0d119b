//! Numbers modulo p = 2^256 - 2^32 - 977 (SEC 2, 2.4.1), in eight 32-bit limbs.

/// Limbs of a number, the least significant first.
const LIMBS: usize = 8;
/// What 2^256 is modulo p, less 2^32.
const C: u64 = 977;

/// A number below 2^256, standing for itself modulo p.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field(pub(super) [u32; LIMBS]);

/// p itself.
const P: [u32; LIMBS] = [
    0xffff_fc2f,
    0xffff_fffe,
    u32::MAX,
    u32::MAX,
    u32::MAX,
    u32::MAX,
    u32::MAX,
    u32::MAX,
];

impl Field {
    pub(super) const ZERO: Self = Self([0; LIMBS]);
    pub(super) const ONE: Self = Self::small(1);

    pub(super) const fn small(value: u32) -> Self {
        Self([value, 0, 0, 0, 0, 0, 0, 0])
    }

    /// Reads 32 big-endian bytes, of any value.
    pub(super) fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut limbs = [0; LIMBS];
        for (limb, bytes) in limbs.iter_mut().rev().zip(bytes.as_chunks::<4>().0) {
            *limb = u32::from_be_bytes(*bytes);
        }
        Self(limbs)
    }

    /// Writes the number below p as 32 big-endian bytes.
    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let Self(limbs) = self.normal();
        for (to, limb) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(limbs.iter().rev()) {
            *to = limb.to_be_bytes();
        }
        bytes
    }

    /// Gives the same number below p.
    pub(super) fn normal(self) -> Self {
        let (reduced, borrow) = subtract(&self.0, &P);
        if borrow { self } else { Self(reduced) }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0 == [0; LIMBS] || self.0 == P
    }

    pub(super) fn is_odd(self) -> bool {
        self.normal().0[0] & 1 == 1
    }

    pub(super) fn equals(&self, other: &Self) -> bool {
        self.minus(other).is_zero()
    }

    #[inline]
    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut sum = [0; LIMBS];
        let mut carry = 0;
        for (to, (a, b)) in sum.iter_mut().zip(self.0.iter().zip(&other.0)) {
            let wide = u64::from(*a) + u64::from(*b) + carry;
            *to = wide as u32;
            carry = wide >> 32;
        }
        fold(sum, carry as u32)
    }

    #[inline]
    pub(super) fn minus(&self, other: &Self) -> Self {
        let (difference, borrow) = subtract(&self.0, &other.0);
        if !borrow {
            return Self(difference);
        }
        // 2^256 too much, which is 2^32 + 977 modulo p.
        let (corrected, borrow) = subtract(&difference, &[C as u32, 1, 0, 0, 0, 0, 0, 0]);
        if !borrow {
            return Self(corrected);
        }
        Self(subtract(&corrected, &[C as u32, 1, 0, 0, 0, 0, 0, 0]).0)
    }

    #[inline]
    pub(super) fn doubled(&self) -> Self {
        self.plus(self)
    }

    pub(super) fn negated(&self) -> Self {
        Self::ZERO.minus(self)
    }

    #[inline(never)]
    pub(super) fn times(&self, other: &Self) -> Self {
        let (a, b) = (self.0, other.0);
        let mut sum = Column::default();
        reduce(&[
            sum.plus(a[0], b[0]).take(),
            sum.plus(a[0], b[1]).plus(a[1], b[0]).take(),
            sum.plus(a[0], b[2]).plus(a[1], b[1]).plus(a[2], b[0]).take(),
            sum.plus(a[0], b[3])
                .plus(a[1], b[2])
                .plus(a[2], b[1])
                .plus(a[3], b[0])
                .take(),
            sum.plus(a[0], b[4])
                .plus(a[1], b[3])
                .plus(a[2], b[2])
                .plus(a[3], b[1])
                .plus(a[4], b[0])
                .take(),
            sum.plus(a[0], b[5])
                .plus(a[1], b[4])
                .plus(a[2], b[3])
                .plus(a[3], b[2])
                .plus(a[4], b[1])
                .plus(a[5], b[0])
                .take(),
            sum.plus(a[0], b[6])
                .plus(a[1], b[5])
                .plus(a[2], b[4])
                .plus(a[3], b[3])
                .plus(a[4], b[2])
                .plus(a[5], b[1])
                .plus(a[6], b[0])
                .take(),
            sum.plus(a[0], b[7])
                .plus(a[1], b[6])
                .plus(a[2], b[5])
                .plus(a[3], b[4])
                .plus(a[4], b[3])
                .plus(a[5], b[2])
                .plus(a[6], b[1])
                .plus(a[7], b[0])
                .take(),
            sum.plus(a[1], b[7])
                .plus(a[2], b[6])
                .plus(a[3], b[5])
                .plus(a[4], b[4])
                .plus(a[5], b[3])
                .plus(a[6], b[2])
                .plus(a[7], b[1])
                .take(),
            sum.plus(a[2], b[7])
                .plus(a[3], b[6])
                .plus(a[4], b[5])
                .plus(a[5], b[4])
                .plus(a[6], b[3])
                .plus(a[7], b[2])
                .take(),
            sum.plus(a[3], b[7])
                .plus(a[4], b[6])
                .plus(a[5], b[5])
                .plus(a[6], b[4])
                .plus(a[7], b[3])
                .take(),
            sum.plus(a[4], b[7])
                .plus(a[5], b[6])
                .plus(a[6], b[5])
                .plus(a[7], b[4])
                .take(),
            sum.plus(a[5], b[7]).plus(a[6], b[6]).plus(a[7], b[5]).take(),
            sum.plus(a[6], b[7]).plus(a[7], b[6]).take(),
            sum.plus(a[7], b[7]).take(),
            sum.take(),
        ])
    }

    #[inline(never)]
    pub(super) fn squared(&self) -> Self {
        let a = self.0;
        let mut sum = Column::default();
        reduce(&[
            sum.plus(a[0], a[0]).take(),
            sum.plus_twice(Column::default().plus(a[0], a[1])).take(),
            sum.plus_twice(Column::default().plus(a[0], a[2]))
                .plus(a[1], a[1])
                .take(),
            sum.plus_twice(Column::default().plus(a[0], a[3]).plus(a[1], a[2]))
                .take(),
            sum.plus_twice(Column::default().plus(a[0], a[4]).plus(a[1], a[3]))
                .plus(a[2], a[2])
                .take(),
            sum.plus_twice(
                Column::default()
                    .plus(a[0], a[5])
                    .plus(a[1], a[4])
                    .plus(a[2], a[3]),
            )
            .take(),
            sum.plus_twice(
                Column::default()
                    .plus(a[0], a[6])
                    .plus(a[1], a[5])
                    .plus(a[2], a[4]),
            )
            .plus(a[3], a[3])
            .take(),
            sum.plus_twice(
                Column::default()
                    .plus(a[0], a[7])
                    .plus(a[1], a[6])
                    .plus(a[2], a[5])
                    .plus(a[3], a[4]),
            )
            .take(),
            sum.plus_twice(
                Column::default()
                    .plus(a[1], a[7])
                    .plus(a[2], a[6])
                    .plus(a[3], a[5]),
            )
            .plus(a[4], a[4])
            .take(),
            sum.plus_twice(
                Column::default()
                    .plus(a[2], a[7])
                    .plus(a[3], a[6])
                    .plus(a[4], a[5]),
            )
            .take(),
            sum.plus_twice(Column::default().plus(a[3], a[7]).plus(a[4], a[6]))
                .plus(a[5], a[5])
                .take(),
            sum.plus_twice(Column::default().plus(a[4], a[7]).plus(a[5], a[6]))
                .take(),
            sum.plus_twice(Column::default().plus(a[5], a[7]))
                .plus(a[6], a[6])
                .take(),
            sum.plus_twice(Column::default().plus(a[6], a[7])).take(),
            sum.plus(a[7], a[7]).take(),
            sum.take(),
        ])
    }

    fn squared_times(mut self, count: usize) -> Self {
        for _ in 0..count {
            self = self.squared();
        }
        self
    }

    /// Powers 2^n - 1 that both exponents below are made of: n = 2, 22, 223.
    fn powers(&self) -> [Self; 3] {
        let x2 = self.squared().times(self);
        let x3 = x2.squared().times(self);
        let x6 = x3.squared_times(3).times(&x3);
        let x9 = x6.squared_times(3).times(&x3);
        let x11 = x9.squared_times(2).times(&x2);
        let x22 = x11.squared_times(11).times(&x11);
        let x44 = x22.squared_times(22).times(&x22);
        let x88 = x44.squared_times(44).times(&x44);
        let x176 = x88.squared_times(88).times(&x88);
        let x220 = x176.squared_times(44).times(&x44);
        let x223 = x220.squared_times(3).times(&x3);
        [x2, x22, x223]
    }

    /// Gives the inverse, by Fermat: the power p - 2. That of zero is zero.
    pub(super) fn inverse(&self) -> Self {
        let [x2, x22, x223] = self.powers();
        let high = x223.squared_times(23).times(&x22);
        high.squared_times(5)
            .times(self)
            .squared_times(3)
            .times(&x2)
            .squared_times(2)
            .times(self)
    }

    /// Gives a square root, where there is one: the power (p + 1) / 4.
    pub(super) fn root(&self) -> Option<Self> {
        let [x2, x22, x223] = self.powers();
        let root = x223
            .squared_times(23)
            .times(&x22)
            .squared_times(6)
            .times(&x2)
            .squared_times(2);
        root.squared().equals(self).then_some(root)
    }
}

/// The sum of products of one weight, and what is carried: three limbs, the least significant first.
///
/// A column at a time, all operands stay in registers of a 32-bit machine.
#[derive(Clone, Copy, Default)]
struct Column([u32; 3]);

impl Column {
    #[inline(always)]
    fn plus(&mut self, a: u32, b: u32) -> &mut Self {
        let product = u64::from(a) * u64::from(b);
        let [low, middle, high] = self.0;
        let (low, carry) = low.overflowing_add(product as u32);
        // The upper half of a product is at most 2^32 - 2.
        let upper = (product >> 32) as u32 + u32::from(carry);
        let (middle, carry) = middle.overflowing_add(upper);
        self.0 = [low, middle, high + u32::from(carry)];
        self
    }

    #[inline(always)]
    fn plus_twice(&mut self, other: &Self) -> &mut Self {
        let [a, b, c] = other.0;
        let doubled = [a << 1, b << 1 | a >> 31, c << 1 | b >> 31];
        let [low, middle, high] = self.0;
        let (low, carry) = low.overflowing_add(doubled[0]);
        let (middle, one) = middle.overflowing_add(doubled[1]);
        let (middle, two) = middle.overflowing_add(u32::from(carry));
        self.0 = [low, middle, high + doubled[2] + u32::from(one) + u32::from(two)];
        self
    }

    /// Gives the lowest limb, and goes on to the next column.
    #[inline(always)]
    fn take(&mut self) -> u32 {
        let [low, middle, high] = self.0;
        self.0 = [middle, high, 0];
        low
    }
}

#[inline]
fn subtract(a: &[u32; LIMBS], b: &[u32; LIMBS]) -> ([u32; LIMBS], bool) {
    let mut difference = [0; LIMBS];
    let mut borrow = false;
    for (to, (a, b)) in difference.iter_mut().zip(a.iter().zip(b)) {
        (*to, borrow) = {
            let (first, one) = a.overflowing_sub(*b);
            let (second, two) = first.overflowing_sub(u32::from(borrow));
            (second, one | two)
        };
    }
    (difference, borrow)
}

/// Reduces 512 bits: 2^256 is 2^32 + 977.
#[inline(always)]
fn reduce(product: &[u32; 2 * LIMBS]) -> Field {
    let (low, high) = product.split_at(LIMBS);
    let mut sum = [0; LIMBS];
    let (mut carry, mut before) = (0, 0);
    for (to, (low, high)) in sum.iter_mut().zip(low.iter().zip(high)) {
        // Below 2^42 + 2^34: no overflow.
        let wide = u64::from(*high) * C + u64::from(*low) + u64::from(before) + carry;
        *to = wide as u32;
        carry = wide >> 32;
        before = *high;
    }
    // What is left above 2^256: below 2^34.
    let top = carry + u64::from(before);
    let mut wide = u64::from(sum[0]) + top * C;
    sum[0] = wide as u32;
    wide = u64::from(sum[1]) + (wide >> 32) + (top & 0xffff_ffff);
    sum[1] = wide as u32;
    wide = u64::from(sum[2]) + (wide >> 32) + (top >> 32);
    sum[2] = wide as u32;
    let mut carry = (wide >> 32) as u32;
    for limb in &mut sum[3..] {
        if carry == 0 {
            break;
        }
        let overflowed;
        (*limb, overflowed) = limb.overflowing_add(carry);
        carry = u32::from(overflowed);
    }
    fold(sum, carry)
}

/// Adds `carry` times 2^256.
#[inline]
fn fold(mut sum: [u32; LIMBS], mut carry: u32) -> Field {
    while carry != 0 {
        let mut wide = u64::from(sum[0]) + C;
        sum[0] = wide as u32;
        wide = u64::from(sum[1]) + 1 + (wide >> 32);
        sum[1] = wide as u32;
        let mut left = (wide >> 32) as u32;
        for limb in &mut sum[2..] {
            if left == 0 {
                break;
            }
            let overflowed;
            (*limb, overflowed) = limb.overflowing_add(left);
            left = u32::from(overflowed);
        }
        carry = carry - 1 + left;
    }
    Field(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use proptest::prelude::*;

    fn modulus() -> U256 {
        U256::from_limbs([0xffff_fffe_ffff_fc2f, u64::MAX, u64::MAX, u64::MAX])
    }

    fn value(number: &Field) -> U256 {
        U256::from_be_bytes(number.to_bytes())
    }

    /// Any number, and those near the ends of the range.
    fn number() -> impl Strategy<Value = Field> {
        let near = (any::<bool>(), 0_u32..3000).prop_map(|(low, by)| {
            let end = if low {
                U256::ZERO
            } else {
                modulus() - U256::from(1000)
            };
            end.wrapping_add(U256::from(by)).to_be_bytes()
        });
        let limbs = prop::collection::vec(prop_oneof![Just(0_u32), Just(u32::MAX), any::<u32>()], 8);
        prop_oneof![
            any::<[u8; 32]>().prop_map(|bytes| Field::from_bytes(&bytes)),
            near.prop_map(|bytes: [u8; 32]| Field::from_bytes(&bytes)),
            limbs.prop_map(|limbs| Field(limbs.try_into().unwrap())),
        ]
    }

    proptest! {
        #[test]
        fn arithmetic_is_that_of_big_numbers(a in number(), b in number()) {
            let p = modulus();
            let (x, y) = (value(&a), value(&b));
            prop_assert!(x < p);
            prop_assert_eq!(value(&a.plus(&b)), x.add_mod(y, p));
            prop_assert_eq!(value(&a.minus(&b)), x.add_mod(p - y, p));
            prop_assert_eq!(value(&a.negated()), U256::ZERO.add_mod(p - x, p));
            prop_assert_eq!(value(&a.times(&b)), x.mul_mod(y, p));
            prop_assert_eq!(value(&a.squared()), x.mul_mod(x, p));
            prop_assert_eq!(a.equals(&b), x == y);
            prop_assert_eq!(a.is_zero(), x.is_zero());
            prop_assert_eq!(a.is_odd(), x.bit(0));
        }

        #[test]
        fn inverses_and_roots_are_what_they_say(a in number()) {
            if a.is_zero() {
                prop_assert!(a.inverse().is_zero());
            } else {
                prop_assert!(a.times(&a.inverse()).equals(&Field::ONE));
            }
            let square = a.squared();
            let root = square.root().expect("a square");
            prop_assert!(root.equals(&a) || root.equals(&a.negated()));
            // -1 is no square modulo p: of a number and its negative, one is.
            prop_assert!(a.is_zero() || square.negated().root().is_none());
        }
    }
}
