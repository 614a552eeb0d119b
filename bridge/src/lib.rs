//! Everything of the protocol that becomes a Bitcoin transaction (docs/dispute.md).

pub mod game;
pub mod params;
