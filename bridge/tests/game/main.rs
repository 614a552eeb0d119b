//! The players of a branch against each other, by values, and many of the games again in transactions: what an honest
//! prover publishes is refuted by no rule whatever is asked of it, and an honest challenger leads every liar to a rule that
//! refutes it.

mod check;
#[path = "../common/mod.rs"]
mod common;
mod honest;
mod leaves;
mod liar;
mod lies;
mod on_bitcoin;
mod program;
mod referee;
mod store;
mod tails;
mod world;
