//! The Bitsect node.

pub mod events;
pub mod pool;
pub mod rpc;
pub mod status;
pub mod store;
