//! The options as they are given, each perhaps.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Makes the struct `Layer`: options from one source, each with its documentation, name, type, environment variable and
/// what else clap is to know. For every program that is configured as the node is.
#[macro_export]
macro_rules! layer {
    ($($(#[$doc:meta])* $name:ident: $type:ty, $env:literal $(, $extra:meta)*;)*) => {
        /// Options from one source; what it does not say is `None`.
        #[derive(Clone, Debug, Default, PartialEq, clap::Args, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Layer {
            $(
                $(#[$doc])*
                #[arg(long, env = $env $(, $extra)*)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )*
        }

        impl Layer {
            /// Fills what this layer leaves open from a weaker one.
            #[must_use]
            pub fn over(self, weaker: Self) -> Self {
                Self { $($name: self.$name.or(weaker.$name),)* }
            }

            /// Reads a configuration file.
            ///
            /// # Errors
            /// [`ConfigError::File`]; [`ConfigError::Syntax`] names an unknown or mistyped option.
            ///
            /// [`ConfigError::File`]: $crate::config::ConfigError::File
            /// [`ConfigError::Syntax`]: $crate::config::ConfigError::Syntax
            pub fn read(path: &std::path::Path) -> Result<Self, $crate::config::ConfigError> {
                $crate::config::read_toml(path)
            }
        }
    };
}

layer! {
    /// Folder of the store, the mempool's journal, the wallet and the keys.
    data_dir: PathBuf, "BITSECT_DATA_DIR";
    /// Chain file, as every party to the chain has it [default: bitsect.chain.toml in the data folder].
    chain_file: PathBuf, "BITSECT_CHAIN_FILE";
    /// Bitcoin Core's RPC address.
    l1_url: String, "BITSECT_L1_URL";
    /// Bitcoin Core's cookie file.
    l1_cookie_file: PathBuf, "BITSECT_L1_COOKIE_FILE";
    /// User at Bitcoin Core, instead of the cookie.
    l1_user: String, "BITSECT_L1_USER";
    /// File with that user's password.
    l1_password_file: PathBuf, "BITSECT_L1_PASSWORD_FILE";
    /// Seconds between two looks at Bitcoin's tip when Core cannot be waited on.
    l1_poll_seconds: u64, "BITSECT_L1_POLL_SECONDS";
    /// Depth in L1 blocks at which the finalized head stands.
    finality_depth_blocks: u32, "BITSECT_FINALITY_DEPTH_BLOCKS";
    /// Make blocks and post them: needs the baton's key.
    sequencer: bool, "BITSECT_SEQUENCER", num_args = 0..=1, default_missing_value = "true";
    /// File with the seed of the baton's key and the fee wallet [default: sequencer.key in the data folder].
    key_file: PathBuf, "BITSECT_KEY_FILE";
    /// Depth in L1 blocks at which the sequencer takes an origin.
    origin_depth_blocks: u32, "BITSECT_ORIGIN_DEPTH_BLOCKS";
    /// Least milliseconds between two blocks.
    block_time_ms: u64, "BITSECT_BLOCK_TIME_MS";
    /// Milliseconds after which an empty block is made when nothing arrives.
    heartbeat_ms: u64, "BITSECT_HEARTBEAT_MS";
    /// L1 blocks for which blocks may wait without a batch taking effect before the sequencer stops.
    max_safe_lag_l1_blocks: u32, "BITSECT_MAX_SAFE_LAG_L1_BLOCKS";
    /// Seconds that a block waits at most for its batch to be made.
    max_batch_delay_seconds: u64, "BITSECT_MAX_BATCH_DELAY_SECONDS";
    /// Estimated bytes of waiting blocks at which a batch is made at once.
    target_batch_bytes: u64, "BITSECT_TARGET_BATCH_BYTES";
    /// Lowest fee rate of batches, sat per 1,000 vB.
    min_fee_rate_sat_per_kvb: u64, "BITSECT_MIN_FEE_RATE_SAT_PER_KVB";
    /// Highest fee rate of batches, sat per 1,000 vB.
    max_fee_rate_sat_per_kvb: u64, "BITSECT_MAX_FEE_RATE_SAT_PER_KVB";
    /// L1 blocks within which a batch should confirm.
    fee_target_blocks: u16, "BITSECT_FEE_TARGET_BLOCKS";
    /// The sequencer's RPC, to which a verifier passes transactions on.
    sequencer_url: String, "BITSECT_SEQUENCER_URL";
    /// The sequencer's feed of fresh blocks, `ws://host:port/feed`: a verifier then has blocks before Bitcoin has them.
    feed_url: String, "BITSECT_FEED_URL";
    /// Address of the public JSON-RPC, HTTP and WebSocket.
    rpc_listen: SocketAddr, "BITSECT_RPC_LISTEN";
    /// Origins that browsers may call from; `*` is all.
    rpc_cors_origins: Vec<String>, "BITSECT_RPC_CORS_ORIGINS", value_delimiter = ',';
    /// Address of the admin JSON-RPC; off when absent.
    admin_listen: SocketAddr, "BITSECT_ADMIN_LISTEN";
    /// File with the token that the admin JSON-RPC asks for.
    admin_token_file: PathBuf, "BITSECT_ADMIN_TOKEN_FILE";
    /// Address of /metrics, /healthz and /readyz; off when absent.
    metrics_listen: SocketAddr, "BITSECT_METRICS_LISTEN";
    /// Blocks whose state is kept; all when absent.
    history_blocks: u64, "BITSECT_HISTORY_BLOCKS";
    /// Memory of the store's page cache, in MiB.
    store_cache_mib: u64, "BITSECT_STORE_CACHE_MIB";
    /// What is logged, as for tracing's EnvFilter: `info,bitsect_node=debug`.
    log: String, "BITSECT_LOG";
    /// How it is logged.
    log_format: LogFormat, "BITSECT_LOG_FORMAT";
}

/// Reads a configuration file of any program.
///
/// # Errors
/// [`ConfigError::File`]; [`ConfigError::Syntax`] names an unknown or mistyped option.
pub fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
        option: "config",
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
