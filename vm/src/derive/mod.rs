//! Derivation: from Bitcoin blocks to L2 blocks.

pub mod payload;
