//! Signature recovery and key tweaks in few steps on a 32-bit machine without carries (docs/guest.md).
//!
//! Native builds recover by libsecp256k1, which tests compare with; tweaks are rare enough to be the same code.
//! Nothing here is secret, so nothing takes constant time.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "sums of limbs stay inside u64 and indices inside fixed arrays; tests run with overflow checks"
)]

mod field;
mod generator;
mod point;
mod recover;
mod split;

pub use recover::{recover_public_key, tweaked_key};
