//! The challenger: rebuilds the chain from Bitcoin alone, and tells true claims from false ones (docs/challenger.md).

pub mod alarm;
pub mod chain;
pub mod cli;
pub mod config;
pub mod dispute;
pub mod explain;
pub mod metrics;
pub mod run;
mod sums;
