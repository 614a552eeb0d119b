//! `div`, `divu`, `rem`, `remu`: the written word is another quotient or remainder.
//!
//! The challenger brings the quotient's digits and part of the remainder; that the dividend is the quotient times the
//! divisor and a remainder below the divisor leaves them no choice. All that is between magnitudes, and signs come last:
//! then the quotient of -2^31 and -1 is 2^31, which is the word that the machine writes, and no case of its own.

use bitcoin::opcodes::all::*;
use bitsect_machine::AluOp;

use super::alu::{Second, is_running, pattern};
use super::{StepClaim, multiply, of_claim, verify_running};
use crate::leaf::{ALL, Inputs, Rule, Value};
use crate::product::{self, Halves, Sum, Term};
use crate::script::{Assembler, Item};
use crate::word::{self, Digit};

/// The quotient's digits, lowest first.
const QUOTIENT: [&str; 8] = ["q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7"];

/// The instructions and their names.
const OPS: [(&str, AluOp); 4] = [
    ("div", AluOp::Div),
    ("divu", AluOp::Divu),
    ("rem", AluOp::Rem),
    ("remu", AluOp::Remu),
];

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    let whole = OPS.into_iter().map(|(name, op)| division(name, op));
    let zero = OPS.into_iter().map(|(name, op)| by_zero(name, op));
    whole.chain(zero).collect()
}

const fn is_signed(op: AluOp) -> bool {
    matches!(op, AluOp::Div | AluOp::Rem)
}

const fn is_quotient(op: AluOp) -> bool {
    matches!(op, AluOp::Div | AluOp::Divu)
}

/// The divisor is zero: the quotient has all bits, and the remainder is the dividend.
fn by_zero(name: &str, op: AluOp) -> Rule {
    let pattern = pattern(op, Second::Register);
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        add_up(a, &inputs.digits(Value::Second));
        a.ops(&[OP_NOT, OP_VERIFY]);
        let written = inputs.digits(Value::Written);
        if is_quotient(op) {
            add_up(a, &written);
            a.push(8 * 15);
            a.ops(&[OP_NUMNOTEQUAL, OP_VERIFY]);
        } else {
            let pairs = written.into_iter().zip(inputs.digits(Value::First));
            let pairs = pairs.map(|(first, second)| (Digit::Item(first), Digit::Item(second)));
            let pairs: Vec<(Digit, Digit)> = pairs.rev().collect();
            word::verify_digits_differ(a, &pairs);
        }
        pattern.verify(a, inputs, 0);
        verify_running(a, inputs);
    };
    let mut reads = vec![(Value::Second, ALL), (Value::Written, ALL)];
    if !is_quotient(op) {
        reads.push((Value::First, ALL));
    }
    reads.push((Value::Instruction, pattern.digits()));
    reads.push((Value::Statuses, ALL));
    Rule {
        name: format!("result/{name}-by-zero"),
        hints: vec![],
        reads,
        body: Box::new(body),
        refutes: of_claim(move |claim| {
            let other = claim.written != op.apply(claim.first, 0);
            let refuted =
                is_running(claim) && pattern.matches(claim.instruction) && claim.second == 0 && other;
            refuted.then(Vec::new)
        }),
    }
}

/// Takes digits, lowest first with the highest uppermost, and pushes their sum.
fn add_up(a: &mut Assembler, digits: &[Item]) {
    for (index, digit) in digits.iter().rev().enumerate() {
        a.take(*digit);
        if index > 0 {
            a.op(OP_ADD);
        }
    }
}

/// The divisor is another number, and the written word not what the hints and the signs give.
fn division(name: &str, op: AluOp) -> Rule {
    let pattern = pattern(op, Second::Register);
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        let (dividend, first_sign) = magnitude(a, &inputs.digits(Value::First), is_signed(op));
        let (divisor, second_sign) = magnitude(a, &inputs.digits(Value::Second), is_signed(op));
        let quotient = QUOTIENT.map(|name| {
            let digit = a.take(inputs.hint(name));
            word::verify_below(a, digit, 16);
            digit
        });
        a.take(inputs.hint("remainder"));
        let high = a.op(OP_ABS).expect("a number");
        let tables = product::tables(a, divisor);

        let mut sum = Sum::new();
        sum.add(0, Term::Item(dividend.low));
        sum.add(product::TOP, Term::Item(dividend.top));
        sum.product(true, &tables, &quotient, 0..64);
        sum.subtract(16, Term::Item(high));
        sum.keep(high);
        quotient.iter().for_each(|digit| sum.keep(*digit));
        let low = sum.write(a);
        a.op(OP_DUP);
        a.push(0);
        a.ops(&[OP_GREATERTHANOREQUAL, OP_VERIFY]);

        let mut sum = Sum::new();
        sum.times(false, &tables, 1, 0);
        sum.subtract(16, Term::Item(high));
        sum.subtract(0, Term::Item(low));
        sum.subtract(16, Term::Magnitude(inputs.hint("gap")));
        sum.keep(high);
        sum.keep(low);
        sum.write(a);
        a.push(0);
        a.ops(&[OP_GREATERTHAN, OP_VERIFY]);

        let mut sum = Sum::new();
        if is_quotient(op) {
            sum.add_digits(0, &quotient);
        } else {
            sum.add(16, Term::Item(high));
            sum.add(0, Term::Item(low));
        }
        let written = inputs.digits(Value::Written);
        if let (Some(first), Some(second)) = (first_sign, second_sign) {
            let halves = product::halves(a, &written, false);
            a.take(first);
            if is_quotient(op) {
                a.take(second);
                a.op(OP_NUMNOTEQUAL);
            }
            let halves = negate_where(a, halves);
            sum.subtract(0, Term::Item(halves.low));
            sum.subtract(product::TOP, Term::Item(halves.top));
        } else {
            sum.subtract_digits(0, &written, false);
        }
        sum.add(32, Term::Item(inputs.hint("multiple")));
        sum.write(a);
        a.op(OP_VERIFY);
        product::drop_above(a, inputs.digit(Value::Instruction, 7));
        pattern.verify(a, inputs, 0);
        verify_running(a, inputs);
    };
    Rule {
        name: format!("result/{name}"),
        hints: QUOTIENT
            .into_iter()
            .chain(["remainder", "gap", "multiple"])
            .collect(),
        reads: multiply::reads(&pattern, Value::First, Value::Second),
        body: Box::new(body),
        refutes: of_claim(move |claim| {
            let asked = is_running(claim) && pattern.matches(claim.instruction) && claim.second != 0;
            asked.then(|| hints(claim, op)).flatten()
        }),
    }
}

/// Takes a word's digits, and pushes the limbs of its magnitude, both perhaps negative, and whether it was negative.
fn magnitude(a: &mut Assembler, digits: &[Item], signed: bool) -> (Halves, Option<Item>) {
    if !signed {
        return (product::halves(a, digits, false), None);
    }
    a.copy(digits[7]);
    a.push(7);
    a.ops(&[OP_GREATERTHAN, OP_TOALTSTACK]);
    let halves = product::halves(a, digits, true);
    a.ops(&[OP_FROMALTSTACK, OP_DUP, OP_TOALTSTACK]);
    let halves = negate_where(a, halves);
    let sign = a.op(OP_FROMALTSTACK);
    (halves, sign)
}

/// Takes a truth value above two limbs, the top one uppermost, and negates them where it is true.
fn negate_where(a: &mut Assembler, halves: Halves) -> Halves {
    assert_eq!(
        (a.at(1), a.at(2)),
        (halves.top, halves.low),
        "limbs in their order"
    );
    a.when(|a| {
        a.ops(&[OP_NEGATE, OP_SWAP, OP_NEGATE, OP_SWAP]);
    });
    Halves {
        top: a.at(0),
        low: a.at(1),
    }
}

/// Gives the hints where the result is another; the divisor is not zero.
fn hints(claim: &StepClaim, op: AluOp) -> Option<Vec<i64>> {
    let read = |word: u32| {
        if is_signed(op) {
            i64::from(word as i32)
        } else {
            i64::from(word)
        }
    };
    let (first, second) = (read(claim.first), read(claim.second));
    let (quotient, remainder) = (first.abs() / second.abs(), first.abs() % second.abs());
    let (value, negative) = if is_quotient(op) {
        (quotient, (first < 0) != (second < 0))
    } else {
        (remainder, first < 0)
    };
    let written = i64::from(claim.written);
    let rest = value + if negative { written } else { -written };
    let nearest = i64::from(rest as i32);
    let mut hints: Vec<i64> = (0..8).map(|index| quotient >> (4 * index) & 15).collect();
    hints.push(remainder >> 16);
    hints.push((second.abs() - remainder - 1) >> 16);
    hints.push((nearest - rest) >> 32);
    (nearest != 0).then_some(hints)
}
