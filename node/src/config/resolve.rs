//! From layers to a configuration that can be run: defaults, contradictions, secrets.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::FeeRate;

use super::{ConfigError, Layer, LogFormat, Secret};

/// Everything that [`crate::run::run`] needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the store, the journal, the wallet and the keys.
    pub data_dir: PathBuf,
    /// The chain file.
    pub chain_file: PathBuf,
    /// Bitcoin Core's RPC address.
    pub l1_url: String,
    /// How to authenticate there.
    pub l1_auth: L1Auth,
    /// Longest time between two looks at Bitcoin's tip.
    pub l1_poll: Duration,
    /// Depth in L1 blocks at which the finalized head stands.
    pub finality_depth: u32,
    /// What a sequencer needs; `None` on a verifier.
    pub sequencer: Option<SequencerOptions>,
    /// The sequencer's RPC, for a verifier that passes transactions on.
    pub sequencer_url: Option<String>,
    /// The sequencer's feed of fresh blocks, for a verifier that follows it.
    pub feed_url: Option<String>,
    /// The listeners.
    pub server: ServerConfig,
    /// Blocks whose state is kept; all when `None`.
    pub history: Option<u64>,
    /// Memory of the store's page cache, bytes.
    pub store_cache_bytes: usize,
    /// What is logged.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
}

/// How to authenticate to Bitcoin Core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum L1Auth {
    /// By Core's cookie file.
    Cookie(PathBuf),
    /// By user and password.
    User {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
}

/// What a sequencer needs.
#[derive(Clone, Debug)]
pub struct SequencerOptions {
    /// File with the seed of the baton's key and the wallet.
    pub key_file: PathBuf,
    /// Depth in L1 blocks at which an origin is taken.
    pub origin_depth: u32,
    /// Least time between two blocks.
    pub block_time: Duration,
    /// Time after which an empty block is made.
    pub heartbeat: Duration,
    /// L1 blocks for which blocks may wait without a batch taking effect.
    pub max_safe_lag: u32,
    /// How batches are posted.
    pub poster: PosterConfig,
}

/// How batches are posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PosterConfig {
    /// How long a block waits at most for its batch to be made.
    pub max_batch_delay: Duration,
    /// Estimated bytes of waiting blocks at which a batch is made at once.
    pub target_batch_bytes: u64,
    /// Lowest fee rate.
    pub min_fee_rate: FeeRate,
    /// Highest fee rate.
    pub max_fee_rate: FeeRate,
    /// L1 blocks within which a batch should confirm.
    pub fee_target: u16,
}

/// The listeners.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The public JSON-RPC.
    pub rpc: SocketAddr,
    /// Origins that browsers may call from.
    pub cors_origins: Vec<String>,
    /// The admin JSON-RPC and its token.
    pub admin: Option<(SocketAddr, Secret)>,
    /// Metrics and health.
    pub metrics: Option<SocketAddr>,
}

/// Least and most of the options that are numbers.
const BLOCK_TIME_MS: std::ops::RangeInclusive<u64> = 10..=60_000;
const HEARTBEAT_MS: std::ops::RangeInclusive<u64> = 10..=600_000;
const DEPTH_BLOCKS: std::ops::RangeInclusive<u64> = 1..=1_000;
const POLL_SECONDS: std::ops::RangeInclusive<u64> = 1..=3_600;
const BATCH_DELAY_SECONDS: std::ops::RangeInclusive<u64> = 1..=86_400;
const BATCH_BYTES: std::ops::RangeInclusive<u64> = 1_000..=64_000_000;
const FEE_RATE: std::ops::RangeInclusive<u64> = 100..=10_000_000;
const FEE_TARGET: std::ops::RangeInclusive<u64> = 1..=1_008;
const CACHE_MIB: std::ops::RangeInclusive<u64> = 1..=1_048_576;

impl Layer {
    /// The defaults. What stays open is off, or found in the data folder.
    pub fn defaults() -> Self {
        Self {
            data_dir: Some("bitsect-data".into()),
            l1_url: Some("http://127.0.0.1:8332".into()),
            l1_poll_seconds: Some(5),
            finality_depth_blocks: Some(6),
            sequencer: Some(false),
            origin_depth_blocks: Some(6),
            block_time_ms: Some(2_000),
            heartbeat_ms: Some(12_000),
            // Half of the usual sequencing window, beyond which what is not posted is lost.
            max_safe_lag_l1_blocks: Some(72),
            max_batch_delay_seconds: Some(600),
            // One frame: what fits into one standard transaction.
            target_batch_bytes: Some(390_000),
            min_fee_rate_sat_per_kvb: Some(1_000),
            max_fee_rate_sat_per_kvb: Some(500_000),
            fee_target_blocks: Some(3),
            rpc_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8545))),
            rpc_cors_origins: Some(vec!["*".into()]),
            store_cache_mib: Some(512),
            log: Some("info".into()),
            log_format: Some(LogFormat::Human),
            ..Self::default()
        }
    }

    /// Makes the configuration of this layer over the defaults, and reads the secrets.
    ///
    /// # Errors
    /// [`ConfigError`] names the option.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let given = self.over(Self::defaults());
        let data_dir = required("data_dir", given.data_dir.clone())?;
        let in_data = |path: Option<PathBuf>, name: &str| path.unwrap_or_else(|| data_dir.join(name));
        Ok(Config {
            chain_file: in_data(given.chain_file.clone(), "bitsect.chain.toml"),
            l1_url: required("l1_url", given.l1_url.clone())?,
            l1_auth: given.l1_auth()?,
            l1_poll: Duration::from_secs(within("l1_poll_seconds", given.l1_poll_seconds, POLL_SECONDS)?),
            finality_depth: depth("finality_depth_blocks", given.finality_depth_blocks)?,
            sequencer: given.sequencer_options(in_data(given.key_file.clone(), "sequencer.key"))?,
            server: given.server()?,
            feed_url: given.feed_url()?,
            sequencer_url: given.sequencer_url,
            history: given.history_blocks,
            store_cache_bytes: mebibytes(within("store_cache_mib", given.store_cache_mib, CACHE_MIB)?),
            log: required("log", given.log)?,
            log_format: required("log_format", given.log_format)?,
            data_dir,
        })
    }

    fn l1_auth(&self) -> Result<L1Auth, ConfigError> {
        match (&self.l1_cookie_file, &self.l1_user, &self.l1_password_file) {
            (Some(_), Some(_), _) => Err(ConfigError::Contradiction {
                first: "l1_cookie_file",
                second: "l1_user",
                reason: "Bitcoin Core takes one of them",
            }),
            (Some(_), None, Some(_)) | (None, None, Some(_)) => Err(ConfigError::Needs {
                option: "l1_password_file",
                needs: "l1_user",
            }),
            (None, Some(_), None) => Err(ConfigError::Needs {
                option: "l1_user",
                needs: "l1_password_file",
            }),
            (None, Some(user), Some(file)) => {
                let password = Secret::read("l1_password_file", file)?;
                Ok(L1Auth::User {
                    user: user.clone(),
                    password,
                })
            }
            (Some(file), None, None) => Ok(L1Auth::Cookie(file.clone())),
            (None, None, None) => Ok(L1Auth::Cookie(default_cookie())),
        }
    }

    fn sequencer_options(&self, key_file: PathBuf) -> Result<Option<SequencerOptions>, ConfigError> {
        if self.sequencer != Some(true) {
            return Ok(None);
        }
        if self.sequencer_url.is_some() {
            return Err(ConfigError::Contradiction {
                first: "sequencer",
                second: "sequencer_url",
                reason: "the sequencer is this node",
            });
        }
        if self.feed_url.is_some() {
            return Err(ConfigError::Contradiction {
                first: "sequencer",
                second: "feed_url",
                reason: "the sequencer is who makes the feed",
            });
        }
        let block_time = within("block_time_ms", self.block_time_ms, BLOCK_TIME_MS)?;
        let heartbeat = within("heartbeat_ms", self.heartbeat_ms, HEARTBEAT_MS)?;
        if heartbeat < block_time {
            return Err(ConfigError::Contradiction {
                first: "heartbeat_ms",
                second: "block_time_ms",
                reason: "empty blocks would come faster than full ones",
            });
        }
        Ok(Some(SequencerOptions {
            key_file,
            origin_depth: depth("origin_depth_blocks", self.origin_depth_blocks)?,
            block_time: Duration::from_millis(block_time),
            heartbeat: Duration::from_millis(heartbeat),
            max_safe_lag: depth("max_safe_lag_l1_blocks", self.max_safe_lag_l1_blocks)?,
            poster: self.poster()?,
        }))
    }

    /// What is signed needs no TLS: blocks are public, and nobody else can make them.
    fn feed_url(&self) -> Result<Option<String>, ConfigError> {
        let Some(url) = &self.feed_url else {
            return Ok(None);
        };
        let wrong = || ConfigError::Value {
            option: "feed_url",
            expected: "ws://host:port/feed".into(),
            got: url.clone(),
        };
        let parsed: warp::http::Uri = url.parse().map_err(|_| wrong())?;
        let fits = parsed.scheme_str() == Some("ws") && parsed.host().is_some() && parsed.query().is_none();
        fits.then(|| Some(url.clone())).ok_or_else(wrong)
    }

    fn poster(&self) -> Result<PosterConfig, ConfigError> {
        let delay = within(
            "max_batch_delay_seconds",
            self.max_batch_delay_seconds,
            BATCH_DELAY_SECONDS,
        )?;
        let least = within(
            "min_fee_rate_sat_per_kvb",
            self.min_fee_rate_sat_per_kvb,
            FEE_RATE,
        )?;
        let most = within(
            "max_fee_rate_sat_per_kvb",
            self.max_fee_rate_sat_per_kvb,
            FEE_RATE,
        )?;
        if least > most {
            return Err(ConfigError::Contradiction {
                first: "min_fee_rate_sat_per_kvb",
                second: "max_fee_rate_sat_per_kvb",
                reason: "the lowest rate is above the highest",
            });
        }
        let target = within(
            "fee_target_blocks",
            self.fee_target_blocks.map(u64::from),
            FEE_TARGET,
        )?;
        Ok(PosterConfig {
            max_batch_delay: Duration::from_secs(delay),
            target_batch_bytes: within("target_batch_bytes", self.target_batch_bytes, BATCH_BYTES)?,
            min_fee_rate: per_kvb(least),
            max_fee_rate: per_kvb(most),
            fee_target: u16::try_from(target).expect("FEE_TARGET ends below it"),
        })
    }

    fn server(&self) -> Result<ServerConfig, ConfigError> {
        let admin = match (self.admin_listen, &self.admin_token_file) {
            (None, None) => None,
            (Some(address), Some(file)) => Some((address, Secret::read("admin_token_file", file)?)),
            (Some(_), None) => {
                return Err(ConfigError::Needs {
                    option: "admin_listen",
                    needs: "admin_token_file",
                });
            }
            (None, Some(_)) => {
                return Err(ConfigError::Needs {
                    option: "admin_token_file",
                    needs: "admin_listen",
                });
            }
        };
        Ok(ServerConfig {
            rpc: required("rpc_listen", self.rpc_listen)?,
            cors_origins: required("rpc_cors_origins", self.rpc_cors_origins.clone())?,
            admin,
            metrics: self.metrics_listen,
        })
    }

    /// Gives what `--print-config` shows: this layer over the defaults as a configuration file. Secrets are files'
    /// names in it.
    pub fn print(self) -> String {
        let effective = self.over(Self::defaults());
        toml::to_string(&effective).expect("options are strings, numbers and lists of them")
    }
}

fn default_cookie() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    home.join(".bitcoin").join(".cookie")
}

fn per_kvb(sats: u64) -> FeeRate {
    // Rounded up: Bitcoin Core's floor is met, not missed by a fraction.
    FeeRate::from_sat_per_kwu(sats.div_ceil(4))
}

fn mebibytes(count: u64) -> usize {
    usize::try_from(count << 20).unwrap_or(usize::MAX)
}

fn required<T>(option: &'static str, value: Option<T>) -> Result<T, ConfigError> {
    let none = || ConfigError::Value {
        option,
        expected: "a value".into(),
        got: "none".into(),
    };
    value.ok_or_else(none)
}

fn within(
    option: &'static str,
    value: Option<u64>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, ConfigError> {
    let value = required(option, value)?;
    if range.contains(&value) {
        return Ok(value);
    }
    let expected = format!("{} to {}", range.start(), range.end());
    Err(ConfigError::Value {
        option,
        expected,
        got: value.to_string(),
    })
}

fn depth(option: &'static str, value: Option<u32>) -> Result<u32, ConfigError> {
    let value = within(option, value.map(u64::from), DEPTH_BLOCKS)?;
    Ok(u32::try_from(value).expect("DEPTH_BLOCKS ends below it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn secret_file(dir: &tempfile::TempDir, name: &str) -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, "hunter2").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn defaults_resolve_and_print_as_a_file_that_gives_the_same() {
        let config = Layer::default().resolve().unwrap();
        assert!(config.sequencer.is_none());
        assert_eq!(
            config.chain_file,
            PathBuf::from("bitsect-data/bitsect.chain.toml")
        );
        let printed = Layer::default().print();
        let again: Layer = toml::from_str(&printed).unwrap();
        assert_eq!(again, Layer::defaults());
        assert_eq!(again.print(), printed);
    }

    #[test]
    fn unknown_and_mistyped_options_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bitsect.toml");
        for (text, name) in [
            ("blok_time_ms = 1", "blok_time_ms"),
            ("block_time_ms = \"2s\"", "block_time_ms"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Layer::read(&path).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn stronger_layers_win_option_by_option() {
        let flags = Layer {
            block_time_ms: Some(250),
            ..Layer::default()
        };
        let file: Layer =
            toml::from_str("block_time_ms = 500\nl1_url = \"http://l1:1\"\nsequencer = true").unwrap();
        let config = flags.over(file).resolve().unwrap();
        assert_eq!(config.sequencer.unwrap().block_time, Duration::from_millis(250));
        assert_eq!(config.l1_url, "http://l1:1");
    }

    #[test]
    fn secrets_never_show() {
        let dir = tempfile::tempdir().unwrap();
        let layer = Layer {
            l1_user: Some("u".into()),
            l1_password_file: Some(secret_file(&dir, "password")),
            admin_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
            admin_token_file: Some(secret_file(&dir, "token")),
            ..Layer::default()
        };
        let config = layer.clone().resolve().unwrap();
        let Some((_, token)) = &config.server.admin else {
            panic!("the admin listener is on")
        };
        assert_eq!(token.reveal(), "hunter2");
        assert!(!format!("{config:?} {layer:?} {}", layer.clone().print()).contains("hunter2"));
    }

    #[test]
    fn contradictions_and_bad_values_are_refused() {
        let case = |text: &str| {
            let layer: Layer = toml::from_str(text).unwrap();
            layer.resolve().unwrap_err().to_string()
        };
        for (text, expected) in [
            (
                "l1_cookie_file = \"c\"\nl1_user = \"u\"",
                "options l1_cookie_file and l1_user contradict",
            ),
            ("l1_user = \"u\"", "option l1_user needs l1_password_file"),
            (
                "l1_password_file = \"p\"",
                "option l1_password_file needs l1_user",
            ),
            (
                "admin_listen = \"127.0.0.1:1\"",
                "option admin_listen needs admin_token_file",
            ),
            (
                "sequencer = true\nsequencer_url = \"http://x\"",
                "options sequencer and sequencer_url contradict",
            ),
            (
                "sequencer = true\nfeed_url = \"ws://x/feed\"",
                "options sequencer and feed_url contradict",
            ),
            (
                "feed_url = \"https://x/feed\"",
                "option feed_url: expected ws://host:port/feed, got https://x/feed",
            ),
            (
                "feed_url = \"ws://x/feed?from=1\"",
                "option feed_url: expected ws://host:port/feed",
            ),
            (
                "sequencer = true\nblock_time_ms = 0",
                "option block_time_ms: expected 10 to 60000, got 0",
            ),
            (
                "finality_depth_blocks = 0",
                "option finality_depth_blocks: expected 1 to 1000, got 0",
            ),
            (
                "sequencer = true\nmin_fee_rate_sat_per_kvb = 2000\nmax_fee_rate_sat_per_kvb = 1000",
                "options min_fee_rate_sat_per_kvb and max_fee_rate_sat_per_kvb contradict",
            ),
        ] {
            let got = case(text);
            assert!(got.starts_with(expected), "{text}: {got}");
        }
    }
}
