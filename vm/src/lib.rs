//! The Bitsect chain as pure code: blocks, state tree, execution, derivation from Bitcoin, step function.
//!
//! `no_std`, no I/O, no clock, no randomness. The node runs this crate natively, and a dispute runs it
//! compiled to RISC-V, so every result here is consensus.
#![cfg_attr(not(feature = "std"), no_std)]
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

pub mod address;
pub mod chain;
pub mod check;
pub mod crypto;
pub mod derive;
pub mod execute;
#[cfg(all(target_arch = "riscv32", target_os = "none"))]
pub mod oracle;
#[cfg(feature = "std")]
pub mod record;
pub mod state;
pub mod step;
