//! The Bitsect node.

pub mod events;
pub mod pool;
pub mod store;
