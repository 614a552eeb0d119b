//! Digits of a published value that differ from what the program, or the start of the search, makes of them.

use bitcoin::opcodes::all::*;

use super::digits::{difference, lowest, value_digits};
use super::word::DIGITS;
use crate::leaf::{Inputs, Rule, Value};
use crate::script::{Assembler, Item};
use crate::word::{AT, point};

/// The status of a machine that halted.
const HALTED: u8 = 1;

/// Digits of a value, from this one on, differ from constant ones, lowest first.
///
/// # Panics
/// Where the value has fewer digits.
pub fn differs_from_constant(name: String, value: Value, from: usize, expected: &[u8]) -> Rule {
    let count = expected.len();
    assert!(from + count <= value.digits(), "{name}: digits of {value:?}");
    let (pushed, expected) = (expected.to_vec(), expected.to_vec());
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        let digits: Vec<Item> = (from..from + count)
            .map(|digit| inputs.digit(value, digit))
            .collect();
        point(a, inputs.hint(AT), &digits);
        // The digit and where it is go aside, so that the constants lie on top, the highest uppermost as in the value.
        a.ops(&[OP_SWAP, OP_TOALTSTACK, OP_TOALTSTACK]);
        for digit in &pushed {
            a.push(i64::from(*digit));
        }
        a.op(OP_FROMALTSTACK);
        a.pick();
        a.ops(&[OP_FROMALTSTACK, OP_NUMNOTEQUAL, OP_VERIFY]);
    };
    Rule {
        name,
        hints: vec![AT],
        reads: vec![(value, lowest(count) << from)],
        body: Box::new(body),
        refutes: Box::new(move |values| {
            difference(&value_digits(values, value)[from..from + count], &expected)
        }),
    }
}

/// Digits of a value, from this one on, are constant ones, lowest first.
///
/// # Panics
/// Where the value has fewer digits.
pub fn equals_constant(name: String, value: Value, from: usize, expected: &[u8]) -> Rule {
    let count = expected.len();
    assert!(from + count <= value.digits(), "{name}: digits of {value:?}");
    let (pushed, expected) = (expected.to_vec(), expected.to_vec());
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        for (digit, constant) in (from..).zip(&pushed) {
            a.copy(inputs.digit(value, digit));
            a.push(i64::from(*constant));
            a.op(OP_NUMEQUALVERIFY);
        }
    };
    Rule {
        name,
        hints: vec![],
        reads: vec![(value, lowest(count) << from)],
        body: Box::new(body),
        refutes: Box::new(move |values| {
            let found = &value_digits(values, value)[from..from + count];
            (*found == *expected).then(Vec::new)
        }),
    }
}

/// The control leaf is not that of a machine that halted with exit code 0.
pub fn not_halted() -> Rule {
    let mut expected = [0; 2 * DIGITS];
    expected[0] = HALTED;
    differs_from_constant("path/not-halted".to_owned(), Value::Leaf, DIGITS, &expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::Values;
    use crate::script::{Rules, run};

    /// Gives what has these digits from the third on, and one of all digits changed.
    fn with_changed(expected: &[u8], changed: usize) -> Values {
        let mut digits = [0_u8; 64];
        digits[3..23].copy_from_slice(expected);
        digits[changed] ^= 5;
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] | pair[1] << 4).collect();
        let mut values = Values::new();
        values.insert(Value::Sibling, bytes);
        values
    }

    #[test]
    fn each_digit_is_compared_with_its_constant() {
        let expected: Vec<u8> = (0..20).map(|digit| digit % 16).collect();
        let rule = differs_from_constant("test".to_owned(), Value::Sibling, 3, &expected);
        let leaf = rule.bare();
        for changed in 0..64 {
            let values = with_changed(&expected, changed);
            let hints = rule.refute(&values);
            assert_eq!(hints.is_some(), (3..23).contains(&changed), "digit {changed}");
            for hint in -1..22 {
                let witness = rule.bare_witness(&[hint], &values);
                let taken = run(&leaf.script, &witness, Rules::Standard, |_, _| {}).is_ok();
                let meant = hints.as_ref().is_some_and(|right| right[0] == hint.min(19));
                assert_eq!(taken, meant, "digit {changed}, hint {hint}");
            }
        }
    }

    #[test]
    fn all_digits_are_the_constants() {
        let expected: Vec<u8> = (0..20).map(|digit| digit % 16).collect();
        let rule = equals_constant("test".to_owned(), Value::Sibling, 3, &expected);
        let leaf = rule.bare();
        for changed in 0..64 {
            let values = with_changed(&expected, changed);
            let meant = !(3..23).contains(&changed);
            assert_eq!(rule.refute(&values).is_some(), meant, "digit {changed}");
            let witness = rule.bare_witness(&[], &values);
            let taken = run(&leaf.script, &witness, Rules::Standard, |_, _| {}).is_ok();
            assert_eq!(taken, meant, "digit {changed}");
        }
    }

    #[test]
    fn only_a_halt_with_zero_is_one() {
        let rule = not_halted();
        let leaf = |status: u8, exit: u8| {
            let mut leaf = [7; 64];
            leaf[4..12].copy_from_slice(&[status, 0, 0, 0, exit, 0, 0, 0]);
            let mut values = Values::new();
            values.insert(Value::Leaf, leaf);
            rule.refute(&values).is_some()
        };
        assert!(!leaf(1, 0));
        assert!(leaf(0, 0) && leaf(2, 0) && leaf(1, 1));
    }
}
