//! The dispute as pure rules: no RPC, no files, no clocks.

pub mod search;
mod stage;

pub use stage::{Form, Go, Item, Opening, Part, Stage, Subject, path, trace, units};
