//! Points of y^2 = x^3 + 7 in Jacobian coordinates, and the sum that recovery needs.

use super::field::Field;
use super::generator::GENERATOR_MULTIPLES;
use super::split::Half;

/// A point other than infinity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    pub(super) x: Field,
    pub(super) y: Field,
}

/// The point (x / z^2, y / z^3); infinity where z is zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jacobian {
    x: Field,
    y: Field,
    z: Field,
}

/// Digits of a scalar are odd and below 2^(WIDTH - 1), with WIDTH - 1 zeros behind each.
const WIDTH: usize = 5;
/// Odd multiples of a point that the digits need.
pub(super) const MULTIPLES: usize = 1 << (WIDTH - 2);
/// Digits of half a scalar: one more than its bits, which [`Half`] has at most 129 of.
const DIGITS: usize = 130;

/// The cube root of one that multiplies x where a point is multiplied by [`super::split::LAMBDA`].
const BETA: Field = Field([
    0x7195_01ee,
    0xc139_6c28,
    0x12f5_8995,
    0x9cf0_4975,
    0xac34_34e9,
    0x6e64_479e,
    0x657c_0710,
    0x7ae9_6a2b,
]);

impl From<Affine> for Jacobian {
    fn from(point: Affine) -> Self {
        Self {
            x: point.x,
            y: point.y,
            z: Field::ONE,
        }
    }
}

impl Affine {
    fn negated(&self) -> Self {
        Self {
            x: self.x,
            y: self.y.negated(),
        }
    }
}

impl Jacobian {
    const INFINITY: Self = Self {
        x: Field::ONE,
        y: Field::ONE,
        z: Field::ZERO,
    };

    fn is_infinity(&self) -> bool {
        self.z.is_zero()
    }

    /// Gives the point itself; `None` for infinity.
    pub(super) fn affine(&self) -> Option<Affine> {
        (!self.is_infinity()).then(|| self.scaled(&self.z.inverse()))
    }

    /// Gives the point, where z's inverse is known.
    fn scaled(&self, inverse: &Field) -> Affine {
        let square = inverse.squared();
        Affine {
            x: self.x.times(&square),
            y: self.y.times(&square.times(inverse)),
        }
    }

    /// "dbl-2009-l" of the Explicit-Formulas Database. No point has order two.
    fn doubled(&self) -> Self {
        let a = self.x.squared();
        let b = self.y.squared();
        let c = b.squared();
        let d = self.x.plus(&b).squared().minus(&a).minus(&c).doubled();
        let e = a.doubled().plus(&a);
        let x = e.squared().minus(&d.doubled());
        let y = e.times(&d.minus(&x)).minus(&c.doubled().doubled().doubled());
        let z = self.y.times(&self.z).doubled();
        Self { x, y, z }
    }

    /// Adds a point whose z is one: "madd" of the Explicit-Formulas Database.
    fn plus_affine(&self, other: &Affine) -> Self {
        if self.is_infinity() {
            return (*other).into();
        }
        let zz = self.z.squared();
        let h = other.x.times(&zz).minus(&self.x);
        let r = other.y.times(&zz.times(&self.z)).minus(&self.y);
        self.finish_sum(&self.x, &self.y, &h, &r, &self.z)
    }

    fn plus(&self, other: &Self) -> Self {
        if self.is_infinity() {
            return *other;
        }
        if other.is_infinity() {
            return *self;
        }
        let (zz1, zz2) = (self.z.squared(), other.z.squared());
        let (u1, u2) = (self.x.times(&zz2), other.x.times(&zz1));
        let s1 = self.y.times(&zz2.times(&other.z));
        let s2 = other.y.times(&zz1.times(&self.z));
        self.finish_sum(&u1, &s1, &u2.minus(&u1), &s2.minus(&s1), &self.z.times(&other.z))
    }

    /// The part that both sums share: `h` and `r` are the differences of the two x and the two y.
    fn finish_sum(&self, x1: &Field, y1: &Field, h: &Field, r: &Field, z: &Field) -> Self {
        if h.is_zero() {
            return if r.is_zero() {
                self.doubled()
            } else {
                Self::INFINITY
            };
        }
        let hh = h.squared();
        let hhh = hh.times(h);
        let v = x1.times(&hh);
        let x = r.squared().minus(&hhh).minus(&v.doubled());
        let y = r.times(&v.minus(&x)).minus(&y1.times(&hhh));
        Self { x, y, z: z.times(h) }
    }
}

/// Gives 1, 3, 5 ... times a point. It has a large prime order, so none is infinity.
fn odd_multiples(point: &Affine) -> [Affine; MULTIPLES] {
    let first = Jacobian::from(*point);
    let twice = first.doubled();
    let mut multiples = [first; MULTIPLES];
    for i in 1..MULTIPLES {
        multiples[i] = multiples[i - 1].plus(&twice);
    }
    // One inversion for all: products of the z up to each, then back.
    let mut products = [Field::ONE; MULTIPLES];
    let mut product = Field::ONE;
    for (to, multiple) in products.iter_mut().zip(&multiples) {
        *to = product;
        product = product.times(&multiple.z);
    }
    let mut inverse = product.inverse();
    let mut result = [*point; MULTIPLES];
    for (to, (multiple, before)) in result.iter_mut().zip(multiples.iter().zip(&products)).rev() {
        *to = multiple.scaled(&inverse.times(before));
        inverse = inverse.times(&multiple.z);
    }
    result
}

/// The multiples of LAMBDA times the point.
fn endomorphed(multiples: &[Affine; MULTIPLES]) -> [Affine; MULTIPLES] {
    let mut result = *multiples;
    for point in &mut result {
        point.x = point.x.times(&BETA);
    }
    result
}

/// Writes half a scalar in digits that are odd or zero.
fn digits(half: &Half) -> [i8; DIGITS] {
    let mut digits = [0; DIGITS];
    let bits = |at: usize, count: usize| {
        let limb = |index: usize| u64::from(half.limbs.get(index).copied().unwrap_or_default());
        let wide = limb(at / 32) | limb(at / 32 + 1) << 32;
        (wide >> (at % 32)) as u32 & ((1 << count) - 1)
    };
    let (mut at, mut carry) = (0, 0);
    while at < DIGITS {
        if bits(at, 1) == carry {
            at += 1;
            continue;
        }
        let window = bits(at, WIDTH) + carry;
        carry = window >> (WIDTH - 1);
        let digit = (window as i8) - ((carry as i8) << WIDTH);
        digits[at] = if half.negative { -digit } else { digit };
        at += WIDTH;
    }
    digits
}

/// Adds a digit's multiple, in its place: a point is 96 bytes.
fn add_digit(sum: &mut Jacobian, digit: i8, multiples: &[Affine; MULTIPLES]) {
    let multiple = &multiples[usize::from(digit.unsigned_abs() / 2) % MULTIPLES];
    match digit {
        0 => {}
        1.. => *sum = sum.plus_affine(multiple),
        _ => *sum = sum.plus_affine(&multiple.negated()),
    }
}

/// Computes `a` times the generator plus `b` times `point`, both scalars split in halves.
pub(super) fn combination(a: &[Half; 2], b: &[Half; 2], point: &Affine) -> Jacobian {
    let multiples = odd_multiples(point);
    let tables = [
        GENERATOR_MULTIPLES,
        endomorphed(&GENERATOR_MULTIPLES),
        multiples,
        endomorphed(&multiples),
    ];
    let digits = [digits(&a[0]), digits(&a[1]), digits(&b[0]), digits(&b[1])];
    let mut sum = Jacobian::INFINITY;
    for at in (0..DIGITS).rev() {
        sum = sum.doubled();
        for (digits, table) in digits.iter().zip(&tables) {
            add_digit(&mut sum, digits[at], table);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generator_multiples_are_its_odd_multiples() {
        for (ours, table) in odd_multiples(&GENERATOR_MULTIPLES[0])
            .iter()
            .zip(&GENERATOR_MULTIPLES)
        {
            assert!(ours.x.equals(&table.x) && ours.y.equals(&table.y));
        }
    }
}
