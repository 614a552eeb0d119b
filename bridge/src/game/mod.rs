//! The dispute as pure rules: no RPC, no files, no clocks.

pub mod challenger;
mod known;
pub mod position;
pub mod prover;
pub mod search;
mod stage;
mod subject;
pub mod truth;

pub use stage::{Form, Go, Item, Opening, Part, Stage, Subject, path, trace, units};
