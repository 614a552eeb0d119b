//! The node's configuration: one set of options from flags, environment, file and defaults.
//!
//! One rule: a flag wins over the environment, the environment over the file, the file over the default.
//! Every option has the same name in all places: `block_time_ms` in the file, `--block-time-ms` as a flag,
//! `BITSECT_BLOCK_TIME_MS` in the environment. Secrets stand in files of their own, never in an option.

mod layer;
mod resolve;
mod secret;

pub use layer::{Layer, LogFormat, read_toml};
pub use resolve::{Config, L1Auth, PosterConfig, SequencerOptions, ServerConfig};
pub use secret::Secret;

use std::path::PathBuf;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file, or one that it names, cannot be read.
    #[error("{option} file {}", path.display())]
    File {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file is no TOML, or has an unknown or mistyped option.
    #[error("configuration file {}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
    /// A secret's file can be read by others.
    #[error("{option} file {} has mode {mode:04o}; others may read it: run chmod 600", path.display())]
    Readable {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// An option has a value that cannot work.
    #[error("option {option}: expected {expected}, got {got}")]
    Value {
        /// The option.
        option: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// Two options contradict each other.
    #[error("options {first} and {second} contradict: {reason}")]
    Contradiction {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Why not both.
        reason: &'static str,
    },
    /// An option needs another one.
    #[error("option {option} needs {needs}")]
    Needs {
        /// The option given.
        option: &'static str,
        /// The one missing.
        needs: &'static str,
    },
}
