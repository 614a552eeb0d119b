//! The Bitsect node.

pub mod chain_file;
pub mod config;
pub mod convert;
pub mod engine;
pub mod events;
pub mod pool;
pub mod poster;
pub mod rpc;
pub mod status;
pub mod store;
