//! The Bitsect node.

pub mod chain_file;
pub mod cli;
pub mod config;
pub mod convert;
pub mod devnet;
pub mod engine;
pub mod events;
pub mod feed;
pub mod follow;
pub mod genesis;
pub mod invariant;
pub mod monitor;
pub mod pool;
pub mod poster;
pub mod prune;
pub mod purse;
pub mod rpc;
pub mod run;
pub mod status;
pub mod store;
pub mod unit;
pub mod verifier;
