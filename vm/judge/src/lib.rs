//! Decides one machine step, one hash, one signature in Bitcoin Script (docs/judge.md).
//!
//! A *leaf* is a Script that its spender satisfies exactly when a published claim is false. Beside each generator of
//! Script stands the Rust function that it mirrors.

pub mod hash;
pub mod leaf;
pub mod script;
pub mod step;
pub mod winternitz;
pub mod word;
