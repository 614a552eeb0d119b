//! The rules of `mul`, `mulh`, `mulhsu` and `mulhu` take exactly the false claims.

mod alu;
mod core;

use alu::Judges;

/// `rd`, `rs1` and `rs2` may be any.
const FREE: u32 = 0x01ff_8f80;

#[test]
fn result_mul() {
    Judges::new(&[("mul", 355)]).judge_many(|bits, _| 0x0200_0033 | bits & FREE);
}

#[test]
fn result_mulh() {
    Judges::new(&[("mulh", 511)]).judge_many(|bits, _| 0x0200_1033 | bits & FREE);
}

#[test]
fn result_mulhsu() {
    Judges::new(&[("mulhsu", 495)]).judge_many(|bits, _| 0x0200_2033 | bits & FREE);
}

#[test]
fn result_mulhu() {
    Judges::new(&[("mulhu", 481)]).judge_many(|bits, _| 0x0200_3033 | bits & FREE);
}
