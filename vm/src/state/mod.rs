//! The state: how it is read, how a block changes it, and the tree that commits to it.

mod changes;
mod reader;

pub use changes::{AccountChange, StateChanges};
pub use reader::{Account, StateReader};
