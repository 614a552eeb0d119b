//! The rules of `div`, `divu`, `rem` and `remu` take exactly the false claims.

mod alu;
mod core;

use alu::Judges;

/// `rd`, `rs1` and `rs2` may be any.
const FREE: u32 = 0x01ff_8f80;

#[test]
fn result_div() {
    Judges::new(&[("div", 877), ("div-by-zero", 42)]).judge_many(|bits, _| 0x0200_4033 | bits & FREE);
}

#[test]
fn result_divu() {
    Judges::new(&[("divu", 767), ("divu-by-zero", 42)]).judge_many(|bits, _| 0x0200_5033 | bits & FREE);
}

#[test]
fn result_rem() {
    Judges::new(&[("rem", 852), ("rem-by-zero", 77)]).judge_many(|bits, _| 0x0200_6033 | bits & FREE);
}

#[test]
fn result_remu() {
    Judges::new(&[("remu", 744), ("remu-by-zero", 77)]).judge_many(|bits, _| 0x0200_7033 | bits & FREE);
}
