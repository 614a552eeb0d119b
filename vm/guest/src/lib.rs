//! One unit of the chain, read through the machine's oracle.
//!
//! Everything is generic over [`Oracle`], so that the code a dispute runs is tested natively.
#![no_std]
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod block;
mod keccak;
mod merkle;
mod message;
mod oracle;
pub mod params;
mod unit;

pub use block::VerifiedBlock;
pub use keccak::keccak256;
pub use message::WalkError;
pub use oracle::{Block, Digest, Oracle};
pub use unit::{UnitError, run};
