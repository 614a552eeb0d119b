//! The rules of the shifts take exactly the false claims.

mod alu;
mod core;

use alu::Judges;

/// `rd` and `rs1` may be any.
const FREE: u32 = 0x000f_8f80;

/// Any `rs2`.
const SECOND: u32 = 0x01f0_0000;

#[test]
fn result_sll() {
    Judges::new(&[("sll", 302)]).judge_many(|bits, _| 0x0000_1033 | bits & (FREE | SECOND));
}

#[test]
fn result_slli() {
    Judges::new(&[("slli", 297)]).judge_many(|bits, _| 0x0000_1013 | bits & (FREE | SECOND));
}

#[test]
fn result_srl() {
    Judges::new(&[("srl", 372)]).judge_many(|bits, _| 0x0000_5033 | bits & (FREE | SECOND));
}

#[test]
fn result_srli() {
    Judges::new(&[("srli", 367)]).judge_many(|bits, _| 0x0000_5013 | bits & (FREE | SECOND));
}

#[test]
fn result_sra() {
    Judges::new(&[("sra", 386)]).judge_many(|bits, _| 0x4000_5033 | bits & (FREE | SECOND));
}

#[test]
fn result_srai() {
    Judges::new(&[("srai", 381)]).judge_many(|bits, _| 0x4000_5013 | bits & (FREE | SECOND));
}
