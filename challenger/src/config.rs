//! The challenger's configuration, by the node's rules: a flag wins over the environment, the environment over the file,
//! the file over the default; unknown options are refused.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::{Amount, FeeRate};
use bitsect_bridge::daemon::FeeOutputs;
use bitsect_node::config::{self as node, ConfigError, LogFormat};

bitsect_node::layer! {
    /// Folder of the challenger's own store. No node's folder.
    data_dir: PathBuf, "BITSECT_CHALLENGER_DATA_DIR";
    /// Chain file, as every party to the chain has it [default: bitsect.chain.toml in the data folder].
    chain_file: PathBuf, "BITSECT_CHALLENGER_CHAIN_FILE";
    /// Bitcoin Core's RPC address.
    l1_url: String, "BITSECT_CHALLENGER_L1_URL";
    /// Bitcoin Core's cookie file.
    l1_cookie_file: PathBuf, "BITSECT_CHALLENGER_L1_COOKIE_FILE";
    /// User at Bitcoin Core, instead of the cookie.
    l1_user: String, "BITSECT_CHALLENGER_L1_USER";
    /// File with that user's password.
    l1_password_file: PathBuf, "BITSECT_CHALLENGER_L1_PASSWORD_FILE";
    /// Seconds between two looks at Bitcoin's tip when Core cannot be waited on.
    l1_poll_seconds: u64, "BITSECT_CHALLENGER_L1_POLL_SECONDS";
    /// The program as .ci/guest builds it: what runs units on the machine.
    guest_file: PathBuf, "BITSECT_CHALLENGER_GUEST_FILE";
    /// Deployment file: which slots there are. Without it no claims are judged.
    deployment: PathBuf, "BITSECT_CHALLENGER_DEPLOYMENT";
    /// Folder of the committee's store, a member's own or a copy.
    committee_store: PathBuf, "BITSECT_CHALLENGER_COMMITTEE_STORE";
    /// The member's key file; only `run` reads it.
    key_file: PathBuf, "BITSECT_CHALLENGER_KEY_FILE";
    /// Where the member's signing service listens: deposits are signed with the other members there. Off when absent.
    committee_listen: SocketAddr, "BITSECT_CHALLENGER_COMMITTEE_LISTEN";
    /// Confirmations after which members look at a deposit.
    deposit_confirmations_blocks: u32, "BITSECT_CHALLENGER_DEPOSIT_CONFIRMATIONS_BLOCKS";
    /// Height of an L1 block before the fee wallet's first coin [default: the deployment's start].
    wallet_start_height: u32, "BITSECT_CHALLENGER_WALLET_START_HEIGHT";
    /// Confirmed outputs that are kept ready to pay for moves.
    fee_outputs: u32, "BITSECT_CHALLENGER_FEE_OUTPUTS";
    /// What each of them holds, in sats.
    fee_output_sats: u64, "BITSECT_CHALLENGER_FEE_OUTPUT_SATS";
    /// Highest fee rate of moves, sat per 1,000 vB.
    max_fee_rate_sat_per_kvb: u64, "BITSECT_CHALLENGER_MAX_FEE_RATE_SAT_PER_KVB";
    /// Address of /metrics, /healthz, /readyz, /status and /explain; off when absent.
    metrics_listen: SocketAddr, "BITSECT_CHALLENGER_METRICS_LISTEN";
    /// Command that a shell runs for each alarm: the event is JSON on its standard input, and its fields are in BITSECT_EVENT and BITSECT_EVENT_*.
    alarm_command: String, "BITSECT_CHALLENGER_ALARM_COMMAND";
    /// Seconds for which derivation may stand still, or Bitcoin Core be unreachable, before that is an alarm.
    alarm_after_seconds: u64, "BITSECT_CHALLENGER_ALARM_AFTER_SECONDS";
    /// Memory of the store's page cache, in MiB.
    store_cache_mib: u64, "BITSECT_CHALLENGER_STORE_CACHE_MIB";
    /// What is logged, as for tracing's EnvFilter: `info,bitsect_challenger=debug`.
    log: String, "BITSECT_CHALLENGER_LOG";
    /// How it is logged.
    log_format: LogFormat, "BITSECT_CHALLENGER_LOG_FORMAT";
}

/// Everything that [`crate::run::Challenger`] needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The embedded verifier.
    pub node: node::Config,
    /// The program without parameters.
    pub guest_file: Option<PathBuf>,
    /// The slots, where they are known.
    pub slots: Option<SlotFiles>,
    /// The member's key file.
    pub key_file: Option<PathBuf>,
    /// Where the member's signing service listens.
    pub committee_listen: Option<SocketAddr>,
    /// Confirmations after which members look at a deposit.
    pub deposit_confirmations: u32,
    /// The height of an L1 block before the fee wallet's first coin.
    pub wallet_start_height: Option<u32>,
    /// Outputs that pay for moves.
    pub fees: FeeOutputs,
    /// The highest fee rate of moves.
    pub max_fee_rate: FeeRate,
    /// The listener for metrics, health and status.
    pub metrics_listen: Option<SocketAddr>,
    /// What a shell runs for each alarm.
    pub alarm_command: Option<String>,
    /// How long derivation may stand still before that is an alarm.
    pub alarm_after: Duration,
}

/// Where a deployment's slots are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotFiles {
    /// The deployment file.
    pub deployment: PathBuf,
    /// The folder of the committee's store.
    pub committee_store: PathBuf,
}

/// Fee outputs: at most what one transaction of some 10 kvB makes.
const FEE_OUTPUTS: RangeInclusive<u32> = 1..=200;
/// Confirmations of a deposit.
const CONFIRMATIONS: RangeInclusive<u32> = 1..=1_000;
/// Sats of a fee output: below, its input costs a good part of it; above, it is a mistake.
const FEE_OUTPUT_SATS: RangeInclusive<u64> = 1_000..=100_000_000;
/// Sats per 1,000 vB: from what relays to what no market has seen.
const FEE_RATES: RangeInclusive<u64> = 1_000..=10_000_000;
/// Seconds that derivation may stand still: from one to a day.
const ALARM_AFTER_SECONDS: RangeInclusive<u64> = 1..=86_400;

impl Layer {
    /// The defaults. What stays open is off, found in the data folder, or the node's own default.
    pub fn defaults() -> Self {
        Self {
            data_dir: Some("bitsect-challenger-data".into()),
            // A few of Bitcoin's blocks, which come every ten minutes.
            alarm_after_seconds: Some(600),
            // A choice has some hundreds of vB, which a child at 100 sat/vB pays out of one; about a day of moves.
            fee_outputs: Some(8),
            deposit_confirmations_blocks: Some(6),
            fee_output_sats: Some(50_000),
            max_fee_rate_sat_per_kvb: Some(500_000),
            ..Self::default()
        }
    }

    /// Makes the configuration of this layer over the defaults, and reads the secrets.
    ///
    /// # Errors
    /// [`ConfigError`] names the option.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let Self {
            data_dir,
            chain_file,
            l1_url,
            l1_cookie_file,
            l1_user,
            l1_password_file,
            l1_poll_seconds,
            guest_file,
            deployment,
            committee_store,
            key_file,
            committee_listen,
            deposit_confirmations_blocks,
            wallet_start_height,
            fee_outputs,
            fee_output_sats,
            max_fee_rate_sat_per_kvb,
            metrics_listen,
            alarm_command,
            alarm_after_seconds,
            store_cache_mib,
            log,
            log_format,
        } = self.over(Self::defaults());
        let seconds = within("alarm_after_seconds", alarm_after_seconds, &ALARM_AFTER_SECONDS)?;
        let deposit = deposit_confirmations_blocks;
        let deposit = within("deposit_confirmations_blocks", deposit, &CONFIRMATIONS)?;
        let count = within("fee_outputs", fee_outputs, &FEE_OUTPUTS)?;
        let sats = within("fee_output_sats", fee_output_sats, &FEE_OUTPUT_SATS)?;
        let rate = within("max_fee_rate_sat_per_kvb", max_fee_rate_sat_per_kvb, &FEE_RATES)?;
        let slots = slot_files(deployment, committee_store, guest_file.as_ref())?;
        if alarm_command
            .as_ref()
            .is_some_and(|command| command.trim().is_empty())
        {
            return Err(ConfigError::Value {
                option: "alarm_command",
                expected: "a command".into(),
                got: "white space".into(),
            });
        }
        // The node's options have the same names, so its refusals name what was given here.
        let node = node::Layer {
            data_dir,
            chain_file,
            l1_url,
            l1_cookie_file,
            l1_user,
            l1_password_file,
            l1_poll_seconds,
            store_cache_mib,
            log,
            log_format,
            ..node::Layer::default()
        };
        Ok(Config {
            node: node.resolve()?,
            guest_file,
            slots,
            key_file,
            committee_listen,
            deposit_confirmations: deposit,
            wallet_start_height,
            fees: FeeOutputs {
                count,
                value: Amount::from_sat(sats),
            },
            max_fee_rate: FeeRate::from_sat_per_kwu(rate.div_ceil(4)),
            metrics_listen,
            alarm_command,
            alarm_after: Duration::from_secs(seconds),
        })
    }
}

/// Checks a number that has a default.
fn within<T: Copy + Default + PartialOrd + Display>(
    option: &'static str,
    value: Option<T>,
    allowed: &RangeInclusive<T>,
) -> Result<T, ConfigError> {
    let value = value.unwrap_or_default();
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::Value {
        option,
        expected: format!("{} to {}", allowed.start(), allowed.end()),
        got: value.to_string(),
    })
}

/// Takes what slots are read from: all of it, or nothing.
fn slot_files(
    deployment: Option<PathBuf>,
    committee_store: Option<PathBuf>,
    guest_file: Option<&PathBuf>,
) -> Result<Option<SlotFiles>, ConfigError> {
    let needs = |option, needs| Err(ConfigError::Needs { option, needs });
    match (deployment, committee_store) {
        (None, None) => Ok(None),
        (Some(_), None) => needs("deployment", "committee_store"),
        (None, Some(_)) => needs("committee_store", "deployment"),
        (Some(_), Some(_)) if guest_file.is_none() => needs("deployment", "guest_file"),
        (Some(deployment), Some(committee_store)) => Ok(Some(SlotFiles {
            deployment,
            committee_store,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(text: &str) -> Result<Config, String> {
        let layer: Layer = toml::from_str(text).map_err(|error| error.to_string())?;
        layer.resolve().map_err(|error| error.to_string())
    }

    #[test]
    fn options_reach_the_embedded_node() {
        let config = case("data_dir = \"d\"\nl1_url = \"http://l1:1\"\nstore_cache_mib = 3").unwrap();
        assert_eq!(config.node.l1_url, "http://l1:1");
        assert_eq!(config.node.chain_file, PathBuf::from("d/bitsect.chain.toml"));
        assert_eq!(config.node.store_cache_bytes, 3 << 20);
        assert!(config.node.sequencer.is_none() && config.node.history.is_none());
        assert_eq!(config.alarm_after, Duration::from_secs(600));
        assert_eq!(config.max_fee_rate, FeeRate::from_sat_per_vb_u32(500));
        assert_eq!(config.slots, None);
    }

    #[test]
    fn unknown_options_and_values_that_cannot_work_are_refused_by_name() {
        for (text, expected) in [
            ("sequencer = true", "sequencer"),
            ("history_blocks = 5", "history_blocks"),
            (
                "alarm_after_seconds = 0",
                "option alarm_after_seconds: expected 1 to 86400, got 0",
            ),
            ("alarm_command = \" \"", "option alarm_command"),
            ("fee_outputs = 0", "option fee_outputs: expected 1 to 200, got 0"),
            (
                "fee_output_sats = 999",
                "option fee_output_sats: expected 1000 to",
            ),
            ("max_fee_rate_sat_per_kvb = 1", "option max_fee_rate_sat_per_kvb"),
            ("deployment = \"d\"", "option deployment needs committee_store"),
            (
                "deployment = \"d\"\ncommittee_store = \"c\"",
                "option deployment needs guest_file",
            ),
            (
                "l1_cookie_file = \"c\"\nl1_user = \"u\"",
                "options l1_cookie_file and l1_user contradict",
            ),
            (
                "l1_poll_seconds = 0",
                "option l1_poll_seconds: expected 1 to 3600, got 0",
            ),
        ] {
            let error = case(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn stronger_layers_win_option_by_option() {
        let flags = Layer {
            alarm_after_seconds: Some(1),
            ..Layer::default()
        };
        let file: Layer = toml::from_str("alarm_after_seconds = 2\nlog = \"warn\"").unwrap();
        let config = flags.over(file).resolve().unwrap();
        assert_eq!(config.alarm_after, Duration::from_secs(1));
        assert_eq!(config.node.log, "warn");
    }
}
