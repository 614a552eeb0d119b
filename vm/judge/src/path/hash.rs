//! A published value is another than a digest.

use super::digits::{difference_of_hash, digits, first_digits, lowest, value_digits};
use crate::hash::blake3::hash_digits;
use crate::leaf::{Inputs, Rule, Value, Values};
use crate::script::{Assembler, Item};
use crate::word::{AT, Digit, verify_differ_at};

/// Digits of a block that is hashed.
const BLOCK: usize = 128;

/// Some digits of what is hashed.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// Digits of a value.
    Digits {
        /// The value.
        value: Value,
        /// The first.
        from: usize,
        /// How many.
        count: usize,
    },
    /// So many zeros.
    Zeros(usize),
}

impl Part {
    /// All digits of a value.
    pub const fn whole(value: Value) -> Self {
        Self::digits(value, 0, value.digits())
    }

    /// Some digits of a value.
    pub const fn digits(value: Value, from: usize, count: usize) -> Self {
        Self::Digits { value, from, count }
    }

    fn message(self, inputs: &Inputs) -> Vec<Digit> {
        match self {
            Self::Digits { value, from, count } => (from..from + count)
                .map(|digit| Digit::Item(inputs.digit(value, digit)))
                .collect(),
            Self::Zeros(count) => vec![Digit::Constant(0); count],
        }
    }

    fn of(self, values: &Values) -> Vec<u8> {
        match self {
            Self::Digits { value, from, count } => value_digits(values, value)[from..from + count].to_vec(),
            Self::Zeros(count) => vec![0; count],
        }
    }
}

/// Adds which digits of which values are hashed.
fn read(reads: &mut Vec<(Value, u128)>, parts: &[Part]) {
    for part in parts {
        let Part::Digits { value, from, count } = *part else {
            continue;
        };
        if count == 0 {
            continue;
        }
        let mask = lowest(count) << from;
        match reads.iter_mut().find(|(read, _)| *read == value) {
            Some((_, kept)) => *kept |= mask,
            None => reads.push((value, mask)),
        }
    }
}

/// The BLAKE3 hash of these 64 bytes differs from a value in as many digits as that has, and gates hold that are uppermost
/// on the stack.
pub fn differs_from_hash(
    name: String,
    parts: Vec<Part>,
    value: Value,
    gates: Vec<(Value, u128)>,
    verify: impl Fn(&mut Assembler, &Inputs) + Send + Sync + 'static,
    holds: impl Fn(&Values) -> bool + Send + Sync + 'static,
) -> Rule {
    let count = value.digits();
    let mut reads = gates;
    read(&mut reads, &parts);
    let of = parts.clone();
    let script = move |a: &mut Assembler, inputs: &Inputs| {
        verify(a, inputs);
        let message: Vec<Digit> = parts.iter().flat_map(|part| part.message(inputs)).collect();
        let message: &[Digit; BLOCK] = message.as_slice().try_into().expect("64 bytes are hashed");
        hash_digits(a, message, count)
    };
    let mirror = move |values: &Values| {
        let message: Vec<u8> = of.iter().flat_map(|part| part.of(values)).collect();
        let bytes: Vec<u8> = message.chunks(2).map(|pair| pair[0] | pair[1] << 4).collect();
        holds(values).then(|| digits(blake3::hash(&bytes).as_bytes()))
    };
    differs_from_digest(name, reads, (value, count), script, mirror)
}

/// A digest of the values that the rule reads differs from a value in its first digits. The Script leaves the digest's
/// in the place of what it takes, the lowest on top; the mirror gives none where the rule does not speak.
pub fn differs_from_digest(
    name: String,
    mut reads: Vec<(Value, u128)>,
    (value, count): (Value, usize),
    script: impl Fn(&mut Assembler, &Inputs) -> Vec<Item> + Send + Sync + 'static,
    mirror: impl Fn(&Values) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Rule {
    reads.push((value, lowest(count)));
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        let digest = script(a, inputs);
        verify_differ_at(a, inputs.hint(AT), &digest, &first_digits(inputs, value, count));
    };
    Rule {
        name,
        hints: vec![AT],
        reads,
        body: Box::new(body),
        refutes: Box::new(move |values| {
            let claimed = value_digits(values, value);
            let digest = mirror(values)?;
            difference_of_hash(&digest[..count], &claimed[..count])
        }),
    }
}
