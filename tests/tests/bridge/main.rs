//! The way of bitcoin onto L2 and off it again, by the programs that everybody runs: nodes, operators, challengers, and the
//! commands of a user.

mod amounts;
#[path = "../../../vm/guest/tests/machine/built.rs"]
mod built;
mod care;
mod exit;
mod interleaved;
mod kept_back;
mod lies;
mod operators;
mod redeem;
mod refund;
mod steps;
mod taken;
mod walk;
mod way;
