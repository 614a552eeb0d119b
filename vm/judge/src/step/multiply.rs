//! `mul`, `mulh`, `mulhsu`, `mulhu`: the written word is another half of the product.

use bitcoin::opcodes::all::*;
use bitsect_machine::AluOp;

use super::alu::{Second, is_running, pattern};
use super::decode::Pattern;
use super::{StepClaim, of_claim, verify_running};
use crate::leaf::{ALL, Inputs, Rule, Value};
use crate::product::{self, Sum, Term};
use crate::script::{Assembler, Item};
use crate::word::{shift_left, signed_digit};

/// Gives the rules.
pub fn rules() -> Vec<Rule> {
    vec![
        low_half(),
        high_half("mulh", AluOp::Mulh),
        high_half("mulhsu", AluOp::Mulhsu),
        high_half("mulhu", AluOp::Mulhu),
    ]
}

/// Gives what a rule reads: first the word whose multiples it needs, then that whose digits name them.
pub fn reads(pattern: &Pattern, multiplied: Value, factor: Value) -> Vec<(Value, u128)> {
    let words = [Value::First, Value::Second, Value::Written];
    let rest = words
        .into_iter()
        .filter(|word| ![multiplied, factor].contains(word));
    let mut reads: Vec<(Value, u128)> = [multiplied, factor]
        .into_iter()
        .chain(rest)
        .map(|word| (word, ALL))
        .collect();
    reads.push((Value::Instruction, pattern.digits()));
    reads.push((Value::Statuses, ALL));
    reads
}

/// The product less the written word and less a multiple of 2^32, which is a hint, is not zero. It is a sum of two
/// operands, so below 2^32, and no other multiple of 2^32 than zero.
fn low_half() -> Rule {
    let pattern = pattern(AluOp::Mul, Second::Register);
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        let halves = product::halves(a, &inputs.digits(Value::First), false);
        let tables = product::tables(a, halves);
        let mut sum = Sum::new();
        sum.add(32, Term::Item(inputs.hint("multiple")));
        sum.product(false, &tables, &inputs.digits(Value::Second), 0..32);
        sum.subtract_digits(0, &inputs.digits(Value::Written), false);
        sum.write(a);
        a.op(OP_VERIFY);
        product::drop_above(a, inputs.digit(Value::Instruction, 7));
        pattern.verify(a, inputs, 0);
        verify_running(a, inputs);
    };
    Rule {
        name: "result/mul".to_owned(),
        hints: vec!["multiple"],
        reads: reads(&pattern, Value::First, Value::Second),
        body: Box::new(body),
        refutes: of_claim(move |claim| {
            let rest = claim.first.wrapping_mul(claim.second).wrapping_sub(claim.written);
            let refuted = is_running(claim) && pattern.matches(claim.instruction) && rest != 0;
            refuted.then(|| vec![multiple(claim, rest)])
        }),
    }
}

/// The multiple of 2^32 in what [`low_half`] sums up, for the rest nearest to zero.
fn multiple(claim: &StepClaim, rest: u32) -> i64 {
    let digits = |word: u32| (0..8).map(move |index| i64::from(word >> (4 * index) & 15));
    let mut low = -i64::from(claim.written);
    for (index, digit) in digits(claim.second).enumerate() {
        low += (i64::from(claim.first & 0xff_ffff) * digit) << (4 * index);
        if index < 2 {
            low += (i64::from(claim.first >> 24) * digit) << (4 * index + product::TOP);
        }
    }
    (i64::from(rest as i32) - low) >> 32
}

/// The product less the written word's 2^32-fold is `difference * 2^32 + rest`, with a difference that is not zero and
/// a rest of 32 bits.
///
/// The difference is two hints, `high * 2^28 + low`: `low` is below 2^28, because eight times it is an operand. The rest
/// less 2^31 is an operand, or that and one more is.
fn high_half(name: &str, op: AluOp) -> Rule {
    let pattern = pattern(op, Second::Register);
    let signed = matches!(op, AluOp::Mulh | AluOp::Mulhsu);
    let body = move |a: &mut Assembler, inputs: &Inputs| {
        let halves = product::halves(a, &inputs.digits(Value::First), signed);
        let tables = product::tables(a, halves);
        a.mark("multiples of the first operand");
        let (high, low) = (inputs.hint("high"), inputs.hint("low"));
        let mut sum = Sum::new();
        let mut factor = inputs.digits(Value::Second);
        if op == AluOp::Mulh {
            // It is read as 2^31 more than it is, so that all its digits are positive.
            factor[7] = raised(a, factor[7]);
            sum.times(true, &tables, 8, 28);
        }
        sum.product(false, &tables, &factor, 0..64);
        sum.subtract_digits(32, &inputs.digits(Value::Written), signed);
        sum.subtract(60, Term::Item(high));
        sum.subtract(32, Term::Item(low));
        sum.keep(high);
        sum.keep(low);
        sum.subtract(28, Term::Constant(8));
        sum.add(0, Term::Bit(inputs.hint("least")));
        sum.write(a);
        a.mark("what is left of the lower half, less 2^31");
        a.op(OP_ABS);
        product::drop_above(a, inputs.digit(Value::Instruction, 7));
        pattern.verify(a, inputs, 0);
        verify_running(a, inputs);
        shift_left(a, 3);
        a.ops(&[OP_BOOLOR, OP_VERIFY]);
    };
    Rule {
        name: format!("result/{name}"),
        hints: vec!["high", "low", "least"],
        reads: reads(&pattern, Value::First, Value::Second),
        body: Box::new(body),
        refutes: of_claim(move |claim| {
            let (difference, rest) = difference(claim, op);
            let refuted = is_running(claim) && pattern.matches(claim.instruction) && difference != 0;
            let low = ((difference + (1 << 27)) & ((1 << 28) - 1)) - (1 << 27);
            refuted.then(|| vec![(difference - low) >> 28, low, i64::from(rest == 0)])
        }),
    }
}

/// Takes the highest digit of a word, and pushes that of 2^31 more.
fn raised(a: &mut Assembler, digit: Item) -> Item {
    signed_digit(a, digit);
    a.push(8);
    a.op(OP_ADD);
    a.at(0)
}

/// By how much the product's upper half is greater than the written word, and its lower half.
fn difference(claim: &StepClaim, op: AluOp) -> (i64, u32) {
    let read = |word: u32, signed: bool| i128::from(word) - (i128::from(signed && word >> 31 == 1) << 32);
    let signed = op != AluOp::Mulhu;
    let product = read(claim.first, signed) * read(claim.second, op == AluOp::Mulh);
    let difference = (product >> 32) - read(claim.written, signed);
    (difference as i64, product as u32)
}
