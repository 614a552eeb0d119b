//! Signature recovery in few steps on a 32-bit machine without carries (docs/guest.md).
//!
//! Only the guest computes with this: native builds use libsecp256k1, and tests compare the two. Nothing here is
//! secret, so nothing takes constant time.
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

pub use recover::recover_public_key;
