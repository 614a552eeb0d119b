//! Everything of the protocol that becomes a Bitcoin transaction (docs/dispute.md).

pub mod committee;
