//! The options of all commands: one set from flags, environment, file and defaults.
//!
//! A flag wins over the environment, the environment over the file, the file over the default. Every option has the same
//! name in all places: `data_dir` in the file, `--data-dir` as a flag, `BITSECT_BRIDGE_DATA_DIR` in the environment.
//! Secrets stand in files of their own, never in an option.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::{Amount, FeeRate};
use bitsect_l1::rpc::Auth;
use bitsect_l1::secret_file::{self, SecretFileError};
use bitsect_l1::sender::FeePolicy;
use serde::{Deserialize, Serialize};

use crate::daemon::FeeOutputs;

/// Largest password file, in bytes.
const MAX_SECRET_FILE: u64 = 4096;

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

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{option} file {}: {source}", path.display())]
    File {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file with a secret cannot be used.
    #[error("{option} file {source}")]
    Secret {
        /// The option that names the file.
        option: &'static str,
        /// Why.
        source: SecretFileError,
    },
    /// The file is no TOML, or has an unknown or mistyped option.
    #[error("configuration file {}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
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
    /// An option is missing.
    #[error("option {option} is not given")]
    Missing {
        /// The option.
        option: &'static str,
    },
}

macro_rules! layer {
    ($($(#[$doc:meta])* $name:ident: $type:ty, $env:literal;)*) => {
        /// Options from one source; what it does not say is `None`.
        #[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Layer {
            $(
                $(#[$doc])*
                #[arg(long, env = $env, global = true)]
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
        }
    };
}

layer! {
    /// Deployment file, the same for every member.
    deployment: PathBuf, "BITSECT_BRIDGE_DEPLOYMENT";
    /// Chain file, as every party to the chain has it: what the deployment is of is compared with it where it is given.
    chain_file: PathBuf, "BITSECT_BRIDGE_CHAIN_FILE";
    /// The key file: a member's, or a user's.
    key: PathBuf, "BITSECT_BRIDGE_KEY";
    /// The member's or user's folder: its store, its wallet, what it has signed.
    data_dir: PathBuf, "BITSECT_BRIDGE_DATA_DIR";
    /// Program that disputes run: the ELF file with the chain's parameters in it.
    program: PathBuf, "BITSECT_BRIDGE_PROGRAM";
    /// Where the committee's daemon listens.
    committee_listen: SocketAddr, "BITSECT_BRIDGE_COMMITTEE_LISTEN";
    /// Where /status, /healthz and /metrics are.
    listen: SocketAddr, "BITSECT_BRIDGE_LISTEN";
    /// Bitcoin Core's RPC address.
    l1_url: String, "BITSECT_BRIDGE_L1_URL";
    /// Bitcoin Core's cookie file.
    l1_cookie_file: PathBuf, "BITSECT_BRIDGE_L1_COOKIE_FILE";
    /// User at Bitcoin Core, instead of the cookie.
    l1_user: String, "BITSECT_BRIDGE_L1_USER";
    /// File with that user's password.
    l1_password_file: PathBuf, "BITSECT_BRIDGE_L1_PASSWORD_FILE";
    /// Seconds between two looks at Bitcoin's tip when Core cannot be waited on.
    l1_poll_seconds: u64, "BITSECT_BRIDGE_L1_POLL_SECONDS";
    /// Lowest fee rate, sat per 1,000 vB.
    min_fee_rate_sat_per_kvb: u64, "BITSECT_BRIDGE_MIN_FEE_RATE_SAT_PER_KVB";
    /// Highest fee rate, sat per 1,000 vB.
    max_fee_rate_sat_per_kvb: u64, "BITSECT_BRIDGE_MAX_FEE_RATE_SAT_PER_KVB";
    /// L1 blocks within which a transaction should confirm while no deadline presses.
    fee_target_blocks: u16, "BITSECT_BRIDGE_FEE_TARGET_BLOCKS";
    /// Highest fee of the transaction that makes bonds and stakes, in sats.
    max_funding_fee_sats: u64, "BITSECT_BRIDGE_MAX_FUNDING_FEE_SATS";
    /// Highest fee of one transaction of a user's, on Bitcoin or L2, and of what an operator keeps, in sats.
    #[arg(visible_alias = "max-fee")]
    max_fee_sats: u64, "BITSECT_BRIDGE_MAX_FEE_SATS";
    /// Confirmations after which members look at a deposit.
    deposit_confirmations_blocks: u32, "BITSECT_BRIDGE_DEPOSIT_CONFIRMATIONS_BLOCKS";
    /// Confirmations after which a transaction counts as done.
    confirmations_blocks: u32, "BITSECT_BRIDGE_CONFIRMATIONS_BLOCKS";
    /// An L1 block before the first coin of the wallet [default: the deployment's start_height; of a user, the chain's].
    wallet_start_height: u32, "BITSECT_BRIDGE_WALLET_START_HEIGHT";
    /// How many outputs are kept ready that pay for moves.
    fee_outputs: u32, "BITSECT_BRIDGE_FEE_OUTPUTS";
    /// What each of them holds, in sats.
    fee_output_sats: u64, "BITSECT_BRIDGE_FEE_OUTPUT_SATS";
    /// A node's JSON-RPC: of an operator, its own node.
    node_url: String, "BITSECT_BRIDGE_NODE_URL";
    /// Units after the next free slot's start that have to be final, and are claimed then; no claims without it.
    claim_after_units: u32, "BITSECT_BRIDGE_CLAIM_AFTER_UNITS";
    /// The largest payout of a withdrawal, in sats.
    max_payout_sats: u64, "BITSECT_BRIDGE_MAX_PAYOUT_SATS";
    /// What of its money an operator keeps back from payouts, in sats.
    reserve_sats: u64, "BITSECT_BRIDGE_RESERVE_SATS";
    /// The smallest output of the vault that is worth a claim, in sats.
    least_claim_sats: u64, "BITSECT_BRIDGE_LEAST_CLAIM_SATS";
    /// What is logged, as for tracing's EnvFilter: `info,bitsect_bridge=debug`.
    log: String, "BITSECT_BRIDGE_LOG";
    /// How it is logged.
    log_format: LogFormat, "BITSECT_BRIDGE_LOG_FORMAT";
}

/// Everything that commands may need. What stays open is asked for by the command that needs it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The options that are taken as they are.
    pub layer: Layer,
    /// How to authenticate to Bitcoin Core; none where nothing says how.
    pub l1_auth: Option<Auth>,
    /// Longest time between two looks at Bitcoin's tip.
    pub l1_poll: Duration,
    /// Which fee rates are paid.
    pub fees: FeePolicy,
    /// Highest fee of the transaction that makes bonds and stakes.
    pub max_funding_fee: Amount,
    /// Highest fee of one transaction of a user's, on Bitcoin or L2, and of what an operator keeps.
    pub max_fee: Amount,
    /// Confirmations after which members look at a deposit.
    pub deposit_confirmations: u32,
    /// Confirmations after which a transaction counts as done.
    pub confirmations: u32,
    /// Outputs that pay for moves.
    pub fee_outputs: FeeOutputs,
}

/// Least and most of the options that are numbers.
const POLL_SECONDS: std::ops::RangeInclusive<u64> = 1..=3_600;
const FEE_RATE: std::ops::RangeInclusive<u64> = 100..=10_000_000;
const FEE_TARGET: std::ops::RangeInclusive<u64> = 1..=1_008;
const FUNDING_FEE: std::ops::RangeInclusive<u64> = 1..=100_000_000;
const CONFIRMATIONS: std::ops::RangeInclusive<u64> = 1..=1_000;
const FEE_OUTPUTS: std::ops::RangeInclusive<u64> = 1..=200;
const FEE_OUTPUT_SATS: std::ops::RangeInclusive<u64> = 1_000..=100_000_000;
const CLAIM_AFTER: std::ops::RangeInclusive<u64> = 1..=u32::MAX as u64;

fn within(
    option: &'static str,
    value: Option<u64>,
    allowed: &std::ops::RangeInclusive<u64>,
) -> Result<u64, ConfigError> {
    let value = value.ok_or(ConfigError::Missing { option })?;
    if !allowed.contains(&value) {
        return Err(ConfigError::Value {
            option,
            expected: format!("{} to {}", allowed.start(), allowed.end()),
            got: value.to_string(),
        });
    }
    Ok(value)
}

impl Layer {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError::File`]; [`ConfigError::Syntax`] names an unknown or mistyped option.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
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

    /// The defaults. What stays open is off, or has to be given.
    pub fn defaults() -> Self {
        Self {
            deployment: Some("deployment.toml".into()),
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9480))),
            l1_url: Some("http://127.0.0.1:8332".into()),
            l1_poll_seconds: Some(5),
            min_fee_rate_sat_per_kvb: Some(1_000),
            max_fee_rate_sat_per_kvb: Some(500_000),
            fee_target_blocks: Some(2),
            max_funding_fee_sats: Some(100_000),
            max_fee_sats: Some(50_000),
            deposit_confirmations_blocks: Some(6),
            // As deep as finality.
            confirmations_blocks: Some(6),
            // A move of each of a few branches at once.
            fee_outputs: Some(4),
            // A package of 10 kvB at 10 sat/vB.
            fee_output_sats: Some(100_000),
            max_payout_sats: Some(10_000_000_000),
            // What a whole dispute may cost.
            reserve_sats: Some(10_000_000),
            least_claim_sats: Some(1_000_000),
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
        let layer = self.over(Self::defaults());
        let rate = |option, value| {
            let sats = within(option, value, &FEE_RATE)?;
            Ok::<_, ConfigError>(FeeRate::from_sat_per_kwu(sats / 4))
        };
        let floor = rate("min_fee_rate_sat_per_kvb", layer.min_fee_rate_sat_per_kvb)?;
        let ceiling = rate("max_fee_rate_sat_per_kvb", layer.max_fee_rate_sat_per_kvb)?;
        if floor > ceiling {
            return Err(ConfigError::Value {
                option: "max_fee_rate_sat_per_kvb",
                expected: "at least min_fee_rate_sat_per_kvb".to_owned(),
                got: layer.max_fee_rate_sat_per_kvb.unwrap_or_default().to_string(),
            });
        }
        let target = within(
            "fee_target_blocks",
            layer.fee_target_blocks.map(u64::from),
            &FEE_TARGET,
        )?;
        if let Some(units) = layer.claim_after_units {
            within("claim_after_units", Some(units.into()), &CLAIM_AFTER)?;
        }
        let confirmations = layer.confirmations_blocks.map(u64::from);
        let confirmations = within("confirmations_blocks", confirmations, &CONFIRMATIONS)?;
        let deposit = layer.deposit_confirmations_blocks.map(u64::from);
        let deposit = within("deposit_confirmations_blocks", deposit, &CONFIRMATIONS)?;
        let max_fee = within("max_fee_sats", layer.max_fee_sats, &FUNDING_FEE)?;
        let outputs = within("fee_outputs", layer.fee_outputs.map(u64::from), &FEE_OUTPUTS)?;
        let sats = within("fee_output_sats", layer.fee_output_sats, &FEE_OUTPUT_SATS)?;
        let highest = within("max_funding_fee_sats", layer.max_funding_fee_sats, &FUNDING_FEE)?;
        let poll = within("l1_poll_seconds", layer.l1_poll_seconds, &POLL_SECONDS)?;
        Ok(Config {
            l1_auth: layer.auth()?,
            l1_poll: Duration::from_secs(poll),
            fees: FeePolicy {
                target_blocks: target as u16,
                floor,
                ceiling,
            },
            max_funding_fee: Amount::from_sat(highest),
            max_fee: Amount::from_sat(max_fee),
            deposit_confirmations: deposit as u32,
            confirmations: confirmations as u32,
            fee_outputs: FeeOutputs {
                count: outputs as u32,
                value: Amount::from_sat(sats),
            },
            layer,
        })
    }

    fn auth(&self) -> Result<Option<Auth>, ConfigError> {
        match (&self.l1_cookie_file, &self.l1_user, &self.l1_password_file) {
            (None, None, None) => Ok(None),
            (Some(cookie), None, None) => Ok(Some(Auth::Cookie(cookie.clone()))),
            (None, Some(user), Some(file)) => {
                let password = read_secret("l1_password_file", file)?;
                Ok(Some(Auth::user_password(user.clone(), password)))
            }
            (None, Some(_), None) => Err(ConfigError::Missing {
                option: "l1_password_file",
            }),
            (None, None, Some(_)) => Err(ConfigError::Missing { option: "l1_user" }),
            (Some(_), _, _) => Err(ConfigError::Value {
                option: "l1_cookie_file",
                expected: "none beside l1_user and l1_password_file".to_owned(),
                got: "both".to_owned(),
            }),
        }
    }
}

/// Reads a secret from a file that only its owner may read; no error shows it.
fn read_secret(option: &'static str, path: &Path) -> Result<String, ConfigError> {
    let wrong = |expected: &str, got: &dyn fmt::Display| ConfigError::Value {
        option,
        expected: expected.to_owned(),
        got: got.to_string(),
    };
    let bytes =
        secret_file::read(path, MAX_SECRET_FILE).map_err(|source| ConfigError::Secret { option, source })?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("a password", &"a file that is no text"))?;
    match text.trim() {
        "" => Err(wrong("a password", &"an empty file")),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn case(text: &str) -> Result<Config, String> {
        let layer: Layer = toml::from_str(text).map_err(|error| error.to_string())?;
        layer.resolve().map_err(|error| error.to_string())
    }

    #[test]
    fn stronger_layers_win_option_by_option() {
        let flags: Layer = toml::from_str("confirmations_blocks = 2").unwrap();
        let file: Layer = toml::from_str("confirmations_blocks = 3\nlog = \"warn\"").unwrap();
        let config = flags.over(file).resolve().unwrap();
        assert_eq!(config.confirmations, 2);
        assert_eq!(config.layer.log.as_deref(), Some("warn"));
        assert_eq!(config.layer.deployment, Some(PathBuf::from("deployment.toml")));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (text, expected) in [
            ("secret = 1", "secret"),
            ("fee_outputs = 0", "option fee_outputs: expected 1 to 200, got 0"),
            ("claim_after_units = 0", "option claim_after_units"),
            (
                "min_fee_rate_sat_per_kvb = 5000\nmax_fee_rate_sat_per_kvb = 4000",
                "option max_fee_rate_sat_per_kvb: expected at least min_fee_rate_sat_per_kvb, got 4000",
            ),
            ("l1_user = \"u\"", "option l1_password_file is not given"),
            ("l1_cookie_file = \"c\"\nl1_user = \"u\"", "option l1_cookie_file"),
        ] {
            let error = case(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn passwords_come_from_private_files_and_stay_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "hunter2\n").unwrap();
        let text = format!("l1_user = \"u\"\nl1_password_file = {path:?}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(case(&text).unwrap_err().contains("mode 0644"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = case(&text).unwrap();
        assert_eq!(config.l1_auth, Some(Auth::user_password("u", "hunter2")));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
