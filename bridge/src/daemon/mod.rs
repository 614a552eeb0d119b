//! The parties' daemons: they follow Bitcoin, and do their duties.

mod store;
mod watch;

pub use store::{DaemonStore, DaemonStoreError, Seen};
pub use watch::{Watch, WatchError};
