//! Everything of the protocol that becomes a Bitcoin transaction (docs/dispute.md), and what its daemons share.

pub mod chain;
pub mod cli;
pub mod committee;
pub mod connector;
pub mod daemon;
pub mod game;
pub mod graph;
pub mod keys;
pub mod leaf;
pub mod params;
pub mod secret;
pub mod setup;
pub mod slot;
pub mod transaction;
